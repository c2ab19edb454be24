"""The manager's body: forks, signals, sockets. What to do is decided in ``supervisor.py``.

One thread, and nothing of the user's code: so it may fork at any time, and stays as
small as it began.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import random
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from geartrain.errors import ConfigurationError
from geartrain.manager import child as inside
from geartrain.manager.board import Board
from geartrain.manager.effects import GO, LEAVE, QUIET, Effect, Finish, Kill, Say, Spawn, Tell
from geartrain.manager.plan import COMMON, Group, plan
from geartrain.manager.settings import Settings
from geartrain.manager.status import StatusSocket
from geartrain.manager.supervisor import WORKING, Supervisor
from geartrain.manager.watching import watch

log = logging.getLogger("geartrain.manager")

_SIGNALS: Final = ("TERM", "INT", "HUP", "TTIN", "TTOU", "USR1", "CHLD")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Process:
    """A child as the system knows it.

    Attributes:
        row: of the board.
        functions: that it said it offers.
        reason: why it could not load.
    """

    def __init__(self, pid: int, control: socket.socket, row: int, group: str, seat: int) -> None:
        self.pid = pid
        self.control = control
        self.row = row
        self.group = group
        self.seat = seat
        self.began = time.monotonic()
        self.functions: list[str] = []
        self.reason = ""
        self.data = b""


class Manager:
    """Processes that work, until told to stop.

    Args:
        settings: everything.
        reread: gives the settings as they are now (HUP).
        notify: tells systemd.
        watchdog: seconds between two signs of life to systemd; 0: none wanted.

    Raises:
        ConfigurationError: the settings contradict each other.
    """

    def __init__(
        self,
        settings: Settings,
        reread: Callable[[], Settings],
        notify: Callable[[str], None],
        watchdog: float = 0.0,
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._notify = notify
        self._watchdog = watchdog
        self._fed_at = 0.0
        groups = groups_of(settings)
        self._groups = {group.name: group for group in groups}
        self._mind = Supervisor(groups, settings.grace, settings.load_timeout, settings.name)
        self._processes: dict[int, Process] = {}
        self._board = Board()
        self._rows = deque(range(self._board.rows))
        self._heard: deque[str] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake, self._wake_end = socket.socketpair()
        self._status: StatusSocket | None = None
        self._watcher = 0
        self._watched: socket.socket | None = None
        self._ready = False
        self._reloading = False
        self._result: int | None = None
        self._began = time.time()

    def run(self) -> int:
        """Work until stopped; returns the exit status."""
        settings = self._settings
        self._status = StatusSocket(settings.status_socket)
        self._selector.register(self._status.fileno(), selectors.EVENT_READ, self._on_status)
        self._listen()
        try:
            if settings.reload:
                self._start_watcher()
            log.info(
                "%s: %d processes, pid %d; ask with: gearman-worker status",
                settings.name, sum(g.processes for g in self._groups.values()), os.getpid(),
            )  # fmt: skip
            self._mind.start(time.monotonic())
            while self._result is None:
                self._carry_out(self._mind.take_effects())
                if self._reloading and not self._mind.renewing:
                    # Well or not, it is over: systemd waits for this word.
                    self._reloading = False
                    self._say_ready("working")
                if self._result is None:
                    self._wait()
            return self._result
        finally:
            self._close()

    # ── the loop ─────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        self._wake.setblocking(False)
        self._wake_end.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, self._on_wake)
        signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        for name in _SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._heard.append(signal.Signals(number).name.removeprefix("SIG"))

    def _wait(self) -> None:
        due = self._mind.next_deadline()
        timeout = None if due is None else max(0.0, due - time.monotonic())
        if self._watchdog:
            self._feed_watchdog()
            timeout = min(self._watchdog, self._watchdog if timeout is None else timeout)
        for key, _ in self._selector.select(timeout):
            key.data()
        while self._heard:
            self._on_signal(self._heard.popleft())
        self._reap()
        self._mind.tick(time.monotonic())

    def _feed_watchdog(self) -> None:
        now = time.monotonic()
        if now - self._fed_at >= self._watchdog:
            self._fed_at = now
            self._notify("WATCHDOG=1")

    def _on_wake(self) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(4096)

    def _on_signal(self, name: str) -> None:
        now = time.monotonic()
        if name in ("TERM", "INT"):
            self._notify("STOPPING=1")
            self._mind.stop(now)
        elif name == "HUP":
            self._reload()
        elif name == "TTIN":
            self._mind.more(now)
        elif name == "TTOU":
            self._mind.fewer(now)
        elif name == "USR1":
            self._mind.hush(now)

    def _reload(self) -> None:
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._reloading = True
        try:
            settings = self._reread()
            groups = groups_of(settings)
        except ConfigurationError as error:
            log.error("not reloading, all stays as it is: %s", error)
            return
        self._settings = settings
        self._groups = {group.name: group for group in groups}
        self._mind.reload(groups, time.monotonic())

    # ── carrying out ─────────────────────────────────────────────────────────

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Spawn):
                self._spawn(effect)
            elif isinstance(effect, Tell):
                self._tell(effect)
            elif isinstance(effect, Kill):
                self._send(effect.number, signal.SIGKILL)
            elif isinstance(effect, Say):
                log.log(_LEVELS[effect.level], "%s", effect.text)
            elif isinstance(effect, Finish):
                self._result = effect.status

    def _tell(self, effect: Tell) -> None:
        process = self._processes.get(effect.number)
        if process is None:
            return
        if effect.word == GO:
            with suppress(OSError):
                process.control.send(b"g")
            if not self._ready:
                self._ready = True
                self._say_ready("working")
        else:
            self._send(effect.number, {LEAVE: signal.SIGTERM, QUIET: signal.SIGUSR1}[effect.word])

    def _say_ready(self, status: str) -> None:
        self._notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def _send(self, number: int, what: signal.Signals) -> None:
        process = self._processes.get(number)
        if process is not None:
            # Not reaped yet, so the number is still its own.
            with suppress(ProcessLookupError):
                os.kill(process.pid, what)

    def _spawn(self, effect: Spawn) -> None:
        now = time.monotonic()
        if not self._rows:
            self._mind.exited(effect.number, 1, "there are too many processes", now, 0.0)
            return
        ours, theirs = socket.socketpair()
        row = self._rows.popleft()
        self._board.clear(row)
        name = self._name(effect.group, effect.seat)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, inside.BLOCKED)
        try:
            pid = os.fork()
            if not pid:
                self._let_go()
                ours.close()
                group = self._groups[effect.group]
                inside.main(
                    inside.Child(
                        self._settings, group, effect.seat, theirs, self._board.pen(row), parent
                    ),
                    name,
                )
        except OSError as error:
            ours.close()
            theirs.close()
            self._rows.append(row)
            self._mind.exited(effect.number, 1, f"cannot fork: {error.strerror}", now, 1.0)
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, inside.BLOCKED)
        theirs.close()
        ours.setblocking(False)
        process = Process(pid, ours, row, effect.group, effect.seat)
        self._processes[effect.number] = process
        number = effect.number
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(number, process))

    def _let_go(self) -> None:
        """In a child: drop what is the manager's."""
        signal.set_wakeup_fd(-1)
        for name in _SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
        self._close_files()

    # ── hearing ──────────────────────────────────────────────────────────────

    def _hear(self, number: int, process: Process) -> None:
        """Read what a child has said."""
        try:
            while data := process.control.recv(65536):
                process.data += data
            self._selector.unregister(process.control)  # it has gone: see _reap
        except BlockingIOError:
            pass
        except (OSError, KeyError, ValueError):
            pass
        while b"\n" in process.data:
            line, _, process.data = process.data.partition(b"\n")
            said = json.loads(line)
            if "error" in said:
                process.reason = str(said["error"])
            elif "functions" in said:
                process.functions = list(said["functions"])
                self._mind.loaded(number, time.monotonic())

    def _reap(self) -> None:
        for number, process in list(self._processes.items()):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if not pid:
                continue
            self._hear(number, process)
            with suppress(KeyError, ValueError):
                self._selector.unregister(process.control)
            process.control.close()
            del self._processes[number]
            self._rows.append(process.row)
            code = os.waitstatus_to_exitcode(status)
            reason = process.reason
            row = self._board.read(process.row)
            if code < 0 and not reason:
                reason = _signal_name(-code)
                if row.function:
                    reason += f" while it did {row.function}"
            self._mind.exited(number, code, reason, time.monotonic(), random.random())
        if self._watcher:
            pid, _ = os.waitpid(self._watcher, os.WNOHANG)
            if pid:
                self._watcher = 0
                log.error("nobody watches the files any more: the watching process has gone")

    # ── reload when files change ─────────────────────────────────────────────

    def _start_watcher(self) -> None:
        folders = self._settings.reload_dir or (".", *self._settings.dir)
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        self._watcher = os.fork()
        if not self._watcher:
            try:
                self._let_go()
                ours.close()
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                if sys.platform == "linux":
                    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
                if os.getppid() == parent:
                    watch(folders, lambda path: theirs.sendall(path.encode() + b"\n"))
            finally:
                os._exit(1)
        theirs.close()
        self._watched = ours
        self._selector.register(ours, selectors.EVENT_READ, self._on_change)

    def _on_change(self) -> None:
        assert self._watched is not None
        data = self._watched.recv(65536)
        if not data:
            self._selector.unregister(self._watched)
            return
        log.info("%s has changed", os.path.relpath(data.splitlines()[-1].decode()))
        self._reload()

    # ── status ───────────────────────────────────────────────────────────────

    def _on_status(self) -> None:
        assert self._status is not None
        self._status.answer(self.status())

    def status(self) -> dict[str, Any]:
        """What every process does."""
        now = time.monotonic()
        rows: list[dict[str, Any]] = []
        for seat in self._mind.seats:
            if seat.child is None and not seat.retired:
                rows.append(_vacant(self._name(seat.group.name, seat.number)))
            for child in seat.children():
                process = self._processes.get(child.number)
                if process is None:
                    continue
                row = self._board.read(process.row)
                state = child.state
                if state == WORKING and not row.running:
                    state = "idle"
                rows.append(
                    {
                        "name": self._name(process.group, process.seat),
                        "pid": process.pid,
                        "state": state,
                        "generation": child.generation,
                        "jobs": row.jobs,
                        "failures": row.failures,
                        "running": row.running,
                        "function": row.function,
                        "job_seconds": round(now - row.since, 3) if row.running else 0.0,
                        "age_seconds": round(now - process.began, 3),
                        "memory_bytes": inside.memory_of(process.pid),
                        "functions": process.functions,
                    }
                )
        mind = self._mind
        return {
            "name": self._settings.name,
            "pid": os.getpid(),
            "state": "stopping" if mind.stopping else "quiet" if mind.quiet else "working",
            "since": self._began,
            "targets": [*self._settings.targets, *(f"--dir {d}" for d in self._settings.dir)],
            "servers": self._settings.servers,
            "processes": rows,
        }

    def _name(self, group: str, seat: int) -> str:
        return f"{self._settings.name if group == COMMON else group}/{seat}"

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        # Also after an error of ours nobody is left behind.
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if self._watcher:
            with suppress(ProcessLookupError):
                os.kill(self._watcher, signal.SIGKILL)
                os.waitpid(self._watcher, 0)
        self._close_files()

    def _close_files(self) -> None:
        self._selector.close()
        for process in self._processes.values():
            process.control.close()
        for thing in (self._wake, self._wake_end, self._status, self._watched):
            if thing is not None:
                thing.close()


def _vacant(name: str) -> dict[str, Any]:
    return {
        "name": name, "pid": 0, "state": "pausing", "generation": 0, "jobs": 0, "failures": 0,
        "running": 0, "function": "", "job_seconds": 0.0, "age_seconds": 0.0, "memory_bytes": 0,
        "functions": [],
    }  # fmt: skip


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name


def groups_of(settings: Settings) -> Sequence[Group]:
    """The processes that the settings ask for.

    Raises:
        ConfigurationError: they contradict each other.
    """
    processes = settings.processes
    if processes < 0:
        processes = 1 if settings.reload else _cpus()
    if settings.threads > 1 and settings.concurrency:
        raise ConfigurationError(
            f"threads = {settings.threads} and concurrency = {settings.concurrency}: choose one; "
            f"with concurrency, plain functions run in threads anyway"
        )
    return plan(processes, settings.functions)


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
