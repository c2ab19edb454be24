"""Jobs of a SQLite store's log are given rows of their own.

When they are there for long, or somebody wants to know more of them (``sqlite_settling``
says when).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from geartrain.stores.records import JobId
from geartrain.stores.sqlite_changes import Changes
from geartrain.stores.sqlite_log import Plain
from geartrain.stores.sqlite_transaction import Transactions

_SETTLE: Final = "INSERT INTO job (id, fn, prio, attempts, uniq, body) VALUES (?, ?, ?, 0, ?, ?)"


class RowMaking(Transactions):
    """From the log to rows."""

    def __init__(self, db: sqlite3.Connection, path: Path, wall: Callable[[], float]) -> None:
        super().__init__(db, path, wall)
        #: {function: whether it may have rows with keys}; those not in it have to be asked for.
        self._keyed: dict[int, bool] = {}

    def settle(self, upto: int, most: int) -> tuple[Changes, bool]:
        """Give the oldest jobs in the log rows of their own.

        Args:
            upto: number of the last entry that is meant.
            most: about so many jobs.

        Returns:
            What was done, and whether there are more.
        """
        log = self.log
        changes = Changes()
        if log.entries or self._log_stale:
            with self.transaction(changes):
                left = most
                while left > 0 and log.entries and log.entries[0].no <= upto:
                    left -= self._settle_oldest(changes)
        # Even if nothing was to do: perhaps what was done before was not heard of.
        changes.cut = log.entries[0].no - 1 if log.entries else log.last
        return changes, changes.cut < min(upto, log.last)

    def settle_queue(
        self, queue: int, where: Sequence[tuple[int, int]], most: int
    ) -> tuple[Changes, int]:
        """Give the jobs of one queue rows of their own, however much else is in the log.

        Args:
            queue: its number.
            where: the first and the last entry of commits that have jobs of it, oldest first.
            most: about so many jobs.

        Returns:
            What was done, and the number of the last entry that has none of them any more.
        """
        done = 0
        with self.transaction() as changes:
            for first, last in where:
                for no in range(first, last + 1):
                    jobs = [job for job in self.log.rest_of(self.db, no) if job.queue == queue]
                    self._settle(jobs, changes)
                    most -= len(jobs)
                done = last
                if most <= 0:
                    break
        return changes, done

    def logged(self, ids: Sequence[JobId]) -> list[tuple[JobId, int]]:
        """Those of ``ids`` that are in the log, with their queues."""
        where = self.log.where
        return [(id, where[id].queue) for id in ids if id in where]

    def settle_these(self, ids: Sequence[JobId]) -> Changes:
        """Give these jobs rows of their own, as far as they are in the log."""
        with self.transaction() as changes:
            self._settle_these(ids, changes)
        return changes

    def _settle_these(self, ids: Sequence[JobId], changes: Changes) -> None:
        log = self.log
        wanted = [id for id in ids if id in log.where]
        chosen = set(wanted)
        for no in {log.number_of(id) for id in wanted}:
            self._settle([job for job in log.rest_of(self.db, no) if job.id in chosen], changes)

    def _settle_oldest(self, changes: Changes) -> int:
        """The same for what is left of the oldest entry; how many that was."""
        log = self.log
        oldest = log.entries[0]
        count = oldest.live
        if count:
            self._settle(log.rest_of(self.db, oldest.no), changes)
        log.cut()
        return count

    def _settle(self, jobs: Sequence[Plain], changes: Changes) -> None:
        rows = []
        for job in jobs:
            queue = job.queue
            rows.append((job.id, queue >> 2, queue & 3, job.key, job.body))
            self.log.leave(job.id)
            changes.count_moved(queue, 1)
            if job.key is not None:
                self._keyed[queue >> 2] = True
        self.db.executemany(_SETTLE, rows)
