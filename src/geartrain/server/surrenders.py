"""Jobs that the server has given up are told in its log, since their clients hear no reason.

A worker that dies may take many with it: the first few are named, the rest are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from geartrain.broker.graveyard import Surrender

log = logging.getLogger("geartrain.server")

#: So many are named of those that are given up in one moment.
NAMED: Final = 5


def tell_surrenders(given_up: Sequence[Surrender]) -> None:
    """Log what was given up, and why."""
    for one in given_up[:NAMED]:
        times = "one attempt" if one.attempts == 1 else f"{one.attempts} attempts"
        log.warning(
            "%s of %s was given up after %s: %s (%s)",
            _text(one.handle), _text(one.function), times, one.reason, _text(one.worker),
        )  # fmt: skip
    more = len(given_up) - NAMED
    if more > 0:
        log.warning("%d more jobs were given up with them", more)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
