"""A worker in several processes, kept at their number and stopped gracefully."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from typing import Any, Protocol

from geartrain.worker.job import log

#: A process that ends sooner than this has failed; its successor waits.
SHORT_LIFE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_COUNT = struct.Struct("=Q")


class Workable(Protocol):
    """What a pool needs of the ``Worker`` that it multiplies."""

    concurrency: int

    @property
    def grace(self) -> float:
        """Seconds that running jobs have to end."""

    @property
    def is_stopping(self) -> bool:
        """It has been told to stop."""

    @property
    def is_stopping_now(self) -> bool:
        """... and not to wait."""

    def in_child(self) -> Workable:
        """The same for one process."""

    def work(self, *, max_jobs: int | None, max_time: float | None, burst: bool) -> int:
        """Do jobs; return how many."""

    def stop(self) -> None:
        """Let ``work`` end."""


class ProcessPool:
    """``Worker.work`` in as many forked processes as its concurrency says.

    The parent does no jobs. It replaces processes that die, hands ``stop`` on as
    SIGTERM, and kills what has not ended within the grace.
    """

    def __init__(self, worker: Workable) -> None:
        self._worker = worker
        #: ``{pid: (where its count arrives, when it began)}``
        self._children: dict[int, tuple[int, float]] = {}
        self._done = 0
        self._failures = 0
        # The children read from this pipe, and nobody ever writes: its end says
        # that the parent is gone.
        self._alive, self._alive_here = os.pipe()

    def run(self, max_jobs: int | None, seconds: float | None, burst: bool) -> int:
        """Work, as ``Worker.work``; each process has its share of ``max_jobs``."""
        worker = self._worker
        shares: list[int | None] = [None] * worker.concurrency
        if max_jobs is not None:
            each, rest = divmod(max_jobs, worker.concurrency)
            shares = [each + (n < rest) for n in range(worker.concurrency)]
        for share in shares:
            if share != 0:
                self._fork(share, seconds, burst)
        bounded = max_jobs is not None or seconds is not None or burst
        told_at = 0.0
        while self._children:
            if worker.is_stopping:
                now = time.monotonic()
                if not told_at:
                    told_at = now
                    self._signal(signal.SIGTERM)
                elif worker.is_stopping_now or now - told_at > worker.grace:
                    self._signal(signal.SIGKILL)
            for pid, status in self._ended():
                began = self._collect(pid)
                if os.waitstatus_to_exitcode(status) == 0:
                    continue
                log.error("worker process %d ended with %s", pid, _what(status))
                if not worker.is_stopping and not bounded:
                    self._pause(began)
                    self._fork(None, seconds, burst)
            time.sleep(0.02)
        os.close(self._alive)
        os.close(self._alive_here)
        return self._done

    def _pause(self, began: float) -> None:
        if time.monotonic() - began > SHORT_LIFE_SECONDS:
            self._failures = 0
            return
        self._failures += 1
        time.sleep(min(_LONGEST_PAUSE_SECONDS, 0.1 * 2.0 ** min(self._failures, 10)))

    def _fork(self, share: int | None, seconds: float | None, burst: bool) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            self._children[pid] = (reading, time.monotonic())
            return
        code = 1
        try:
            os.close(reading)
            os.close(self._alive_here)
            worker = self._worker.in_child()
            threading.Thread(target=self._watch_parent, args=(worker,), daemon=True).start()
            done = worker.work(max_jobs=share, max_time=seconds, burst=burst)
            os.write(writing, _COUNT.pack(done))
            code = 0
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            log.exception("worker process failed")
        finally:
            os._exit(code)

    def _watch_parent(self, worker: Workable) -> None:
        os.read(self._alive, 1)
        log.warning("the parent of this worker process is gone; finishing")
        worker.stop()

    def _ended(self) -> list[tuple[int, int]]:
        ended = []
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                ended.append((pid, status))
        return ended

    def _collect(self, pid: int) -> float:
        reading, began = self._children.pop(pid)
        data = os.read(reading, _COUNT.size)
        os.close(reading)
        if len(data) == _COUNT.size:
            self._done += _COUNT.unpack(data)[0]
        return began

    def _signal(self, number: int) -> None:
        for pid in self._children:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


def _what(status: int) -> Any:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name
