"""The joblog: a line for each task that is over, and what ``--resume`` makes of it.

Columns, separated by tabs: record, function, server, handle, start (seconds since
1970), seconds taken, bytes sent, bytes received, result. The result is ``ok``,
``queued`` (``-b``), ``failed``, ``exception`` or the server's error code. Records are
numbered from 1 as they come; ``--resume`` leaves out those that the log calls ok or
queued, so the input must be the same, and cut in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from geartrain.errors import ConfigurationError

if TYPE_CHECKING:
    from geartrain.cli.task import Task

HEADER: Final = b"record\tfunction\tserver\thandle\tstart\tseconds\tsent\treceived\tresult\n"

_DONE: Final = (b"ok", b"queued")

#: What a name may hold as it is; the rest is written as %XX, so that a line stays a line.
_SAFE: Final = "!#$&'()*+,-./:;<=>?@[]^_`{|}~"


class Joblog:
    """Appends to the log, a whole turn's lines at a time.

    Args:
        path: the file; made, with a header, if it is not there.
        clock: seconds that never jump, as in ``Task.started``.
        wall: seconds since 1970.
        resume: read first what is done.

    Raises:
        ConfigurationError: the file cannot be used.
    """

    def __init__(
        self, path: str, clock: Callable[[], float], wall: Callable[[], float], resume: bool
    ) -> None:
        self.server = ""
        self._path = path
        self._clock = clock
        self._wall = wall
        self._lines: list[bytes] = []
        #: For each function, a bit for each record that is done.
        self._done: dict[bytes, bytearray] = {}
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            if resume:
                self._read()
            if os.fstat(self._fd).st_size == 0:
                os.write(self._fd, HEADER)
        except OSError as error:
            raise ConfigurationError(f"--joblog {path}: {error.strerror}") from None

    def is_done(self, number: int, function: bytes) -> bool:
        """Whether the log that was resumed calls this task done."""
        bits = self._done.get(function)
        if bits is None or number >> 3 >= len(bits):
            return False
        return bool(bits[number >> 3] >> (number & 7) & 1)

    def add(self, task: Task, result: str) -> None:
        """A task is over."""
        now = self._clock()
        took = now - task.started
        self._lines.append(
            b"%d\t%s\t%s\t%s\t%.3f\t%.3f\t%d\t%d\t%s\n"
            % (
                task.number,
                quote_from_bytes(task.function, _SAFE).encode(),
                self.server.encode(),
                quote_from_bytes(task.handle, _SAFE).encode(),
                self._wall() - took,
                took,
                len(task.workload),
                task.received,
                result.encode("utf-8", "replace"),
            )
        )

    def flush(self) -> None:
        """Write the lines of this turn.

        Raises:
            OSError: the disk is full.
        """
        if self._lines:
            data = b"".join(self._lines)
            self._lines = []
            os.write(self._fd, data)

    def close(self) -> None:
        """Write the rest and close."""
        self.flush()
        os.close(self._fd)

    def _read(self) -> None:
        with open(self._path, "rb") as log:
            for line in log:
                fields = line.rstrip(b"\n").split(b"\t")
                if len(fields) != 9 or not fields[0].isdigit():
                    continue
                bits = self._done.setdefault(unquote_to_bytes(fields[1]), bytearray())
                number = int(fields[0])
                if number >> 3 >= len(bits):
                    bits.extend(bytes((number >> 3) + 1 - len(bits) + len(bits) // 2))
                mask = 1 << (number & 7)
                if fields[8] in _DONE:
                    bits[number >> 3] |= mask
