"""What runs in each process: load the targets, wait for the word, do jobs, end well.

Told by signals: TERM to leave (twice is no more than once: systemd tells everybody,
and so does the manager), USR1 to be quiet. INT is the manager's business: a terminal
sends it to all. The go-ahead is a byte on the control socket, and the end of that
socket, or the signal that the system sends for it, means that the manager has died.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import json
import logging
import os
import random
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from geartrain.errors import ConfigurationError
from geartrain.manager import logs, targets
from geartrain.manager.board import Pen
from geartrain.manager.plan import Group
from geartrain.manager.settings import Settings
from geartrain.manager.supervisor import CANNOT_LOAD
from geartrain.manager.titles import call_process
from geartrain.manager.watched import watched
from geartrain.worker.aio import AsyncWorker
from geartrain.worker.sync import Worker

log = logging.getLogger("geartrain.worker")

#: Sent by the kernel when the manager dies.
ORPHANED: Final = signal.SIGHUP
#: Blocked while we fork, until the child can deal with them.
BLOCKED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
#: Seconds between two looks at our memory.
MEMORY_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1
_PAGE: Final = resource.getpagesize()


class _Leave(BaseException):
    """Told to leave before work began."""


class Child:
    """One process of ours, on the inside.

    Args:
        settings: of the whole.
        group, seat: who we are.
        control: to the manager.
        pen: for our row of the board.
        parent: process id of the manager.
    """

    def __init__(
        self,
        settings: Settings,
        group: Group,
        seat: int,
        control: socket.socket,
        pen: Pen,
        parent: int,
    ) -> None:
        self._settings = settings
        self._group = group
        self._seat = seat
        self._control = control
        self._pen = pen
        self._parent = parent
        self._worker: Any = None
        self._working = False
        self._leaving = False
        self._quiet = False
        self._looked_at = 0.0
        #: With splay; the same settings would end all processes at once.
        self._max_jobs = _lowered(settings.max_jobs, settings.splay)
        self._max_lifetime = _lowered(settings.max_lifetime, settings.splay)
        self._max_memory = _lowered(settings.max_memory, settings.splay)

    def run(self) -> int:
        """Everything; returns the exit status."""
        try:
            self._listen()
            reason = self._load()
            if reason:
                self._report(error=reason)
                return CANNOT_LOAD
            self._report(
                functions=sorted(a.name for a in targets.abilities(self._worker.functions))
            )
            self._wait_for_go()
            self._work()
            self._stay_quiet()
        except _Leave:
            pass
        finally:
            for name in ("TERM", "INT", "HUP", "USR1"):
                signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
            if self._worker is not None and isinstance(self._worker, Worker):
                self._worker.close()
        return 0

    # ── being told ───────────────────────────────────────────────────────────

    def _listen(self) -> None:
        signal.signal(signal.SIGTERM, self._on_leave)
        signal.signal(signal.SIGINT, lambda number, frame: None)
        signal.signal(signal.SIGUSR1, self._on_quiet)
        signal.signal(ORPHANED, self._on_orphaned)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(ORPHANED))
            if os.getppid() != self._parent:
                raise _Leave  # it had died before we could ask to be told
        else:
            threading.Thread(target=self._watch_parent, daemon=True).start()
        # Blocked since before the fork, so that none was lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)

    def _on_leave(self, number: int, frame: FrameType | None) -> None:
        self._leaving = True
        if self._worker is not None:
            self._worker.stop()
        if not self._working:
            raise _Leave

    def _on_quiet(self, number: int, frame: FrameType | None) -> None:
        self._quiet = True
        if self._worker is not None and self._working:
            self._worker.stop()

    def _on_orphaned(self, number: int, frame: FrameType | None) -> None:
        if os.getppid() == self._parent:
            return  # a terminal hung up, or somebody's idea of a reload
        # Nobody is left to kill us after the grace but the system.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, self._settings.grace))
        self._on_leave(number, frame)

    def _watch_parent(self) -> None:
        select.select([], [], [self._control])  # not Linux: the socket's end tells
        while os.getppid() == self._parent:
            time.sleep(1.0)
        os.kill(os.getpid(), ORPHANED)

    # ── beginning ────────────────────────────────────────────────────────────

    def _load(self) -> str:
        """Load the targets and make the worker; the answer is why not, or empty."""
        try:
            self._worker = self._make_worker()
        except ConfigurationError as error:
            return str(error)
        except _Leave:
            raise
        except SystemExit as error:
            return f"a target called sys.exit({error.code!r}) while it was imported"
        except BaseException as error:
            return "a target could not be imported:\n" + _traceback(error)
        return ""

    def _make_worker(self) -> Any:
        settings = self._settings
        key = targets.read_key(settings.key_file)
        # Who forks to be fresh wants the file as it is now, not a cached idea of it.
        importlib.invalidate_caches()
        found = targets.load(settings.targets, settings.dir, key)
        names = [name for target in found for name in target.names]
        group = self._group
        chosen = targets.choose(
            names,
            [group.only] if group.only else settings.only,
            {*settings.exclude, *group.withheld(self._seat)},
            [*settings.only, *settings.exclude, *settings.functions],
        )
        if not chosen:
            raise ConfigurationError(
                "every function is excluded or dedicated, and nothing is left for the common "
                "processes: set worker.processes = 0 (--processes 0)"
                if settings.functions
                else "no function is left to offer: look at --only and --exclude"
            )
        worker = self._new_worker(found)
        for target in found:
            here = chosen & set(target.names)
            if here:
                target.register(worker, here)
        for ability in targets.abilities(worker.functions):
            begin = partial(self._pen.begin, ability.name.encode())
            handler = watched(ability.handler, begin, self._job_ended)
            worker.functions.add(
                ability.name, handler, ability.timeout_ms / 1000 or None, ability.codec
            )
        return worker

    def _new_worker(self, found: list[targets.Target]) -> Any:
        settings = self._settings
        options: dict[str, Any] = {
            "servers": settings.servers or _agreed(found, "servers", "--servers"),
            "namespace": settings.namespace or _common_namespace(found),
            "worker_id": f"{settings.name}/{self._label()}[{os.getpid()}]",
            "grace": settings.grace,
            "tls": settings.ssl or None,
        }
        if settings.concurrency:
            worker: Any = AsyncWorker(concurrency=settings.concurrency, **options)
        else:
            worker = Worker(concurrency=settings.threads, prefetch=settings.prefetch, **options)
        contexts = [target.context for target in found if target.context is not None]
        if contexts:
            worker.context = contexts[0]
        return worker

    def _label(self) -> str:
        return f"{self._group.only}-{self._seat}" if self._group.only else str(self._seat)

    def _report(self, **what: object) -> None:
        with suppress(OSError):
            self._control.sendall(json.dumps(what).encode() + b"\n")

    def _wait_for_go(self) -> None:
        # What was imported stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        if self._control.recv(1) != b"g":
            raise _Leave

    # ── working ──────────────────────────────────────────────────────────────

    def _work(self) -> None:
        self._working = True
        if self._leaving or self._quiet:
            return
        # A worker takes a second TERM for "now". Here it may come twice, and mean no
        # more than once; "now" is SIGKILL.
        how = {
            "max_jobs": self._max_jobs or None,
            "max_time": self._max_lifetime or None,
            "signals": False,
        }
        if self._settings.concurrency:
            asyncio.run(self._worker.work(**how))
        else:
            self._worker.work(**how)

    def _job_ended(self, ticket: int, failed: bool) -> None:
        self._pen.end(ticket, failed)
        if self._max_memory:
            now = time.monotonic()
            if now - self._looked_at >= MEMORY_SECONDS:
                self._looked_at = now
                size = memory_of(os.getpid())
                if size > self._max_memory:
                    log.info("grown to %d MiB: another process follows", size >> 20)
                    self._worker.stop()

    def _stay_quiet(self) -> None:
        self._working = False
        while self._quiet and not self._leaving:
            # Not signal.pause: a TERM just before it would be slept through.
            select.select([], [], [], 0.5)


def _lowered(limit: Any, splay: float) -> Any:
    """A limit, lower by up to ``splay`` of itself; never 0 if it was not."""
    if not limit:
        return limit
    lower = limit * (1 - splay * random.random())
    return max(1, round(lower)) if isinstance(limit, int) else lower


def _common_namespace(found: list[targets.Target]) -> str:
    """The targets' namespace; where they differ none, and each adds its own."""
    namespaces = {target.namespace for target in found}
    return namespaces.pop() if len(namespaces) == 1 else ""


def _agreed(found: list[targets.Target], what: str, option: str) -> Any:
    """What the targets say of themselves, if they do not contradict each other."""
    said = {repr(getattr(target, what)): target for target in found if getattr(target, what)}
    if len(said) > 1:
        places = " and ".join(f"{target.source} ({text})" for text, target in said.items())
        raise ConfigurationError(f"targets want different {what}: {places}; decide with {option}")
    return getattr(next(iter(said.values())), what) if said else None


def _traceback(error: BaseException) -> str:
    """The traceback, without our own part of it and the import system's."""
    frames = traceback.extract_tb(error.__traceback__)
    home = str(Path(__file__).parent)
    frames[:] = [
        f
        for f in frames
        if not f.filename.startswith((home, "<frozen importlib", importlib.__file__))
    ]
    lines = traceback.format_list(frames) + traceback.format_exception_only(error)
    return "".join(lines).rstrip()


def memory_of(pid: int) -> int:
    """Resident memory of a process in bytes; 0: unknown."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        if pid != os.getpid():
            return 0
        # Not Linux: the most that it ever was, in bytes or KiB.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def main(child: Child, name: str) -> None:
    """Run a child in a process that was just forked. Does not return."""
    logs.call_me(name)
    call_process(f"gearman-worker: {name}")
    status = 1
    try:
        status = child.run()
    except _Leave:
        status = 0
    except BaseException:
        log.exception("a worker process failed")
    finally:
        import atexit

        try:
            atexit._run_exitfuncs()
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(status)
