"""The board: what each process does, in memory that all of them share.

A process writes its own row, at the beginning and the end of each job; the manager
reads them when somebody asks. So a status costs the workers nothing but two small
writes a job, and the row of a process that was killed still says what it was doing.

A row begins and ends with the same count; a reader that finds two different ones has
met a writer, and looks again.
"""

from __future__ import annotations

import mmap
import struct
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Final

#: count, jobs, failures, running, since, name's length, name, count
_ROW: Final = struct.Struct("=QQQIdH82sQ")
_BYTES: Final = 128
#: Longer names are cut.
_NAME_BYTES: Final = 82


@dataclass(frozen=True, slots=True)
class Row:
    """What a process says of itself.

    Attributes:
        jobs: ended, well or not.
        failures: of those, ended by an exception.
        running: jobs that run now.
        function: of the job that began last and runs; empty: none runs.
        since: when that one began, of ``time.monotonic()``.
    """

    jobs: int
    failures: int
    running: int
    function: str
    since: float


class Board:
    """Rows for a number of processes. Make it before the first fork.

    Args:
        rows: how many processes at once, at most.
    """

    def __init__(self, rows: int = 1024) -> None:
        self.rows = rows
        self._memory = mmap.mmap(-1, rows * _BYTES)

    def clear(self, row: int) -> None:
        """Nobody is in this row, or somebody new."""
        at = row * _BYTES
        self._memory[at : at + _BYTES] = bytes(_BYTES)

    def read(self, row: int) -> Row:
        """What a row says."""
        at = row * _BYTES
        found = _ROW.unpack_from(self._memory, at)
        for _ in range(100):
            if found[0] == found[-1]:
                break
            found = _ROW.unpack_from(self._memory, at)
        # A process that was killed while it wrote leaves two counts: what is there
        # is good enough to look at.
        _, jobs, failures, running, since, length, name, _ = found
        return Row(jobs, failures, running, name[:length].decode("utf-8", "replace"), since)

    def pen(self, row: int) -> Pen:
        """Whoever is in the row writes with this."""
        return Pen(self._memory, row * _BYTES)


class Pen:
    """Writes one row; from any thread of one process."""

    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory = memory
        self._at = at
        self._lock = threading.Lock()
        self._count = 0
        self._running: dict[int, tuple[bytes, float]] = {}
        self._tickets = 0
        self.jobs = 0
        self.failures = 0

    def begin(self, name: bytes) -> int:
        """A job has begun; give the answer to ``end``."""
        since = monotonic()
        with self._lock:
            self._tickets = ticket = self._tickets + 1
            self._running[ticket] = name, since
            self._write(name, since)
        return ticket

    def end(self, ticket: int, failed: bool) -> None:
        """It has ended."""
        with self._lock:
            running = self._running
            del running[ticket]
            self.jobs += 1
            if failed:
                self.failures += 1
            if running:
                self._write(*next(reversed(running.values())))
            else:
                self._write(b"", 0.0)

    def _write(self, name: bytes, since: float) -> None:
        self._count = count = self._count + 1
        _ROW.pack_into(
            self._memory, self._at,
            count, self.jobs, self.failures, len(self._running), since,
            min(len(name), _NAME_BYTES), name, count,
        )  # fmt: skip
