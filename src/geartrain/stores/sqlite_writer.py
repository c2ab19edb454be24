"""Everything that changes a SQLite store, as plain calls on one connection.

Runs in the writer's thread and knows no loop. What it answers are *changes*, by
queue number; the store applies them to what it keeps in memory when they are
durable, and not before.

A queue's number is ``function.no << 2 | priority``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from geartrain.stores.batch import Plan
from geartrain.stores.port import (
    Added,
    AddResult,
    Ending,
    Give,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
)
from geartrain.stores.sql import headers_text, plain, shown_of
from geartrain.stores.sqlite_file import explain

_ADD: Final = (
    "INSERT INTO job (id, fn, prio, run_at, attempts, uniq, shown, reducer, headers, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_COUNT: Final = (
    "INSERT INTO counter (fn, prio, ready, delayed) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET ready = ready + excluded.ready, delayed = delayed + excluded.delayed"
)
_BURY_ROW: Final = (
    "INSERT OR REPLACE INTO dead (id, fn, prio, attempts, uniq, shown, reducer, headers, reason,"
    " worker, died, body) SELECT id, fn, prio, coalesce(?, attempts), uniq, shown, reducer,"
    " headers, ?, ?, ?, body FROM job WHERE id = ?"
)
_BURY_JOB: Final = (
    "INSERT OR REPLACE INTO dead (id, fn, prio, attempts, uniq, shown, reducer, headers, reason,"
    " worker, died, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(slots=True)
class Changes:
    """What a transaction did, for whoever counts along."""

    #: {queue: [ready rows more, delayed rows more]}
    counts: dict[int, list[int]] = field(default_factory=dict)
    #: Functions that were new: (tenant, name, number).
    functions: list[tuple[str, bytes, int]] = field(default_factory=list)
    #: Rows that are in the pool now and may be older than those claimed: (queue, id).
    pooled: list[tuple[int, JobId]] = field(default_factory=list)
    missed: list[JobId] = field(default_factory=list)

    def count(self, queue: int, ready: int, delayed: int) -> None:
        """Note that a queue has so many rows more."""
        tally = self.counts.get(queue)
        if tally is None:
            self.counts[queue] = [ready, delayed]
        else:
            tally[0] += ready
            tally[1] += delayed


class _SurpriseError(Exception):
    """Rows are not as remembered: somebody else changed the file."""


class SqliteWriter:
    """The one connection that writes."""

    def __init__(self, db: sqlite3.Connection, path: Path, wall: Callable[[], float]) -> None:
        self.db = db
        self.path = path
        self._wall = wall
        #: Numbers of the queues met so far.
        self._queues: dict[QueueKey, int] = {}
        #: The highest id ever stored.
        self.floor = JobId(0)

    def load(self) -> tuple[list[tuple[str, bytes, int]], dict[int, tuple[int, int]]]:
        """What must be known at the start: functions, and {queue: (ready, delayed)}.

        Takes as long as there are functions, however many jobs.
        """
        db = self.db
        # A function without rows is forgotten here, where nobody relies on its number.
        self._queues.clear()
        with self.transaction():
            db.execute("DELETE FROM counter WHERE ready = 0 AND delayed = 0 AND fn > 0")
            db.execute(
                "DELETE FROM function WHERE no NOT IN (SELECT fn FROM counter)"
                " AND no NOT IN (SELECT fn FROM dead)"
            )
        functions = db.execute("SELECT tenant, name, no FROM function").fetchall()
        counters = {
            fn << 2 | prio: (ready, delayed)
            for fn, prio, ready, delayed in db.execute("SELECT * FROM counter")
        }
        (highest, _) = counters.pop(0)
        for table in ("job", "dead"):
            (top,) = db.execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608
            highest = max(highest, top or 0)
        self.floor = JobId(highest)
        return functions, counters

    def next_lease(self) -> int:
        """A number that was never given before."""
        with self.transaction():
            self.db.execute("UPDATE meta SET value = value + 1 WHERE name = 'lease'")
            (lease,) = self.db.execute("SELECT value FROM meta WHERE name = 'lease'").fetchone()
        return int(lease)

    # ── transactions ─────────────────────────────────────────────────────────

    @contextmanager
    def transaction(self, changes: Changes | None = None) -> Iterator[Changes]:
        """All of it and durable, or nothing.

        Raises:
            StoreDown: nothing. The text says why.
            Ambiguous: the disk failed while committing.
        """
        changes = Changes() if changes is None else changes
        db, floor = self.db, self.floor
        committing = False
        try:
            db.execute("BEGIN IMMEDIATE")
            yield changes
            if changes.counts:
                db.executemany(
                    _COUNT,
                    [(q >> 2, q & 3, r, d) for q, (r, d) in changes.counts.items() if r or d],
                )
            if self.floor != floor:
                db.execute("UPDATE counter SET ready = ? WHERE fn = 0 AND prio = 0", [self.floor])
            committing = True
            db.execute("COMMIT")
        except BaseException as error:
            self.floor = floor
            if changes.functions:
                self._queues.clear()  # some of these numbers are not given after all
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explain(error, self.path, committing=committing) from error
            raise

    def commit(self, todo: Plan, mine: Mapping[JobId, int]) -> Changes:
        """Carry out a batch; fills in ``todo.answers``.

        Args:
            todo: the batch.
            mine: queues of those rows in it that are known to be there and ready.
        """
        try:
            return self._commit(todo, mine)
        except _SurpriseError:
            return self._commit(todo, {})

    def _commit(self, todo: Plan, mine: Mapping[JobId, int]) -> Changes:
        with self.transaction() as changes:
            self._end(todo.ends, mine, changes)
            changes.missed = [id for id in changes.missed if id not in todo.elided]
            for job, end in todo.stillborn:
                self._bury_unborn(job, end, changes)
            for give in todo.gives:
                self._give(give, changes)
            if todo.adds:
                self._add(todo, changes)
        return changes

    def _end(self, ends: Sequence[Ending], mine: Mapping[JobId, int], changes: Changes) -> None:
        db = self.db
        known = []
        for end in ends:
            if end.dead is not None:
                found = (end.attempts, plain(end.dead), plain(end.worker), self._wall(), end.id)
                db.execute(_BURY_ROW, found)
            queue = mine.get(end.id)
            if queue is not None:
                known.append((end.id,))
                changes.count(queue, -1, 0)
                continue
            row = db.execute(
                "DELETE FROM job WHERE id = ? RETURNING fn, prio, run_at", [end.id]
            ).fetchone()
            if row is None:
                changes.missed.append(end.id)
            else:
                fn, prio, run_at = row
                changes.count(fn << 2 | prio, *((-1, 0) if run_at is None else (0, -1)))
        if known:
            gone = db.executemany("DELETE FROM job WHERE id = ?", known).rowcount
            if gone != len(known):
                raise _SurpriseError

    def _bury_unborn(self, job: StoredJob, end: Ending, changes: Changes) -> None:
        queue = self._number(job.queue, changes)
        attempts = job.attempts if end.attempts is None else end.attempts
        self.db.execute(
            _BURY_JOB,
            (job.id, queue >> 2, queue & 3, attempts, job.key, shown_of(job), job.reducer)
            + (
                headers_text(job.headers),
                plain(end.dead or ""),
                plain(end.worker),
                self._wall(),
                job.body,
            ),
        )
        self.floor = max(self.floor, job.id)

    def _give(self, give: Give, changes: Changes) -> None:
        if give.attempts is None and give.run_at is None:
            return  # who holds it is not written down
        row = self.db.execute(
            "UPDATE job SET attempts = coalesce(?, attempts), run_at = ? WHERE id = ?"
            " RETURNING fn, prio",
            [give.attempts, give.run_at, give.id],
        ).fetchone()
        if row is None:
            changes.missed.append(give.id)
        elif give.run_at is not None:
            changes.count(row[0] << 2 | row[1], -1, 1)

    def _add(self, todo: Plan, changes: Changes) -> None:
        # Runs for each job of a busy server: hence the local names, and the job
        # unpacked as the tuple it is.
        db, floor, known, answers = self.db, self.floor, self._queues, todo.answers
        rows = []
        written = []
        for place, (job, placement) in todo.adds:
            id, queue, body, unique, key, run_at, reducer, attempts, headers = job
            # An id above all that were ever stored is new; one below may be a repetition.
            if id <= floor and db.execute("SELECT 1 FROM job WHERE id = ?", [id]).fetchone():
                answers[place] = AddResult(Added.STORED, id, Placement.POOL)
                continue
            number = known.get(queue)
            if number is None:
                number = self._number(queue, changes)
            shown = None if unique == (key or b"") else unique
            text = headers_text(headers) if headers else None
            rows.append(
                (id, number >> 2, number & 3, run_at, attempts, key, shown, reducer, text, body)
            )
            written.append((place, id, number, key, run_at, placement))
        if not rows:
            return
        all_new = db.executemany(_ADD, rows).rowcount == len(rows)
        ready: dict[int, int] = {}
        for place, id, number, key, run_at, placement in written:
            if not all_new and key is not None:
                (holder,) = db.execute(
                    "SELECT id FROM job WHERE fn = ? AND uniq = ?", [number >> 2, key]
                ).fetchone()
                if holder != id:
                    answers[place] = AddResult(Added.MERGED, holder, Placement.POOL)
                    continue
            if run_at is None:
                ready[number] = ready.get(number, 0) + 1
                answers[place] = AddResult(Added.STORED, id, placement)
                if placement is not Placement.MINE:
                    changes.pooled.append((number, id))
            else:
                changes.count(number, 0, 1)
                answers[place] = AddResult(Added.STORED, id, Placement.POOL)
        for number, count in ready.items():
            changes.count(number, count, 0)
        self.floor = max(floor, max(rows)[0])

    def _number(self, key: QueueKey, changes: Changes) -> int:
        """The queue's number; a new function is written down."""
        number = self._queues.get(key)
        if number is None:
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

    # ── time and the dead ────────────────────────────────────────────────────

    def due(self, now: float, limit: int) -> tuple[Changes, float | None]:
        """Move delayed rows to the pool; and when the next one is due."""
        db = self.db
        with self.transaction() as changes:
            ripe = db.execute(
                "SELECT id, fn, prio FROM job WHERE run_at IS NOT NULL AND run_at <= ?"
                " ORDER BY run_at, id LIMIT ?",
                [now, limit],
            ).fetchall()
            db.executemany("UPDATE job SET run_at = NULL WHERE id = ?", [row[:1] for row in ripe])
            for id, fn, prio in ripe:
                changes.count(fn << 2 | prio, 1, -1)
                changes.pooled.append((fn << 2 | prio, id))
        (first,) = db.execute("SELECT min(run_at) FROM job WHERE run_at IS NOT NULL").fetchone()
        return changes, first

    def dead_retry(self, ids: Sequence[JobId]) -> tuple[Changes, list[JobId]]:
        """Move dead jobs to the pool, but for those whose key is taken."""
        went = []
        with self.transaction() as changes:
            for id in dict.fromkeys(ids):
                row = self.db.execute(
                    "INSERT INTO job (id, fn, prio, attempts, uniq, shown, reducer, headers, body)"
                    " SELECT id, fn, prio, 0, uniq, shown, reducer, headers, body FROM dead"
                    " WHERE id = ? ON CONFLICT DO NOTHING RETURNING fn, prio",
                    [id],
                ).fetchone()
                if row is not None:
                    self.db.execute("DELETE FROM dead WHERE id = ?", [id])
                    changes.count(row[0] << 2 | row[1], 1, 0)
                    changes.pooled.append((row[0] << 2 | row[1], id))
                    went.append(id)
        return changes, went

    def dead_delete(self, ids: Sequence[JobId]) -> int:
        """Forget dead jobs."""
        with self.transaction():
            return self.db.executemany(
                "DELETE FROM dead WHERE id = ?", [(id,) for id in ids]
            ).rowcount

    # ── housekeeping ─────────────────────────────────────────────────────────

    def tidy(self) -> bool:
        """Copy the log home, and give a little free space back; whether more is to do."""
        try:
            self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            (free,) = self.db.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self.db.execute("PRAGMA page_count").fetchone()
            # Some slack stays: a queue that was long once will be long again.
            if free < 1000 or free < pages // 4:
                return False
            # execute() would take one step of it, and each step is one page.
            self.db.executescript("PRAGMA incremental_vacuum(1000)")
            return True
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
