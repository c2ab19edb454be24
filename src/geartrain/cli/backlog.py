"""What has been read and is not done yet: in memory, spilling to disk, or kept on disk.

Three backlogs with one face; the client's loop does not know which it has.

* ``Memory``: a little, and then the input has to wait. Right for files and for jobs
  whose results somebody waits for.
* ``Overflow``: a little in memory and the rest in nameless files. For ``-b``: the
  program that feeds us is never kept waiting by a slow or absent server.
* ``Spool``: all of it in a folder, until it is done. What was not done when we ended,
  or were killed, is sent first next time, under the same unique keys.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from geartrain.errors import ConfigurationError

if TYPE_CHECKING:
    from geartrain.cli.segments import Segments

#: Bytes kept in memory before the input waits, or the disk is used.
MEMORY_BYTES: Final = 4 * 2**20

#: Records done between two notes of how far the spool is.
_NOTE_EVERY: Final = 256


class Memory:
    """A short queue; ``hungry`` says when it would like more.

    Attributes:
        origin: first part of each record's unique key.
        held: bytes in the queue.
    """

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.origin = os.urandom(8).hex()
        self.held = 0
        self._limit = limit
        self._queue: deque[tuple[int, bytes]] = deque()
        self._next = 1

    @property
    def hungry(self) -> bool:
        """Whether input should be read now."""
        return self.held < self._limit

    def put(self, records: list[bytes]) -> None:
        """Take records, in order."""
        number = self._next
        for record in records:
            self._queue.append((number, record))
            self.held += len(record)
            number += 1
        self._next = number

    def take(self) -> tuple[int, bytes] | None:
        """The oldest record and its number, or None."""
        if not self._queue:
            return None
        number, record = self._queue.popleft()
        self.held -= len(record)
        return number, record

    @property
    def empty(self) -> bool:
        """Nothing to take now."""
        return not self._queue

    def done(self, number: int) -> None:
        """The record needs no further care."""

    def tick(self) -> str:
        """Try again what failed; return what there is to complain about, if anything."""
        return ""

    def close(self) -> None:
        """End; a spool keeps what is not done."""


class Overflow(Memory):
    """A queue that never makes its feeder wait while the disk has room."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        super().__init__(limit)
        self._disk: Segments | None = None
        self._stuck: list[bytes] = []
        self._complaint = ""

    @property
    def hungry(self) -> bool:
        return not self._stuck

    def put(self, records: list[bytes]) -> None:
        if self._disk is None and self.held < self._limit:
            super().put(records)
            return
        self._stuck += records
        self.tick()

    def take(self) -> tuple[int, bytes] | None:
        if not self._queue and self._disk is not None:
            records = self._disk.read()
            super().put([record for _, record in records])
            if not self._disk.unread and not self._stuck:
                self._disk.close(keep=False)
                self._disk = None
            elif records:
                self._disk.forget(records[-1][0] + 1)
        return super().take()

    @property
    def empty(self) -> bool:
        return not self._queue and self._disk is None and not self._stuck

    def tick(self) -> str:
        if not self._stuck:
            return ""
        try:
            if self._disk is None:
                from geartrain.cli.segments import Segments

                self._disk = Segments()
            self._disk.append(self._stuck)
        except OSError as error:
            if self._complaint:
                return ""
            self._complaint = f"cannot write the overflow file ({error.strerror}); the input waits"
            return self._complaint
        self._stuck = []
        self._complaint = ""
        return ""

    def close(self) -> None:
        if self._disk is not None:
            self._disk.close(keep=False)


class Spool:
    """A queue in a folder, of which one process at a time is the owner.

    The folder holds the segments, ``origin`` (first part of every unique key, made
    once) and ``done`` (number of the first record that is not known to be done).
    ``done`` may lag behind by some records after a crash; those are sent again,
    under the same keys.

    Args:
        folder: made if it is not there.
        own_keys: each record has a unique key of its own.

    Raises:
        ConfigurationError: it cannot be used, or somebody else uses it.
    """

    def __init__(self, folder: str, segment_bytes: int = 0) -> None:
        import fcntl

        from geartrain.cli.segments import SEGMENT_BYTES, Segments

        self._folder = folder
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                raise ConfigurationError(
                    f"--spool {folder}: another gearman is using it; give each its own folder"
                ) from None
            self.origin = self._read_origin()
            self._note = os.open(os.path.join(folder, "done"), os.O_RDWR | os.O_CREAT, 0o600)
            self._segments = Segments(folder, segment_bytes or SEGMENT_BYTES)
        except OSError as error:
            raise ConfigurationError(f"--spool {folder}: {error.strerror}") from None
        text = os.pread(self._note, 20, 0)
        self._done = max(int(text) if text.isdigit() else 0, self._segments.first)
        self._noted = self._done
        # After a crash in which `done` got further than the records (the machine
        # went down): never give a number twice, for it would be the same key.
        if self._done > self._segments.end:
            self._segments.forget(self._done)
            self._segments.close(keep=False)
            self._segments.end = self._done
        self._segments.start_at(self._done)
        self._queue: deque[tuple[int, bytes]] = deque()
        self._early: set[int] = set()
        self._stuck: list[bytes] = []
        self._complaint = ""

    def _read_origin(self) -> str:
        path = os.path.join(self._folder, "origin")
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            text = os.read(fd, 64).decode("ascii", "replace").strip()
            if not text:
                text = os.urandom(8).hex()
                os.write(fd, text.encode() + b"\n")
            return text
        finally:
            os.close(fd)

    @property
    def left_over(self) -> int:
        """Records that are not done."""
        return self._segments.end - self._done - len(self._early)

    @property
    def hungry(self) -> bool:
        """Whether input should be read now: unless the disk refuses, always."""
        return not self._stuck

    def put(self, records: list[bytes]) -> None:
        """Write records to disk."""
        self._stuck += records
        self.tick()

    def take(self) -> tuple[int, bytes] | None:
        """The oldest record not taken yet, or None."""
        if not self._queue:
            self._queue.extend(self._segments.read())
            if not self._queue:
                return None
        return self._queue.popleft()

    @property
    def empty(self) -> bool:
        """Nothing to take now."""
        return not self._queue and not self._segments.unread and not self._stuck

    def done(self, number: int) -> None:
        """The record needs no further care; it is forgotten when all before it are done too."""
        if number != self._done:
            self._early.add(number)
            return
        number += 1
        early = self._early
        while number in early:
            early.discard(number)
            number += 1
        self._done = number
        if number - self._noted >= _NOTE_EVERY:
            self._write_note()

    def tick(self) -> str:
        """Write what could not be written before."""
        if not self._stuck:
            return ""
        try:
            self._segments.append(self._stuck)
        except OSError as error:
            if self._complaint:
                return ""
            self._complaint = f"--spool {self._folder}: {error.strerror}; the input waits"
            return self._complaint
        self._stuck = []
        self._complaint = ""
        return ""

    def close(self) -> None:
        """Note how far it is; keep the rest."""
        self._write_note()
        if self._done == self._segments.end:
            self._segments.close(keep=False)
        else:
            self._segments.close(keep=True)
        os.close(self._note)
        os.close(self._lock)

    def _write_note(self) -> None:
        os.pwrite(self._note, b"%020d\n" % self._done, 0)
        self._segments.forget(self._done)
        self._noted = self._done


Backlog: TypeAlias = Memory | Spool
