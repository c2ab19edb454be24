"""Old jobs of the log become rows: when they are there for long, or somebody wants to know more.

Plain jobs share a row with others, in the log (``sqlite_log``), which readers never look
into. Whoever is to see a job by itself, a claim, a search, a list, has it settled before. It
is done some jobs at a time, so that commits go between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

from geartrain.stores.port import JobId
from geartrain.stores.sqlite_queue import KnownQueue
from geartrain.stores.sqlite_session import Session

#: Jobs that get rows at a time, between two commits ...
SETTLE: Final = 1000
#: ... and when there is nothing else to do.
SETTLE_IDLE: Final = 4000


class Settling(Session):
    """Has jobs of the log made rows."""

    async def _settle(self, upto: int, most: int) -> bool:
        """Have old jobs of the log made rows; whether there are more of them."""

        async def settle() -> bool:
            changes, more = await self._write(lambda writer: writer.settle(upto, most))
            self._known.learn(changes)
            return more

        return await asyncio.shield(asyncio.ensure_future(settle()))

    async def _settle_queue(self, queue: KnownQueue) -> None:
        """Have the oldest jobs of a queue that are in the log made rows; other queues wait."""
        where = [(first, last) for first, last, _ in islice(queue.logged, SETTLE)]
        changes, done = await self._write(
            lambda writer: writer.settle_queue(queue.number, where, SETTLE)
        )
        self._known.learn(changes)
        queue.pass_by(done)

    async def _settle_all(self) -> None:
        """What was answered for before this call has a row after it."""
        writer = self._writer
        if writer is not None and writer.log.entries:
            upto = writer.log.last
            while await self._settle(upto, SETTLE):
                pass

    async def _settle_these(self, ids: Sequence[JobId]) -> None:
        writer = self._writer
        if writer is not None and any(id in writer.log.where for id in ids):

            async def settle() -> None:
                self._known.learn(await self._write(lambda writer: writer.settle_these(ids)))

            await asyncio.shield(asyncio.ensure_future(settle()))
