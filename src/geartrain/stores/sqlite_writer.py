"""Everything that changes a SQLite store, as plain calls on one connection.

Runs in the writer's thread, or in its stead (``lone``), and knows no loop. What it answers
are *changes* (``sqlite_changes``). Under it: ``sqlite_adding`` (jobs come), ``sqlite_rows``
(they get rows of their own), ``sqlite_transaction``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from geartrain.stores.batch import Plan
from geartrain.stores.port import Give, StoreDown
from geartrain.stores.records import Ending, JobId, StoredJob
from geartrain.stores.sql import headers_text, plain, shown_of
from geartrain.stores.sqlite_adding import Adding
from geartrain.stores.sqlite_changes import Changes
from geartrain.stores.sqlite_file import explain

_BURY_ROW: Final = (
    "INSERT OR IGNORE INTO dead (id, fn, prio, attempts, uniq, shown, reducer, headers, reason,"
    " worker, died, body) SELECT id, fn, prio, coalesce(?, attempts), uniq, shown, reducer,"
    " headers, ?, ?, ?, body FROM job WHERE id = ?"
)
_BURY_JOB: Final = (
    "INSERT OR IGNORE INTO dead (id, fn, prio, attempts, uniq, shown, reducer, headers, reason,"
    " worker, died, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class _SurpriseError(Exception):
    """Rows are not as remembered: somebody else changed the file."""


class SqliteWriter(Adding):
    """The one connection that writes, and all that it does."""

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

    # ── a batch ────────────────────────────────────────────────────────────────────

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
