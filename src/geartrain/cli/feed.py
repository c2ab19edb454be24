"""Where a client's records come from: operands, all of the input, or its lines."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

from geartrain.cli.lines import Batches, Lines

if TYPE_CHECKING:
    from geartrain.cli.gearman_options import Settings

#: Bytes read from the input at once. A pipe holds 64 KiB as a rule.
READ_BYTES: Final = 256 * 1024


class Given:
    """Records that are all there from the beginning.

    Attributes:
        over: there will be no more.
        due: instant at which ``tick`` has something to do.
    """

    over = True
    due: float | None = None

    def __init__(self, records: list[bytes]) -> None:
        self._records = records

    def start(self) -> list[bytes]:
        """The records known before anything is read."""
        return self._records

    def read(self, now: float) -> list[bytes]:
        """Read what is there, and return the records that are whole now."""
        return []

    def tick(self, now: float) -> list[bytes]:
        """Let time pass: a batch that has waited long enough goes as it is."""
        return []

    def stop(self) -> list[bytes]:
        """Read no more; return what is left as it is."""
        return []


class LineFeed(Given):
    """Records made of the lines of a descriptor.

    Args:
        fd: read when ``poll`` says so.
        batches: puts lines together.
        wait: seconds that a batch may wait to become full.
    """

    def __init__(self, fd: int, batches: Batches, wait: float) -> None:
        super().__init__([])
        self.over = False
        self.due = None
        self._fd = fd
        self._lines = Lines()
        self._batches = batches
        self._wait = wait

    def read(self, now: float) -> list[bytes]:
        """Read once.

        Raises:
            OSError: the input cannot be read.
        """
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            return self.stop()
        records = self._batches.feed(self._lines.feed(data))
        if not self._batches.waiting:
            self.due = None
        elif self.due is None or records:
            self.due = now + self._wait
        return records

    def tick(self, now: float) -> list[bytes]:
        if self.due is None or now < self.due:
            return []
        self.due = None
        return self._batches.flush()

    def stop(self) -> list[bytes]:
        if self.over:
            return []
        self.over = True
        self.due = None
        return [*self._batches.feed(self._lines.end()), *self._batches.flush()]


def make_feed(settings: Settings, fd: int = 0) -> Given:
    """The feed that a command line asks for; reads all of the input if that is one record.

    Raises:
        OSError: the input cannot be read.
    """
    if settings.operands:
        return Given([text.encode("utf-8", "surrogateescape") for text in settings.operands])
    if settings.no_input:
        return Given([b""])
    if settings.lines:
        only_one = not settings.batch_lines and not settings.batch_bytes
        batches = Batches(
            1 if only_one else settings.batch_lines, settings.batch_bytes, settings.strip
        )
        return LineFeed(fd, batches, settings.batch_wait)
    with io.FileIO(fd, closefd=False) as source:
        return Given([source.readall() or b""])
