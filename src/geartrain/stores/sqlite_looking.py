"""What can be asked of the rows without changing them: bodies, counts, searches, lists.

The thread that reads answers, beside the one that writes. It does not see the log, so what
is asked for is settled first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geartrain.stores import sqlite_reader as reader
from geartrain.stores.port import Count, DeadJob, JobFacts, JobId, QueueKey
from geartrain.stores.sqlite_settling import Settling


class Looking(Settling):
    """The verbs that look."""

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        await self._settle_these(ids)
        return await self._read(lambda db: reader.bodies(db, ids))

    async def counts(self) -> Mapping[QueueKey, Count]:
        self._check_open()
        return {q.key: Count(q.ready - q.mine, q.delayed) for q in self._known.queues.values()}

    async def find(
        self, tenant: str, *, id: JobId | None = None, key: tuple[bytes, bytes] | None = None
    ) -> JobFacts | None:
        if key is not None:
            writer, number = self._writer, self._known.numbers.get((tenant, key[0]))
            if writer is not None and number is not None:
                await self._settle_these([JobId(writer.log.holder(number, key[1]))])
        elif id is not None:
            await self._settle_these([id])
        return await self._read(
            lambda db: reader.find(db, tenant, id, key, self._known.mine, self._server)
        )

    async def holders(self, tenant: str, key: bytes) -> Sequence[JobFacts]:
        writer = self._writer
        numbers = [no for (owner, _), no in self._known.numbers.items() if owner == tenant]
        if writer is not None:
            await self._settle_these([JobId(writer.log.holder(no, key)) for no in numbers])
        return await self._read(
            lambda db: reader.holders(db, tenant, key, self._known.mine, self._server)
        )

    async def scan(
        self, tenant: str | None, after: JobId, limit: int, *, function: bytes | None = None
    ) -> Sequence[JobFacts]:
        await self._settle_all()
        return await self._read(
            lambda db: reader.scan(
                db, tenant, after, limit, function, self._known.mine, self._server
            )
        )

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        return await self._read(
            lambda db: reader.dead_list(db, tenant, after, limit, function, bodies)
        )

    async def dead_show(self, id: JobId) -> DeadJob | None:
        return await self._read(lambda db: reader.dead_show(db, id))
