"""SQLite's own log (``jobs.db-wal``), as far as it can be damaged without SQLite saying so.

SQLite reads its log up to the first frame that does not fit, and takes what follows for
the rest of a commit that a crash cut off. Where a disk has spoiled a frame in the middle,
commits that were answered for follow, and would be dropped in silence. But a commit is
begun only when the one before it is on the disk, so that a crash cuts off one, and never
two: where two are behind the last frame that fits, it was no crash.

The format is SQLite's, and stable: https://sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import Final

_MAGIC: Final = (0x377F0682, 0x377F0683)
_HEADER: Final = 32
_FRAME: Final = 24
#: SQLite's own choice, and ours.
_PAGE: Final = 4096
#: Magic number, page size and salts.
_BEGINNING: Final = Struct(">I4xI4x8s")
#: Commit mark and salts.
_OF_FRAME: Final = Struct(">4xI8s")
#: In the index (``jobs.db-shm``): how many frames fit, in the machine's own order.
_FITTING: Final = Struct("=16xI")


def commits_cut_off(log: str) -> int:
    """How many commits are in the log behind the last frame that fits.

    Args:
        log: its name; SQLite has it open and has read it, and nothing was written since.
    """
    try:
        with Path(log.removesuffix("-wal") + "-shm").open("rb") as index:
            (fitting,) = _FITTING.unpack(index.read(_FITTING.size))
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0  # nobody has written to it
    # Read, and not mapped: a disk that fails would end the process.
    try:
        size = os.fstat(fd).st_size
        if size < _HEADER + _FRAME:
            return 0
        magic, page, salts = _BEGINNING.unpack(os.pread(fd, _BEGINNING.size, 0))
        if magic not in _MAGIC or page < 512:
            # The first lines are spoiled themselves: then none of it fits.
            page = _PAGE
            _, salts = _OF_FRAME.unpack(os.pread(fd, _OF_FRAME.size, _HEADER))
        if salts == bytes(8):
            return 0  # made long in advance, and not begun
        commits = 0
        step = _FRAME + page
        for at in range(_HEADER + fitting * step, size - step + 1, step):
            mark, of_frame = _OF_FRAME.unpack(os.pread(fd, _OF_FRAME.size, at))
            commits += bool(mark) and of_frame == salts
        return commits
    finally:
        os.close(fd)
