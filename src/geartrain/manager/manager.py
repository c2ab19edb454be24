"""The manager's body: signals, sockets, the clock. What to do is decided in ``supervisor.py``.

One thread, and nothing of the user's code: so it may fork at any time, and stays as
small as it began.
"""

from __future__ import annotations

import logging
import os
import random
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from geartrain.errors import ConfigurationError
from geartrain.manager import child as inside
from geartrain.manager.board import Pen
from geartrain.manager.effects import GO, LEAVE, QUIET, Effect, Finish, Kill, Say, Spawn, Tell
from geartrain.manager.metrics import MetricsPort
from geartrain.manager.plan import COMMON, Group, plan
from geartrain.manager.processes import CannotFork, Processes
from geartrain.manager.seats import WORKING
from geartrain.manager.settings import Settings
from geartrain.manager.status import StatusSocket
from geartrain.manager.supervisor import Supervisor
from geartrain.manager.titles import call_process
from geartrain.manager.watcher import Watcher

log = logging.getLogger("geartrain.manager")

_SIGNALS: Final = ("TERM", "INT", "HUP", "TTIN", "TTOU", "USR1", "CHLD")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


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
        self._heard: deque[str] = deque()
        self._selector = selectors.DefaultSelector()
        self._processes = Processes(self._selector, self._on_loaded, self._close_in_child)
        self._wake, self._wake_end = socket.socketpair()
        self._status: StatusSocket | None = None
        self._metrics: MetricsPort | None = None
        self._watcher: Watcher | None = None
        self._ready = False
        self._reloading = False
        self._result: int | None = None
        self._began = time.time()

    def run(self) -> int:
        """Work until stopped; returns the exit status."""
        settings = self._settings
        self._status = StatusSocket(settings.status_socket)
        self._listen()
        try:
            self._selector.register(self._status, selectors.EVENT_READ, self._on_status)
            if settings.metrics:
                self._metrics = MetricsPort(settings.metrics, self._selector, self.status)
            if settings.reload:
                folders = settings.reload_dir or (".", *settings.dir)
                self._watcher = Watcher(folders, self._close_in_child)
                self._selector.register(self._watcher, selectors.EVENT_READ, self._on_change)
            call_process(f"gearman-worker: {settings.name} manager")
            count = sum(group.processes for group in self._groups.values())
            log.info(
                "%s: %d process%s, pid %d; ask with: gearman-worker status",
                settings.name, count, "" if count == 1 else "es", os.getpid(),
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
        for ended in self._processes.reap():
            now = time.monotonic()
            self._mind.exited(ended.number, ended.code, ended.reason, now, random.random())
        if self._watcher is not None and self._watcher.has_ended():
            log.error("nobody watches the files any more: the watching process has gone")
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
                self._processes.send(effect.number, signal.SIGKILL)
            elif isinstance(effect, Say):
                log.log(_LEVELS[effect.level], "%s", effect.text)
            elif isinstance(effect, Finish):
                self._result = effect.status

    def _tell(self, effect: Tell) -> None:
        if effect.word == GO:
            self._processes.go(effect.number)
            if not self._ready:
                self._ready = True
                self._say_ready("working")
        else:
            what = {LEAVE: signal.SIGTERM, QUIET: signal.SIGUSR1}[effect.word]
            self._processes.send(effect.number, what)

    def _say_ready(self, status: str) -> None:
        self._notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def _spawn(self, effect: Spawn) -> None:
        name = self._name(effect.group, effect.seat)

        def run(control: socket.socket, pen: Pen, parent: int) -> None:
            group = self._groups[effect.group]
            inside.main(
                inside.Child(self._settings, group, effect.seat, control, pen, parent), name
            )

        try:
            self._processes.fork(effect.number, run)
        except CannotFork as error:
            self._mind.exited(effect.number, 1, str(error), time.monotonic(), 1.0)

    def _close_in_child(self) -> None:
        """Drop what is the manager's."""
        signal.set_wakeup_fd(-1)
        for name in _SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
        self._close_files()

    # ── hearing ──────────────────────────────────────────────────────────────

    def _on_loaded(self, number: int) -> None:
        self._mind.loaded(number, time.monotonic())

    def _on_change(self) -> None:
        assert self._watcher is not None
        path = self._watcher.changed()
        if not path:
            self._selector.unregister(self._watcher)
            return
        log.info("%s has changed", path)
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
                row = self._processes.row(process)
                state = child.state
                if state == WORKING and not row.running:
                    state = "idle"
                rows.append(
                    {
                        "name": self._name(seat.group.name, seat.number),
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
            "ended": {"jobs": self._processes.jobs, "failures": self._processes.failures},
            "crashes": mind.crashes,
            "processes": rows,
        }

    def _name(self, group: str, seat: int) -> str:
        return f"{self._settings.name if group == COMMON else group}/{seat}"

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        # Also after an error of ours nobody is left behind.
        self._processes.kill_all()
        if self._watcher is not None:
            self._watcher.kill()
        self._close_files()

    def _close_files(self) -> None:
        self._selector.close()
        self._processes.close()
        for thing in (self._wake, self._wake_end, self._status, self._metrics, self._watcher):
            if thing is not None:
                thing.close()


def _vacant(name: str) -> dict[str, Any]:
    return {
        "name": name, "pid": 0, "state": "pausing", "generation": 0, "jobs": 0, "failures": 0,
        "running": 0, "function": "", "job_seconds": 0.0, "age_seconds": 0.0, "memory_bytes": 0,
        "functions": [],
    }  # fmt: skip


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
    if settings.prefetch and settings.concurrency:
        raise ConfigurationError(
            f"prefetch = {settings.prefetch} and concurrency = {settings.concurrency}: choose one; "
            f"with concurrency, as many jobs as it says are on their way anyway"
        )
    return plan(processes, settings.functions)


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
