"""Bytes as they come -> whole lines -> jobs of one line or of many.

Nothing is cut at NUL bytes, and a line may be as long as memory allows up to
``MAX_LINE_BYTES``; the C tool cuts at both (protocol reference, 4.2).
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

#: A line longer than this is cut into several jobs: a stream without newlines must not
#: grow without end.
MAX_LINE_BYTES: Final = 64 * 2**20


class Lines:
    """Cuts a stream into lines, each with its newline.

    Args:
        longest: a line that grows beyond this is handed out in pieces.
    """

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return the lines that are whole now."""
        if b"\n" not in data:
            self._begun.append(data)
            self._held += len(data)
            return [self._rest()] if self._held >= self._longest else []
        if self._begun:
            self._begun.append(data)
            data = self._rest()
        lines = BytesIO(data).readlines()
        if not lines[-1].endswith(b"\n"):
            last = lines.pop()
            self._begun.append(last)
            self._held = len(last)
        return lines

    def end(self) -> list[bytes]:
        """The input has ended; return the last line, if it had no newline."""
        return [self._rest()] if self._begun else []

    def _rest(self) -> bytes:
        rest = self._begun[0] if len(self._begun) == 1 else b"".join(self._begun)
        self._begun = []
        self._held = 0
        return rest


class Batches:
    """Puts whole lines together, up to a number or a size; a line alone may be larger.

    Args:
        lines: most lines in a batch; 0: any number.
        size: most bytes in a batch; 0: any size.
        strip: take the newline off (of a batch: the last one).

    Attributes:
        waiting: bytes of lines that are not a full batch yet.
    """

    def __init__(self, lines: int = 1, size: int = 0, strip: bool = False) -> None:
        self._lines = lines
        self._size = size
        self._strip = strip
        self._batch: list[bytes] = []
        self.waiting = 0

    def feed(self, lines: list[bytes]) -> list[bytes]:
        """Take lines; return the batches that are full now."""
        if self._lines == 1 and not self._size:
            return [self._dress(line) for line in lines] if self._strip else lines
        full: list[bytes] = []
        batch = self._batch
        for line in lines:
            if self._size and batch and self.waiting + len(line) > self._size:
                full += self.flush()
                batch = self._batch
            batch.append(line)
            self.waiting += len(line)
            if len(batch) == self._lines or (self._size and self.waiting >= self._size):
                full += self.flush()
                batch = self._batch
        return full

    def flush(self) -> list[bytes]:
        """Hand out what waits, full or not."""
        if not self._batch:
            return []
        whole = b"".join(self._batch)
        self._batch = []
        self.waiting = 0
        return [self._dress(whole)]

    def _dress(self, text: bytes) -> bytes:
        return text[:-1] if self._strip and text.endswith(b"\n") else text
