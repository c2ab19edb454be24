"""The room that is left on the disk of the queue.

A disk that is full can still be read, but what is over can no longer be written down,
so that it would be done again after a restart. Therefore some of it is left alone
(``min-free``): while there is less, background submissions that would have to be written are
refused, and everything else goes on. It ends by itself when there is room again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.server.kinds import SIZE, read_kind
from geartrain.stores.port import Room

log = logging.getLogger("geartrain.server")

#: Seconds between looks: far from the mark, and near to it.
LOOK_SECONDS: Final = 0.5
NEAR_SECONDS: Final = 0.02
#: No queue is written faster. A disk that it fills between two looks may stay full for good,
#: for what it wrote last then has no room to go from SQLite's log to the file.
BYTES_A_SECOND: Final = 2**30


def bytes_of(text: str, size: int) -> int:
    """``min-free`` in bytes, on a disk of this size."""
    if text.endswith("%"):
        return int(size * float(text.removesuffix("%")) / 100)
    return int(read_kind("min-free", text, SIZE, 0, None))


class DiskWatch:
    """Tells a broker when background jobs cannot be written for want of room, and when they can.

    Args:
        broker: it is told.
        room: how much there is; see ``QueueStore.room``.
        least: ``min-free`` as it is in the settings.
    """

    def __init__(self, broker: Broker, room: Callable[[], Room | None], least: str) -> None:
        self._broker = broker
        self._room = room
        self._least = least
        self._short = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look now, and again and again. Call it on the loop."""
        self._timer = asyncio.get_running_loop().call_later(self.look(), self.start)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> float:
        """Look at the disk now; seconds until it should be looked at again."""
        room = self._room()
        if room is None:
            # Whoever writes there will say what is wrong.
            self._is_well("it cannot be seen how much room there is for the queue")
            return LOOK_SECONDS
        least = bytes_of(self._least, room.size)
        # A little more than that before it is well again, so that it does not flutter.
        if room.free >= least + (least // 8 if self._short else 0):
            self._is_well(f"there is room again in {room.folder}")
            reached = (room.free - least) / BYTES_A_SECOND if least else LOOK_SECONDS
            return min(LOOK_SECONDS, max(NEAR_SECONDS, reached))
        left, wanted = _size(room.free), _size(least)
        text = (
            f"The disk of the queue ({room.folder}) has {left} left, and {wanted} of it are not for"
            " new jobs (min-free); submit when there is more room"
        )
        self._broker.disk_is_short(text.encode("utf-8", "surrogateescape"))
        if not self._short:
            self._short = True
            log.error(
                "%s has %s left, less than min-free (%s): background jobs are refused until there"
                " is more",
                room.folder, left, wanted,
            )  # fmt: skip
        return LOOK_SECONDS

    def _is_well(self, why: str) -> None:
        if self._short:
            self._short = False
            self._broker.disk_is_short(b"")
            log.warning("%s: background jobs are taken", why)


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
