"""Rows of the pool become the server's, oldest first: a read, and a note in memory.

No lock is between this and the thread that writes (``sqlite_known`` says why none is
needed), but claims are made one at a time, so each sees what the one before took. A claim
stops below the oldest job in the log that nobody holds (``KnownQueue.below``), and has its
queue's part of the log settled when that was not enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from geartrain.stores import sqlite_reader as reader
from geartrain.stores.port import QueueKey, StoredJob
from geartrain.stores.sqlite_queue import ALL
from geartrain.stores.sqlite_settling import Settling


class Claiming(Settling):
    """The verb that takes rows out of the pool."""

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        return await asyncio.shield(
            asyncio.ensure_future(self._claim(queue, limit, max_bytes, max_body))
        )

    async def _claim(
        self, key: QueueKey, limit: int, max_bytes: int, max_body: int | None
    ) -> Sequence[StoredJob]:
        async with self._claiming:
            known = self._known
            queue = known.queue_of(key)
            self._check_open()
            if queue is None or queue.ready == queue.mine:
                return []
            queue.lowered = ALL
            known.gone.clear()
            while True:
                below = queue.below(known.cut)
                found, enough = await self._read(
                    lambda db: reader.ready_rows(
                        db, queue.key, queue.number, queue.mark, below,  # noqa: B023
                        known.mine, limit, max_bytes, max_body,
                    )
                )  # fmt: skip
                if enough or below == ALL:
                    break
                await self._settle_queue(queue)
            jobs = [job for job in found if not (job.id in known.gone or job.id in known.ending)]
            if found:
                queue.mark = min(found[-1].id, queue.lowered)
            for job in found if len(jobs) < len(found) else ():
                if job.id in known.ending:
                    # That commit may still fail: the row must not be passed for good.
                    queue.came(job.id)
            for job in jobs:
                known.hold(job.id, queue.number)
            return jobs
