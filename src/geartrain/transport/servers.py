"""Which servers are worth trying now: a book of health, with back-off.

Pure: the time and the chance come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable

from geartrain.transport.address import Address

#: Seconds before a server that failed once is tried again before others.
FIRST_PAUSE_SECONDS = 0.25
#: The pause doubles with each failure up to this.
LONGEST_PAUSE_SECONDS = 10.0


class ServerBook:
    """Remembers which servers failed, and when each is worth another attempt.

    A server that failed is not given up: it goes behind the others until its
    pause is over, and is still tried where there is no other.
    """

    def __init__(
        self,
        first_pause: float = FIRST_PAUSE_SECONDS,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._first = first_pause
        self._longest = longest_pause
        self._failures: dict[Address, int] = {}
        self._again: dict[Address, float] = {}

    def failed(self, address: Address, now: float, chance: float) -> float:
        """Note a failure; return the seconds of pause.

        Args:
            now: seconds of a clock that never jumps.
            chance: uniform in [0, 1); the pause is between half and all of
                ``first_pause * 2**(failures - 1)``, so that a fleet does not
                come back at one moment.
        """
        failures = self._failures.get(address, 0)
        self._failures[address] = failures + 1
        whole = min(self._longest, self._first * 2.0 ** min(failures, 30))
        pause = whole * (0.5 + chance / 2)
        self._again[address] = now + pause
        return pause

    def succeeded(self, address: Address) -> None:
        """Note that the server works."""
        self._failures.pop(address, None)
        self._again.pop(address, None)

    def is_up(self, address: Address, now: float) -> bool:
        """Whether it has not failed, or its pause is over."""
        return self._again.get(address, now) <= now

    def again_at(self, address: Address) -> float:
        """When the pause is over; 0 for a server that has not failed."""
        return self._again.get(address, 0.0)

    def in_order(self, wanted: Iterable[Address], now: float) -> list[Address]:
        """The same servers: those that are up as they stand, then the others, soonest first."""
        if not self._again:
            return list(wanted)
        return sorted(wanted, key=lambda a: 0.0 if self.is_up(a, now) else self._again[a])
