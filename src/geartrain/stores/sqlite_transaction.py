"""One connection to a SQLite store that writes, a transaction at a time.

All of a transaction is durable, or nothing has happened. What it changes in memory, the
log's and the highest id, is put back when it fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from geartrain.stores.records import JobId, QueueKey
from geartrain.stores.sqlite_changes import Changes
from geartrain.stores.sqlite_file import explain
from geartrain.stores.sqlite_log import JobLog

_COUNT: Final = (
    "INSERT INTO counter (fn, prio, ready, delayed) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET ready = ready + excluded.ready, delayed = delayed + excluded.delayed"
)


class Transactions:
    """The one connection that writes."""

    def __init__(self, db: sqlite3.Connection, path: Path, wall: Callable[[], float]) -> None:
        self.db = db
        #: For what every commit asks: a cursor of its own for each would cost as much again.
        self._cursor = db.cursor()
        #: There is a transaction ...
        self._begun = False
        #: ... or it is being committed, and may be durable.
        self._committing = False
        self.path = path
        self._wall = wall
        #: Numbers of the queues met so far.
        self._queues: dict[QueueKey, int] = {}
        #: The highest id ever stored ...
        self.floor = JobId(0)
        #: ... and what the file says of it, beside the log.
        self._floor_row = 0
        self.log = JobLog()
        self._log_stale = False

    @contextmanager
    def transaction(self, changes: Changes | None = None) -> Iterator[Changes]:
        """All of it and durable, or nothing.

        Raises:
            StoreDown: nothing. The text says why.
            Ambiguous: the disk failed while committing.
        """
        changes = Changes() if changes is None else changes
        before = self.floor, self._floor_row
        try:
            self._committing = self._begun = False
            self._begin()
            yield changes
            self._finish(changes)
        except BaseException as error:
            self._undo(before, changes, error)
            raise

    def _begin(self) -> None:
        """What comes is written as a whole, or not at all."""
        if self._begun:
            return
        self._cursor.execute("BEGIN IMMEDIATE")
        self._begun = True
        if self._log_stale:
            self.log.load(self.db)
            self._log_stale = False

    def _finish(self, changes: Changes) -> None:
        """Write what was gathered, and commit. What is a single row of the log commits itself."""
        cursor, log, floor = self._cursor, self.log, self.floor
        changes.cut = log.cut()
        if changes.cut or changes.rows or not log.fits(changes.plain):
            self._begin()
        self._committing = not self._begun
        first = log.last + 1
        changes.entries = first, log.write(cursor, changes.plain, floor)
        if changes.rows:
            cursor.executemany(
                _COUNT,
                [(q >> 2, q & 3, r, d) for q, (r, d) in changes.rows.items() if r or d],
            )
        if not self._begun:
            return
        told = log.entries[-1].top if log.entries else 0
        if floor > max(told, self._floor_row):
            cursor.execute("UPDATE counter SET ready = ? WHERE fn = 0 AND prio = 0", [floor])
            self._floor_row = floor
        self._committing = True
        cursor.execute("COMMIT")

    def _undo(self, before: tuple[JobId, int], changes: Changes, error: BaseException) -> None:
        """Be as before a transaction that failed.

        Raises:
            StoreError: what failed is SQLite.
        """
        self.floor, self._floor_row = before
        self._log_stale = True
        if changes.functions:
            self._queues.clear()  # some of these numbers are not given after all
        if self.db.in_transaction:
            try:
                self.db.execute("ROLLBACK")
            except sqlite3.Error as refused:
                # Whoever begins the next one finds it open, fails, and tries this again.
                if not isinstance(error, sqlite3.Error):
                    error = refused
        if isinstance(error, sqlite3.Error):
            raise explain(error, self.path, committing=self._committing) from error

    def _number(self, key: QueueKey, changes: Changes) -> int:
        """The queue's number; a new function is written down."""
        number = self._queues.get(key)
        if number is None:
            self._begin()
            tenant, function, priority = key
            row = self.db.execute(
                "INSERT INTO function (tenant, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
                " RETURNING no",
                [tenant, function],
            ).fetchone()
            if row is not None:
                changes.functions.append((tenant, function, row[0]))
            else:
                row = self.db.execute(
                    "SELECT no FROM function WHERE tenant = ? AND name = ?", [tenant, function]
                ).fetchone()
            number = self._queues[key] = int(row[0]) << 2 | priority
        return number
