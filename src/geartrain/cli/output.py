"""What a client prints, byte for byte, and in whose turn.

The bytes are the C tool's (protocol reference, 4.2): results raw on stdout, warnings
and exceptions raw on stderr, with ``-P`` the function's name before each packet.

It sends one job after another; we have many under way, so their output has to take
turns. Three ways:

* ``LIVE``: everything as it comes. One workload, or operands one after another.
* ``GROUPED``: a job that has begun to speak speaks to its end; what others say is
  kept until then. Jobs appear in the order in which they speak.
* ``ORDERED``: the same, in the order of the input (``-k``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from geartrain.cli.task import Task

LIVE: Final = 0
GROUPED: Final = 1
ORDERED: Final = 2

#: Bytes gathered before they are written, within one turn of the loop.
_FLUSH_BYTES: Final = 64 * 1024


class Printer:
    """Where results go.

    Args:
        write: takes a descriptor (1 or 2) and bytes.
        mode: ``LIVE``, ``GROUPED`` or ``ORDERED``.
        prefix: put the function's name before each packet.

    Attributes:
        held: bytes kept back until their job's turn.
    """

    def __init__(self, write: Callable[[int, bytes], None], mode: int, prefix: bool) -> None:
        self._write = write
        self._mode = mode
        self._prefix = prefix
        self._out: list[bytes] = []
        self._size = 0
        self._holder: Task | None = None
        #: What jobs said that must wait: in the order of the input for ORDERED.
        self._kept: dict[Task, list[bytes]] = {}
        self._over: dict[Task, None] = {}
        self.held = 0

    def begin(self, task: Task) -> None:
        """The job is about to be sent for the first time."""
        if self._mode == ORDERED:
            if self._holder is None:
                self._holder = task
            else:
                self._kept[task] = []

    def out(self, task: Task, data: bytes, plain: bool = False) -> None:
        """A packet for stdout; ``plain``: about the job, not by it."""
        if self._prefix and not plain:
            data = b"%s: %s" % (task.function, data)
        elif not data:
            return
        if self._mode != LIVE and not plain:
            if self._holder is None:
                self._holder = task
            elif self._holder is not task:
                self._kept.setdefault(task, []).append(data)
                self.held += len(data)
                return
        self._put(data)

    def err(self, task: Task, data: bytes) -> None:
        """A packet for stderr: never kept back, and after all that stdout was given so far."""
        self.flush()
        self._write(2, b"%s: %s" % (task.function, data) if self._prefix else data)

    def forget(self, task: Task) -> None:
        """The job will be run again: drop what it said and has not been written."""
        kept = self._kept.get(task)
        if kept:
            self.held -= sum(map(len, kept))
            kept.clear()

    def end(self, task: Task) -> None:
        """The job is over: somebody else's turn, if it had the word."""
        if self._mode == LIVE:
            return
        if self._holder is not task:
            if task in self._kept:
                self._over[task] = None
            return
        self._holder = None
        kept = self._kept
        if self._mode == GROUPED:
            # Those that are over go first: nobody has to wait for them. Then, among
            # those still running, the one that spoke first goes on.
            for other in self._over:
                self._say(other)
            self._over.clear()
        while kept:
            other = next(iter(kept))
            self._say(other)
            if other not in self._over:
                self._holder = other
                return
            del self._over[other]

    def flush(self) -> None:
        """Write what was gathered in this turn."""
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out = []
            self._size = 0
            self._write(1, data)

    def close(self) -> None:
        """Write everything, also of jobs that have not ended."""
        for task in list(self._kept):
            self._say(task)
        self.flush()

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._size += len(data)
        if self._size >= _FLUSH_BYTES:
            self.flush()

    def _say(self, task: Task) -> None:
        for data in self._kept.pop(task):
            self.held -= len(data)
            self._put(data)
