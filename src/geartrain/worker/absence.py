"""Absence: what is said of a server that is away.

Every slot of a worker looks for it, and finds the same. One line is enough for all of
them, and then fewer and fewer.
"""

from __future__ import annotations

from typing import Final

from geartrain.transport.address import Address
from geartrain.worker.job import log

FIRST_SILENCE_SECONDS: Final = 1.0
LONGEST_SILENCE_SECONDS: Final = 60.0

#: ``{server: (when to speak again, silence after that)}``, of this process.
_told: dict[Address, tuple[float, float]] = {}


def is_away(address: Address, error: Exception, pause: float, now: float) -> None:
    """A slot could not connect.

    Args:
        pause: seconds until it tries again.
        now: of ``time.monotonic()``.
    """
    due, silence = _told.get(address, (now, FIRST_SILENCE_SECONDS))
    if now < due:
        log.debug("%s; trying again in %.1f seconds", error, pause)
        return
    _told[address] = now + silence, min(LONGEST_SILENCE_SECONDS, 2 * silence)
    log.warning("%s; trying again in %.1f seconds", error, pause)


def is_here(address: Address) -> None:
    """A slot is connected."""
    if _told.pop(address, None) is not None:
        log.info("%s is there again", address)
