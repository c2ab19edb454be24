"""A queue of records in files: written at one end, read at the other, given up in whole files.

A record is four bytes of length and the bytes. A file holds some megabytes of them
and is named by the number of its first record, so that the number of every record
follows from its place. ``Segments`` with a folder survive the process; without one
the files have no name and are gone with it.

A file is written by appending alone. After a crash its tail may hold half a record:
that is cut off when the folder is opened again, and nothing before it can be hurt.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

#: A file that has grown to this size is followed by a new one.
SEGMENT_BYTES: Final = 16 * 2**20

#: Bytes read back at once.
READ_BYTES: Final = 256 * 1024

_SUFFIX: Final = ".segment"


class Segment:
    """One file.

    Attributes:
        first: number of its first record.
        count: records in it.
        size: bytes of whole records in it.
    """

    def __init__(self, first: int, fd: int, path: str) -> None:
        self.first = first
        self.fd = fd
        self.path = path
        self.count = 0
        self.size = 0

    def drop(self) -> None:
        """Close and delete it."""
        os.close(self.fd)
        if self.path:
            os.unlink(self.path)


class Segments:
    """The queue.

    Args:
        folder: where the files are kept; empty: nameless files in the folder for
            temporary ones.
        segment_bytes: size at which a new file is begun.

    Attributes:
        end: number that the next record will have.
    """

    def __init__(self, folder: str = "", segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._files: deque[Segment] = deque()
        self.end = 0
        if folder:
            self._open_all()
        self._read_at = 0  # number of the next record to read
        self._reading: Segment | None = None
        self._offset = 0

    @property
    def first(self) -> int:
        """Number of the oldest record that is kept."""
        return self._files[0].first if self._files else self.end

    def append(self, records: list[bytes]) -> None:
        """Write records at the end: all of them, or none if it fails.

        Raises:
            OSError: the disk is full, or worse.
        """
        pieces: list[bytes] = []
        for record in records:
            pieces.append(len(record).to_bytes(4, "big"))
            pieces.append(record)
        data = b"".join(pieces)
        segment = self._files[-1] if self._files else None
        if segment is None or segment.size >= self._segment_bytes:
            segment = self._begin()
        try:
            view = memoryview(data)
            while view:
                view = view[os.pwrite(segment.fd, view, segment.size + len(data) - len(view)) :]
        except OSError:
            os.ftruncate(segment.fd, segment.size)
            raise
        segment.size += len(data)
        segment.count += len(records)
        self.end += len(records)

    def start_at(self, number: int) -> None:
        """Read from this record on; at least the oldest that is kept."""
        self._read_at = max(number, self.first)
        self._reading = None

    @property
    def unread(self) -> int:
        """Records that ``read`` has not handed out."""
        return self.end - self._read_at

    def read(self) -> list[tuple[int, bytes]]:
        """The next records, with their numbers; none when all are read."""
        if self._read_at >= self.end:
            return []
        segment = self._reading
        if segment is None or self._read_at >= segment.first + segment.count:
            segment = self._seek()
        records: list[tuple[int, bytes]] = []
        data = os.pread(segment.fd, min(READ_BYTES, segment.size - self._offset), self._offset)
        at = 0
        while len(data) - at >= 4:
            size = int.from_bytes(data[at : at + 4], "big")
            if at + 4 + size > len(data):
                if at:
                    break
                data = self._pread_all(segment, self._offset, 4 + size)
            records.append((self._read_at, data[at + 4 : at + 4 + size]))
            self._read_at += 1
            at += 4 + size
        self._offset += at
        return records

    def forget(self, number: int) -> None:
        """Records below this number are not needed any more: give up files that hold no others."""
        files = self._files
        while files:
            segment = files[0]
            last = len(files) == 1
            if segment.first + segment.count > number or (last and not self._is_full(segment)):
                break
            files.popleft()
            if segment is self._reading:
                self._reading = None
            segment.drop()

    def close(self, keep: bool) -> None:
        """Close the files; ``keep`` False: delete them too."""
        while self._files:
            segment = self._files.popleft()
            if keep:
                os.close(segment.fd)
            else:
                segment.drop()

    # ── inside ───────────────────────────────────────────────────────────────

    def _is_full(self, segment: Segment) -> bool:
        return segment.size >= self._segment_bytes

    def _begin(self) -> Segment:
        if self._folder:
            path = os.path.join(self._folder, f"{self.end:020d}{_SUFFIX}")
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        else:
            import tempfile

            fd, path = tempfile.mkstemp(prefix="gearman-")
            os.unlink(path)
            path = ""
        segment = Segment(self.end, fd, path)
        self._files.append(segment)
        return segment

    def _open_all(self) -> None:
        names = sorted(name for name in os.listdir(self._folder) if name.endswith(_SUFFIX))
        for name in names:
            path = os.path.join(self._folder, name)
            segment = Segment(int(name.removesuffix(_SUFFIX)), os.open(path, os.O_RDWR), path)
            self._measure(segment)
            self._files.append(segment)
            self.end = segment.first + segment.count

    def _measure(self, segment: Segment) -> None:
        """Count the whole records; cut off what a crash left half written."""
        size = os.fstat(segment.fd).st_size
        at = 0
        while at + 4 <= size:
            length = int.from_bytes(os.pread(segment.fd, 4, at), "big")
            if at + 4 + length > size:
                break
            at += 4 + length
            segment.count += 1
        if at < size:
            os.ftruncate(segment.fd, at)
        segment.size = at

    def _seek(self) -> Segment:
        for segment in self._files:
            if segment.first <= self._read_at < segment.first + segment.count:
                break
        else:
            raise LookupError(f"record {self._read_at} is in no file")
        self._reading = segment
        self._offset = 0
        for _ in range(self._read_at - segment.first):
            size = int.from_bytes(os.pread(segment.fd, 4, self._offset), "big")
            self._offset += 4 + size
        return segment

    @staticmethod
    def _pread_all(segment: Segment, offset: int, size: int) -> bytes:
        pieces: list[bytes] = []
        while size:
            data = os.pread(segment.fd, size, offset)
            if not data:
                raise OSError(f"{segment.path or 'the overflow file'} is shorter than it was")
            pieces.append(data)
            offset += len(data)
            size -= len(data)
        return b"".join(pieces)
