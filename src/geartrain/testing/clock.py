"""A clock that a test may turn."""

from __future__ import annotations

import time


class TurnableClock:
    """Real time, plus what a test has added.

    Time goes on as it does outside, so nothing that waits for real sockets stands
    still; ``advance`` makes a day pass in no time.
    """

    def __init__(self) -> None:
        self._ahead = 0.0

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead

    def steady(self) -> float:
        """Seconds of a clock that is never set back."""
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass.

        Raises:
            ValueError: time does not run backwards.
        """
        if seconds < 0:
            raise ValueError(f"seconds = {seconds}: time does not run backwards")
        self._ahead += seconds
