"""Rows come, move and go: the statements that the fence guards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from geartrain.stores import postgres_batch as batch
from geartrain.stores import postgres_sql as sql
from geartrain.stores.batch import Plan, complete, plan
from geartrain.stores.port import (
    Add,
    Added,
    AddResult,
    Committed,
    Due,
    Ending,
    Give,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
    StoreDown,
    Traits,
)
from geartrain.stores.postgres_columns import byteas, int4s, int8s
from geartrain.stores.postgres_link import Clash, Rows, whole
from geartrain.stores.postgres_session import Session
from geartrain.stores.sql import headers_of, unique_of

_ANY_SIZE: Final = 1 << 40


class Writing(Session):
    """The verbs that change rows."""

    def __init__(
        self, conninfo: str, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        super().__init__(conninfo, wall, steady)
        self._care = batch.Care()

    @property
    def traits(self) -> Traits:
        raise NotImplementedError

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        return await whole(self._commit(plan(adds, ends, gives, self.traits)))

    async def _commit(self, todo: Plan) -> Committed:
        if not (todo.adds or todo.ends or todo.gives or todo.stillborn):
            self._check_open()
            return Committed(complete(todo.answers), [])
        for key in batch.functions(todo):
            if key not in self._functions:
                await self._number(key, make=True)
        ((me, ended, given, added, pools),) = await self._write_batch(todo)
        if me is None:
            raise self._lost()
        left = batch.answer(todo, added)
        for _ in range(10):
            if not left:
                break
            left = await self._settle(todo, left)
        else:
            raise StoreDown("others end and add jobs of the same key too fast to keep up with")
        done = {*ended, *given, *todo.elided}
        missed = [end.id for end in todo.ends if end.id not in done]
        missed += [give.id for give in todo.gives if give.id not in done]
        self._came(pools)
        return Committed(complete(todo.answers), missed)

    async def _write_batch(self, todo: Plan) -> Rows:
        careful = self._care.needed()
        statement, values = batch.commit(todo, self._functions, self._wall(), careful=careful)
        try:
            return await self._write(statement, values)
        except Clash:
            if careful:
                raise
        self._care.clash()
        statement, values = batch.commit(todo, self._functions, self._wall())
        return await self._write(statement, values)

    def _came(self, pools: Sequence[int]) -> None:
        """Rows came to these pools: tell the others; they may be older than those claimed last."""
        places = [(pool >> 2, pool & 3) for pool in pools]
        for place in places:
            self._marks.pop(place, None)
        self._news.tell(places)

    async def _settle(self, todo: Plan, left: list[tuple[int, Add]]) -> list[tuple[int, Add]]:
        """Adds that were not written: is their id there already, or another of their key?

        Neither: what stood in the way is gone by now, so they are written again.
        """

        def placed(owner: int | None) -> Placement:
            return Placement.MINE if owner == self._me else Placement.POOL

        ids = int8s([add.job.id for _, add in left])
        same: dict[JobId, int | None] = dict(
            await self._main.run(sql.SAME_ID, {"ids": ids}, writes=True)
        )
        keyed = [(place, add) for place, add in left if add.job.id not in same and add.job.key]
        values = {
            "fns": int4s([self._functions[add.job.queue[:2]] for _, add in keyed]),
            "uniqs": byteas([add.job.key for _, add in keyed]),
        }
        rows = await self._main.run(sql.SAME_KEY, values, writes=True) if keyed else []
        holders = {keyed[number - 1][0]: (id, owner) for number, id, owner in rows}
        again = []
        for place, add in left:
            if add.job.id in same:
                placement = placed(same[add.job.id])
                todo.answers[place] = AddResult(Added.STORED, add.job.id, placement)
            elif place in holders:
                id, owner = holders[place]
                todo.answers[place] = AddResult(Added.MERGED, id, placed(owner))
            else:
                again.append((place, add))
        if not again:
            return []
        adds = [add for _, add in again]
        statement, values = batch.adding(adds, self._functions)
        ((me, _, _, added, pools),) = await self._write(statement, values)
        if me is None:
            raise self._lost()
        self._came(pools)
        places = [place for place, _ in again]
        return batch.answer(todo._replace(adds=adds, places=places), added)

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        return await whole(self._claim(queue, limit, max_bytes, max_body))

    async def _claim(
        self, queue: QueueKey, limit: int, max_bytes: int, max_body: int | None
    ) -> Sequence[StoredJob]:
        number = await self._number((queue.tenant, queue.function), make=False)
        if number is None:
            return []
        place = (number, queue.priority)
        mark = self._marks.get(place, 0)
        values = {
            "fn": number,
            "prio": queue.priority,
            "mark": mark,
            "limit": limit,
            "max_bytes": max_bytes,
            "max_body": _ANY_SIZE if max_body is None else max_body,
        }
        rows = await self._write(sql.CLAIM, values)
        if mark and rows[0][1] is None:
            # Nothing above the mark; rows may have come back below it.
            rows = await self._write(sql.CLAIM, {**values, "mark": 0})
        if rows[0][0] is None:
            raise self._lost()
        jobs = [
            StoredJob(
                id, queue, body, unique_of(uniq, shown), uniq, None, reducer, attempts,
                headers_of(headers),
            )
            for _, id, attempts, uniq, shown, reducer, headers, body in rows
            if id is not None
        ]  # fmt: skip
        self._marks[place] = jobs[-1].id if jobs else JobId(0)
        return jobs

    async def due(self, now: float, limit: int) -> Due:
        return await whole(self._due(now, limit))

    async def _due(self, now: float, limit: int) -> Due:
        rows = await self._read(sql.DUE, {"now": now, "limit": limit})
        moved = {}
        for number, prio, count in rows:
            if name := await self._name(number):
                moved[QueueKey(*name, prio)] = count
            self._marks.pop((number, prio), None)
        self._news.tell((number, prio) for number, prio, _ in rows)
        ((first,),) = await self._read(sql.NEXT_DUE, {})
        return Due(moved, first)

    # ── the dead ─────────────────────────────────────────────────────────────

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        rows = await self._write(sql.DEAD_RETRY, {"ids": int8s(ids)})
        for _, number, prio in rows:
            self._marks.pop((number, prio), None)
        self._news.tell((number, prio) for _, number, prio in rows)
        return [id for id, _, _ in rows]

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        ((count,),) = await self._write(sql.DEAD_DELETE, {"ids": int8s(ids)})
        return int(count)
