"""What a transaction did to a SQLite store, for whoever counts along.

The store applies it to what it keeps in memory when it is durable, and not before. A
queue's number is ``function.no << 2 | priority``.
"""

from __future__ import annotations

from geartrain.stores.records import JobId
from geartrain.stores.sqlite_log import Plain


class Changes:
    """What came, what went, and what that means for counts.

    Attributes:
        counts: ``{queue: [ready jobs more, delayed jobs more]}``
        rows: the same of rows, without what is in the log.
        plain: what goes to the log.
        lows: by queue, the oldest job that nobody holds among those that went there ...
        entries: ... in the entries from the first to the last of these.
        cut: all entries up to this one are gone.
        functions: those that were new: (tenant, name, number).
        pooled: rows that are in the pool now and may be older than those claimed:
            (queue, id).
        missed: ends and gives that found nothing.
        fresh: what was stored was not there before.
    """

    def __init__(self) -> None:
        self.counts: dict[int, list[int]] = {}
        self.rows: dict[int, list[int]] = {}
        self.plain: list[Plain] = []
        self.lows: dict[int, int] = {}
        self.entries: tuple[int, int] = (0, 0)
        self.cut = 0
        self.functions: list[tuple[str, bytes, int]] = []
        self.pooled: list[tuple[int, JobId]] = []
        self.missed: list[JobId] = []
        self.fresh = True

    def count(self, queue: int, ready: int, delayed: int) -> None:
        """Note that a queue has so many rows more."""
        _tally(self.counts, queue, ready, delayed)
        _tally(self.rows, queue, ready, delayed)

    def count_logged(self, queue: int, ready: int) -> None:
        """Note that a queue has so many jobs more in the log."""
        _tally(self.counts, queue, ready, 0)

    def count_moved(self, queue: int, ready: int) -> None:
        """Note that so many jobs of a queue went from the log to rows."""
        _tally(self.rows, queue, ready, 0)


def _tally(counts: dict[int, list[int]], queue: int, ready: int, delayed: int) -> None:
    tally = counts.get(queue)
    if tally is None:
        counts[queue] = [ready, delayed]
    else:
        tally[0] += ready
        tally[1] += delayed
