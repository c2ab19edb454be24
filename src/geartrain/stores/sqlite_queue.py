"""What the SQLite store knows of one queue without asking the file, for counts and claims."""

from __future__ import annotations

from collections import deque
from typing import Final

from geartrain.stores.port import JobId, QueueKey

#: Above all ids.
ALL: Final = 1 << 62


class KnownQueue:
    """What is known of one queue without asking the file."""

    __slots__ = ("delayed", "key", "logged", "lowered", "mark", "mine", "number", "ready")

    def __init__(self, key: QueueKey, number: int) -> None:
        self.key = key
        self.number = number
        #: Rows that are ready, held or not.
        self.ready = 0
        self.delayed = 0
        #: Rows of ``ready`` that the server holds.
        self.mine = 0
        #: Every row up to this id is held: claims begin above.
        self.mark = 0
        #: The oldest row that came to the pool since the present claim began.
        self.lowered = ALL
        #: Commits in the log with jobs that nobody held when they came: numbers of their
        #: first and last entry, and the lowest id.
        self.logged: deque[tuple[int, int, int]] = deque()

    def below(self, cut: int) -> int:
        """Rows with lower ids are older than all that nobody holds in the log.

        Args:
            cut: entries up to this number are in the log no more.
        """
        self.pass_by(cut)
        return self.logged[0][2] if self.logged else ALL

    def pass_by(self, entry: int) -> None:
        """Entries up to this number have no jobs of this queue any more."""
        while self.logged and self.logged[0][1] <= entry:
            self.logged.popleft()

    def came(self, id: JobId) -> None:
        """A row came to the pool."""
        self.mark = min(self.mark, id - 1)
        self.lowered = min(self.lowered, id - 1)
