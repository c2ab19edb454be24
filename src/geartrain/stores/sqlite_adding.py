"""Jobs come to a SQLite store: what is plain goes to the log, the rest is rows at once.

Each add is answered: it is stored, from now on or since an earlier try, or another job has
its key, in the log or among the rows.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from geartrain.stores.batch import Plan
from geartrain.stores.records import Add, Added, AddResult, JobId, Placement
from geartrain.stores.sql import headers_text
from geartrain.stores.sqlite_changes import Changes
from geartrain.stores.sqlite_rows import RowMaking

_ADD: Final = (
    "INSERT INTO job (id, fn, prio, run_at, attempts, uniq, shown, reducer, headers, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)

#: Keys asked for at a time.
_KEYS: Final = 100


class Adding(RowMaking):
    """Takes jobs in."""

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
