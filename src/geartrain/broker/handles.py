"""The names of jobs, none of which is given twice.

A handle is ``prefix`` and 63 bits in hexadecimal, made of the millisecond in which its
block of ids began, the number of this server, and a counter, so that neither a restart
nor a neighbour can hand it out again.
"""

from __future__ import annotations

from typing import Final

#: 2020-01-01, in milliseconds since 1970: ids count from here.
ID_EPOCH_MS: Final = 1_577_836_800_000


class HandleMaker:
    """Makes handles that never repeat.

    Args:
        prefix: what they begin with, such as ``H:host:``; at most 46 bytes.
        instance: 0 to 1023; different for servers that share a store.

    Attributes:
        size: bytes of a handle; all are of one length.
        id: what the last handle ends with, as a number; -1 before there was one.
    """

    def __init__(self, prefix: bytes, instance: int = 0) -> None:
        if len(prefix) > 46:
            raise ValueError(f"job handle prefix {prefix!r} is longer than 46 bytes")
        if not 0 <= instance < 1024:
            raise ValueError(f"instance = {instance}: want 0 to 1023")
        self.prefix = prefix
        # Thirteen digits for the block (good until 2159) and three for the count.
        self.size = len(prefix) + 16
        self.id = -1
        self._instance = instance
        self._ms = -1
        self._stem = b""
        #: The id of the block's first handle.
        self._base = 0
        self._count = 4096
        # Three hexadecimal digits count 4,096 ids; then a new block begins.
        self._tails: list[bytes] = [b"%03x" % n for n in range(4096)]

    def rebase(self, instance: int, floor: int) -> None:
        """Go on as this instance, above the id ``floor``."""
        self._instance = instance
        self._ms = max(self._ms, floor >> 22)
        self._count = 4096

    def keep_pace(self, wall: float) -> None:
        """Begin a new block if a millisecond has passed, so that ids tell the age of jobs."""
        if int(wall * 1000.0) - ID_EPOCH_MS > self._ms:
            self._count = 4096

    def next(self, wall: float) -> bytes:
        """A new handle. ``wall`` is the time in seconds since 1970; it may stand still."""
        count = self._count
        if count == 4096:
            # A clock that stands still or was set back does not bring ids back.
            self._ms = max(int(wall * 1000.0) - ID_EPOCH_MS, self._ms + 1)
            block = (self._ms << 10) | self._instance
            self._stem = self.prefix + b"%013x" % block
            self._base = block << 12
            count = 0
        self._count = count + 1
        self.id = self._base + count
        return self._stem + self._tails[count]
