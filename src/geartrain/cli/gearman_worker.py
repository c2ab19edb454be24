"""``gearman`` as a worker: a connection for each command that may run at once.

The server counts workers by connections and gives a job that times out to somebody
else by connection, so ``--jobs 4`` makes four of them, at every server. One loop
serves the connections, the commands' pipes and their ends.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from geartrain.cli import terminal
from geartrain.cli.child import Child, can_run, read_pipe
from geartrain.cli.link import Link, environment
from geartrain.cli.loop import READ, WRITE, Loop
from geartrain.cli.run import Run
from geartrain.errors import ConfigurationError
from geartrain.transport.address import parse_servers
from geartrain.transport.tls import client_context
from geartrain.worker.events import Complaint, JobAssigned, JobTaken, WorkerEvent

if TYPE_CHECKING:
    from geartrain.cli.gearman_options import Settings


def run(settings: Settings) -> int:
    """Work until told to stop, or until ``-c`` jobs are done; return the exit status."""
    command = settings.operands
    if command:
        fault = can_run(command[0])
        if fault:
            raise ConfigurationError(f"cannot run '{command[0]}': {fault}")
    worker = Worker(settings)
    try:
        return worker.run()
    except BrokenPipeError:
        return terminal.end_like_a_broken_pipe()
    finally:
        worker.close()


class Worker:
    """All the links, and all the commands that run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._command = settings.operands
        self._loop = Loop()
        self._runs: dict[Run, Link] = {}
        self._waiting: deque[tuple[Link, JobAssigned]] = deque()
        self._accepted = 0
        self._stopping = False
        self._idle_since = time.monotonic()
        addresses = parse_servers(settings.servers, environ={})
        tls = client_context(settings.ssl, os.environ)
        slots = min(settings.jobs, settings.count) if settings.count else settings.jobs
        self._several = len(addresses) > 1
        self._links = [
            Link(self._loop, where, settings.functions, tls, self._hear, self._lost, self._ready)
            for _ in range(slots)
            for where in addresses
        ]

    def run(self) -> int:
        """Serve until there is nothing left to do."""
        self._loop.mind((signal.SIGINT, signal.SIGTERM), self._stop)
        self._loop.mind((signal.SIGCHLD,), lambda number: None)
        for link in self._links:
            link.dial()
        told = False
        while not self._finished():
            now = time.monotonic()
            self._loop.wait(self._pause(now))
            self._reap()
            if self._stopping:
                self._share()
            self._tick(time.monotonic())
            fault = self._links[0].fault
            if (
                fault
                and not told
                and time.monotonic() - now > 0.3
                and not any(link.connection for link in self._links)
            ):
                told = True
                terminal.say("gearman", f"{fault}; trying again")
        return 0

    def close(self) -> None:
        """Hang up."""
        for link in self._links:
            link.close()

    # ── how much to take on ──────────────────────────────────────────────────

    @property
    def _left(self) -> int | None:
        """Jobs that may still be accepted; None: any number."""
        if self._stopping:
            return 0
        count = self._settings.count
        return max(0, count - self._accepted) if count else None

    def _share(self) -> None:
        """Let as many links ask for a job as there is room and need for."""
        left = self._left
        free = self._settings.jobs - len(self._runs) - len(self._waiting)
        if left is not None:
            free = min(free, left)
        for link in self._links:
            connection = link.connection
            if connection is None:
                continue
            if link.busy:
                # None: it may ask for its next job in the same write as its result.
                wanted = 1 if left is None else 0
            else:
                wanted = 1 if free > 0 else 0
                if not self._several:
                    free -= wanted
            if connection.wanted != wanted:
                connection.want(wanted)
                link.push()

    def _finished(self) -> bool:
        if self._runs or self._waiting or self._left != 0:
            return False
        return all(
            link.connection is None or link.connection.idle for link in self._links
        ) and not any(link.stuck for link in self._links)

    # ── what servers say ─────────────────────────────────────────────────────

    def _ready(self, link: Link) -> None:
        self._idle_since = time.monotonic()
        self._share()

    def _hear(self, link: Link, events: list[WorkerEvent]) -> None:
        for event in events:
            if isinstance(event, JobAssigned):
                self._assigned(link, event)
            elif isinstance(event, JobTaken):
                name = event.handle.decode("utf-8", "backslashreplace") or "a job"
                terminal.say("gearman", f"{link.where} has taken {name} away: {event.text}")
            elif isinstance(event, Complaint):
                terminal.say("gearman", f"{link.where} complains: {event.code}: {event.text}")

    def _assigned(self, link: Link, job: JobAssigned) -> None:
        if self._left == 0 and not self._stopping:
            # Two servers have answered at once, and there was room for one more
            # job: by hanging up this one goes to somebody else.
            link.close("one job too many")
            return
        self._accepted += 1
        if len(self._runs) >= self._settings.jobs:
            self._waiting.append((link, job))
        else:
            self._start(link, job)

    def _lost(self, link: Link, cause: str) -> None:
        terminal.say("gearman", f"connection to {link.where} lost ({cause}); trying again")
        for run, its_link in self._runs.items():
            if its_link is link:
                run.connection = None
        self._waiting = deque(one for one in self._waiting if one[0] is not link)
        if self._left != 0:
            link.dial()

    # ── commands ─────────────────────────────────────────────────────────────

    def _start(self, link: Link, job: JobAssigned) -> None:
        assert link.connection is not None
        settings = self._settings
        run = Run(
            job,
            link.connection,
            lines=settings.lines,
            strip=settings.strip,
            explain=link.explain,
        )
        self._runs[run] = link
        self._share()
        if not self._command:
            terminal.write_all(1, job.workload)
            run.done()
            self._over(run)
            return
        try:
            child = Child(
                self._command, environment(job.handle, job.function, job.unique), job.workload
            )
        except OSError as error:
            reason = run.fail(f"cannot run {self._command[0]}: {error.strerror}")
            terminal.say("gearman", reason)
            self._over(run)
            return
        run.child = child
        run.job = JobAssigned(job.handle, job.function, job.unique, b"")
        if child.feed():
            self._loop.watch(child.stdin, WRITE, partial(self._feed, child))
        self._loop.watch(child.stdout, READ, partial(self._read_output, run))
        self._loop.watch(child.stderr, READ, partial(self._read_complaint, run))

    def _feed(self, child: Child) -> None:
        fd = child.stdin
        if not child.feed():
            self._loop.forget(fd)

    def _read_output(self, run: Run) -> None:
        child, link = run.child, self._runs[run]
        assert child is not None
        if link.stuck and run.connection is not None:
            self._loop.forget(child.stdout)  # the network first; _tick comes back to it
            return
        data = read_pipe(child.stdout)
        if data is None:
            return
        if data:
            run.output(data)
            link.push()
            return
        self._loop.forget(child.stdout)
        child.end_of_output()

    def _read_complaint(self, run: Run) -> None:
        child = run.child
        assert child is not None
        data = read_pipe(child.stderr)
        if data is None:
            return
        if not data:
            self._loop.forget(child.stderr)
            os.close(child.stderr)
            child.stderr = -1
            return
        terminal.write_all(2, data)
        link = self._runs.get(run)
        if link is not None:  # else: the command has ended, and something it left behind speaks
            run.complaint(data)
            link.push()

    def _reap(self) -> None:
        for run in list(self._runs):
            child = run.child
            if child is None or not child.wait() or child.stdout >= 0:
                continue
            if child.stdin >= 0:
                self._loop.forget(child.stdin)
                os.close(child.stdin)
                child.stdin = -1
            if child.stderr >= 0:
                self._read_complaint(run)
            reason = run.end(self._command[0])
            if reason:
                terminal.say("gearman", reason)
            self._over(run)

    def _over(self, run: Run) -> None:
        link = self._runs.pop(run)
        self._idle_since = time.monotonic()
        link.push()
        if self._waiting:
            self._start(*self._waiting.popleft())
        else:
            self._share()

    # ── time and signals ─────────────────────────────────────────────────────

    def _pause(self, now: float) -> float | None:
        limits = [0.5] if not any(link.connection for link in self._links) else []
        for link in self._links:
            due = link.connection.next_deadline() if link.connection else None
            if due is not None:
                limits.append(due - now)
        if self._settings.timeout is not None and not self._runs:
            limits.append(self._idle_since + self._settings.timeout - now)
        return min(limits) if limits else None

    def _tick(self, now: float) -> None:
        for link in self._links:
            if link.connection is not None:
                link.connection.tick(now)
                link.push()
        for run, link in self._runs.items():
            child = run.child
            if child is not None and child.stdout >= 0 and not link.stuck:
                self._loop.watch(child.stdout, READ, partial(self._read_output, run))
        timeout = self._settings.timeout
        if timeout is not None and not self._runs and now - self._idle_since >= timeout:
            self._idle_since = now
            terminal.say("gearman", f"no job for {timeout:g} s (-t)")
            if self._settings.count:
                self._accepted += 1
                self._share()

    def _stop(self, number: int) -> None:
        """The first INT or TERM: finish what runs. The second: end."""
        if self._stopping:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._stopping = True
