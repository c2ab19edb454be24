"""Rows are looked at, beside the commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geartrain.stores import postgres_sql as sql
from geartrain.stores.port import Count, DeadJob, JobFacts, JobId, QueueKey, StoredJob, Where
from geartrain.stores.postgres_columns import int8s
from geartrain.stores.postgres_session import Session
from geartrain.stores.sql import headers_of, unique_of


class Looking(Session):
    """The verbs that change nothing."""

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        rows = await self._read(sql.LOAD, {"ids": int8s(ids)})
        return dict(rows)

    async def counts(self) -> Mapping[QueueKey, Count]:
        rows = await self._read(sql.COUNTS, {})
        return {
            QueueKey(tenant, name, prio): Count(ready, delayed)
            for tenant, name, prio, ready, delayed in rows
        }

    async def find(
        self, tenant: str, *, id: JobId | None = None, key: tuple[bytes, bytes] | None = None
    ) -> JobFacts | None:
        if key is not None:
            values = {"tenant": tenant, "name": key[0], "uniq": key[1]}
            rows = await self._read(sql.FIND_KEY, values)
        else:
            rows = await self._read(sql.FIND_ID, {"tenant": tenant, "id": id})
        return self._facts(rows[0]) if rows else None

    async def holders(self, tenant: str, key: bytes) -> Sequence[JobFacts]:
        values = {"tenant": tenant, "uniq": key}
        return [self._facts(row) for row in await self._read(sql.HOLDERS, values)]

    async def scan(
        self, tenant: str | None, after: JobId, limit: int, *, function: bytes | None = None
    ) -> Sequence[JobFacts]:
        values = {"tenant": tenant, "after": after, "limit": limit, "name": function}
        return [self._facts(row) for row in await self._read(sql.SCAN, values)]

    def _facts(self, row: tuple[Any, ...]) -> JobFacts:
        id, tenant, name, prio, uniq, shown, size, run_at, attempts, owner, server = row
        if run_at is not None:
            where = Where.DELAYED
        elif owner is None:
            where = Where.POOL
        else:
            where = Where.MINE if owner == self._me else Where.ELSEWHERE
        queue = QueueKey(tenant, name, prio)
        unique = unique_of(uniq, shown)
        return JobFacts(id, queue, unique, size, run_at, attempts, where, server or "")

    # ── the dead ─────────────────────────────────────────────────────────────

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        values = {"tenant": tenant, "after": after, "limit": limit, "name": function}
        rows = await self._read(sql.DEAD_LIST, {**values, "bodies": bodies})
        return [_dead(row) for row in rows]

    async def dead_show(self, id: JobId) -> DeadJob | None:
        rows = await self._read(sql.DEAD_SHOW, {"id": id, "bodies": True})
        return _dead(rows[0]) if rows else None


def _dead(row: tuple[Any, ...]) -> DeadJob:
    id, tenant, name, prio, attempts, uniq, shown, reducer, headers, reason, worker = row[:11]
    died, size, body = row[11:]
    job = StoredJob(
        id, QueueKey(tenant, name, prio), body, unique_of(uniq, shown), uniq, None, reducer,
        attempts, headers_of(headers),
    )  # fmt: skip
    return DeadJob(job, size, reason, worker, died)
