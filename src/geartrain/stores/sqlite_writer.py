"""Everything that changes a SQLite store, as plain calls on one connection.

Runs in the writer's thread, or in its stead (``lone``), and knows no loop. What it answers are *changes*, by
queue number; the store applies them to what it keeps in memory when they are
durable, and not before.

A queue's number is ``function.no << 2 | priority``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from geartrain.stores.batch import Plan
from geartrain.stores.port import Give, StoreDown
from geartrain.stores.records import (
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
)
from geartrain.stores.sql import headers_text, plain, shown_of
from geartrain.stores.sqlite_file import explain
from geartrain.stores.sqlite_log import JobLog, Plain

_ADD: Final = (
    "INSERT INTO job (id, fn, prio, run_at, attempts, uniq, shown, reducer, headers, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_SETTLE: Final = "INSERT INTO job (id, fn, prio, attempts, uniq, body) VALUES (?, ?, ?, 0, ?, ?)"
_COUNT: Final = (
    "INSERT INTO counter (fn, prio, ready, delayed) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET ready = ready + excluded.ready, delayed = delayed + excluded.delayed"
)
_BURY_ROW: Final = (
    "INSERT OR IGNORE INTO dead (id, fn, prio, attempts, uniq, shown, reducer, headers, reason,"
    " worker, died, body) SELECT id, fn, prio, coalesce(?, attempts), uniq, shown, reducer,"
    " headers, ?, ?, ?, body FROM job WHERE id = ?"
)
_BURY_JOB: Final = (
    "INSERT OR IGNORE INTO dead (id, fn, prio, attempts, uniq, shown, reducer, headers, reason,"
    " worker, died, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


#: Keys asked for at a time.
_KEYS: Final = 100


@dataclass
class Changes:
    """What a transaction did, for whoever counts along."""

    #: {queue: [ready jobs more, delayed jobs more]}
    counts: dict[int, list[int]] = field(default_factory=dict)
    #: The same of rows, without what is in the log.
    rows: dict[int, list[int]] = field(default_factory=dict)
    #: What goes to the log.
    plain: list[Plain] = field(default_factory=list)
    #: By queue, the oldest job that nobody holds among those that went there ...
    lows: dict[int, int] = field(default_factory=dict)
    #: ... in the entries from the first to the last of these. All up to ``cut`` are gone.
    entries: tuple[int, int] = (0, 0)
    cut: int = 0
    #: Functions that were new: (tenant, name, number).
    functions: list[tuple[str, bytes, int]] = field(default_factory=list)
    #: Rows that are in the pool now and may be older than those claimed: (queue, id).
    pooled: list[tuple[int, JobId]] = field(default_factory=list)
    missed: list[JobId] = field(default_factory=list)
    #: What was stored was not there before.
    fresh: bool = True

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


class _SurpriseError(Exception):
    """Rows are not as remembered: somebody else changed the file."""


class SqliteWriter:
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
        #: {function: whether it may have rows with keys}; those not in it have to be asked for.
        self._keyed: dict[int, bool] = {}

    def load(self) -> tuple[list[tuple[str, bytes, int]], dict[int, tuple[int, int]]]:
        """What must be known at the start: functions, and {queue: (ready, delayed)}.

        Takes as long as there are functions, however many jobs.
        """
        db = self.db
        # A function without rows is forgotten here, where nobody relies on its number.
        self._queues.clear()
        self._keyed.clear()
        self._log_stale = True
        with self.transaction():
            logged = self.log.counts()
            db.execute("DELETE FROM counter WHERE ready = 0 AND delayed = 0 AND fn > 0")
            db.execute(
                "DELETE FROM function WHERE no NOT IN (SELECT fn FROM counter)"
                " AND no NOT IN (SELECT fn FROM dead)"
                " AND no NOT IN (SELECT value FROM json_each(?))",
                [json.dumps(sorted({queue >> 2 for queue in logged}))],
            )
        functions = db.execute("SELECT tenant, name, no FROM function").fetchall()
        counters = {
            fn << 2 | prio: (ready, delayed)
            for fn, prio, ready, delayed in db.execute("SELECT * FROM counter")
        }
        (highest, _) = counters.pop(0)
        self._floor_row = highest
        for queue, count in logged.items():
            ready, delayed = counters.get(queue, (0, 0))
            counters[queue] = ready + count, delayed
        if self.log.entries:
            highest = max(highest, self.log.entries[-1].top)
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
        # As ``transaction``, without what a context manager costs.
        changes = Changes()
        before = self.floor, self._floor_row
        try:
            self._committing = self._begun = False
            if self._log_stale or todo.ends or todo.gives or todo.stillborn:
                self._begin()
            self._carry_out(todo, mine, changes)
            self._finish(changes)
        except BaseException as error:
            self._undo(before, changes, error)
            raise
        return changes

    def _carry_out(self, todo: Plan, mine: Mapping[JobId, int], changes: Changes) -> None:
        if todo.gives or todo.ends:
            # What is more than forgotten needs a row.
            self._settle_these(
                [end.id for end in todo.ends if end.dead is not None]
                + [give.id for give in todo.gives],
                changes,
            )
            self._end(todo.ends, mine, changes)
            changes.missed = [id for id in changes.missed if id not in todo.elided]
        for job, end in todo.stillborn:
            self._bury_unborn(job, end, changes)
        for give in todo.gives:
            self._give(give, changes)
        if todo.adds:
            self._add(todo, changes)

    def _end(self, ends: Sequence[Ending], mine: Mapping[JobId, int], changes: Changes) -> None:
        db, log = self.db, self.log
        known = []
        left: dict[int, int] = {}
        others = log.leave_all(ends, left)
        for number, count in left.items():
            changes.count_logged(number, -count)
        for end in others:
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
        log = self.log
        floor, answers = self.floor, todo.answers
        number_of = partial(self._number, changes=changes)
        adds, places, has_keys = todo.adds, todo.places, self._may_have_keys
        found = log.sort_out(adds, places, answers, floor, None, number_of, has_keys)
        if found is None:
            taken = self._taken(adds, changes)
            found = log.sort_out(adds, places, answers, floor, taken, number_of, has_keys)
            assert found is not None
        changes.plain = found.plain
        changes.lows = found.lows
        for number, count in found.counts.items():
            changes.count_logged(number, count)
        if found.rest:
            self._begin()
            changes.fresh = False
            self._add_rows(found.rest, found.places, answers, changes)
        self.floor = max(floor, self.floor, JobId(found.top))
        while log.crowded:
            self._begin()
            self._settle_oldest(changes)

    def _taken(self, adds: list[Add], changes: Changes) -> dict[tuple[int, bytes], int]:
        """Who has the keys of these adds, as far as these have rows."""
        asked: dict[int, list[bytes]] = {}
        for add in adds:
            job = add.job
            if job.key is None:
                continue
            function = self._number(job.queue, changes) >> 2
            if self._may_have_keys(function):
                asked.setdefault(function, []).append(job.key)
        taken = {}
        for function, keys in asked.items():
            for at in range(0, len(keys), _KEYS):
                some = keys[at : at + _KEYS]
                places = ", ".join("?" * len(some))
                for key, id in self.db.execute(
                    "SELECT uniq, id FROM job WHERE fn = ? AND uniq IS NOT NULL"  # noqa: S608
                    f" AND uniq IN ({places})",
                    [function, *some],
                ):
                    taken[function, key] = id
        return taken

    def _may_have_keys(self, function: int) -> bool:
        known = self._keyed.get(function)
        if known is None:
            row = self.db.execute(
                "SELECT 1 FROM job WHERE fn = ? AND uniq IS NOT NULL LIMIT 1", [function]
            ).fetchone()
            known = self._keyed[function] = row is not None
        return known

    def _add_rows(
        self,
        adds: list[Add],
        places: list[int],
        answers: list[AddResult | None],
        changes: Changes,
    ) -> None:
        db, log, floor, known = self.db, self.log, self.floor, self._queues
        rows = []
        written = []
        for add, place in zip(adds, places, strict=True):
            job = add.job
            id, queue, key, run_at = job.id, job.queue, job.key, job.run_at
            # An id above all that were ever stored is new; one below may be a repetition.
            if id <= floor and (
                id in log.where or db.execute("SELECT 1 FROM job WHERE id = ?", [id]).fetchone()
            ):
                answers[place] = AddResult(Added.STORED, id, Placement.POOL)
                continue
            number = known.get(queue)
            if number is None:
                number = self._number(queue, changes)
            if key is not None:
                self._keyed[number >> 2] = True
            shown = None if job.unique == (key or b"") else job.unique
            text = headers_text(job.headers) if job.headers else None
            rows.append(
                (id, number >> 2, number & 3, run_at, job.attempts, key, shown, job.reducer)
                + (text, job.body)
            )
            written.append((place, id, number, key, run_at, add.placement))
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

    # ── from the log to rows ─────────────────────────────────────────────────

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
            for id in sorted(set(ids)):
                told = self.db.execute("SELECT fn, uniq FROM dead WHERE id = ?", [id]).fetchone()
                if told is None or id in self.log.where:
                    continue
                function, key = told
                if key is not None:
                    if self.log.holder(function, key) >= 0:
                        continue
                    self._keyed[function] = True
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

    def bring_home(self) -> None:
        """Copy all of SQLite's own log to the file.

        Raises:
            StoreDown: not all of it could be copied.
        """
        try:
            (held, *_) = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        if held:
            raise StoreDown(f"another program reads {self.path}; its log is gone, and is not home")

    def tidy(self) -> bool:
        """Copy SQLite's own log home, and give a little free space back; whether more is to do."""
        self._keyed.clear()
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
