"""Whether a commit may be made in the server's own thread, because nobody else would notice.

To hand a commit to the thread that writes, and to be told when it is done, wakes two
sleeping processors; where one peer submits one job after another, that takes longer than
the disk does. But a server that waits for its disk hears nobody. So it does that only
while one peer alone has spoken between the commits of late, and while each of the last
commits was quick. One that is slow, and it may be slow for long, is the last of its
kind until there has been a row of quick ones again, which the other thread makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Commits in a row with one word between two of them.
ALONE: Final = 16
#: Commits in a row that were quick, and what is quick, in seconds.
QUICK: Final = 16
QUICK_SECONDS: Final = 0.005


class Lone:
    """Keeps count of who speaks and of what the disk takes.

    Args:
        heard: how many times any peer has been listened to, since ever.
    """

    def __init__(self, heard: Callable[[], int]) -> None:
        self._heard = heard
        self._before = 0
        self._alone = 0
        self._quick = 0

    def commits(self) -> bool:
        """A commit is to be made; whether it may be made here. Ask once for each."""
        heard = self._heard()
        self._alone = self._alone + 1 if heard == self._before + 1 else 0
        self._before = heard
        return self._alone >= ALONE and self._quick >= QUICK

    def took(self, seconds: float) -> None:
        """So long a commit has taken, wherever it was made."""
        self._quick = self._quick + 1 if seconds < QUICK_SECONDS else 0
