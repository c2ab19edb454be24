"""News of the pool from server to server, over LISTEN and NOTIFY.

A NOTIFY takes, when it commits, a lock that the whole cluster shares. So it is
never part of a commit of jobs, and comes at most every 20 ms, for all queues
at once. News are hints: what is lost is found by asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

import psycopg

from geartrain.stores import postgres_sql as sql
from geartrain.stores.port import StoreError
from geartrain.stores.postgres_columns import texts
from geartrain.stores.postgres_link import Link

#: Seconds between two NOTIFYs.
PAUSE: Final = 0.02
#: Seconds until a lost connection is tried again.
RETRY: Final = 1.0

#: A queue as the tables name it: (function's number, priority).
Place = tuple[int, int]


class News:
    """Tells the others, and hears from them."""

    def __init__(
        self, side: Link, ear: Link, hear: Callable[[Place], Awaitable[None]], me: Callable[[], int]
    ) -> None:
        """
        Args:
            side: a connection that commits no jobs.
            ear: one of its own.
            hear: called for each queue that another server names.
            me: my lease; I do not hear myself.
        """
        self._side = side
        self._ear = ear
        self._hear = hear
        self._me = me
        self._untold: set[Place] = set()
        self._herald: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Begin to hear."""
        self._listener = asyncio.create_task(self._listen(), name="geartrain-store-news")

    def tell(self, places: Iterable[Place]) -> None:
        """Let the others know by and by."""
        self._untold.update(places)
        if self._untold and (self._herald is None or self._herald.done()):
            self._herald = asyncio.create_task(self._announce(), name="geartrain-store-herald")

    async def _announce(self) -> None:
        while self._untold:
            await self.flush()
            await asyncio.sleep(PAUSE)

    async def flush(self) -> None:
        """Let them know now."""
        untold, self._untold = self._untold, set()
        if untold:
            news = texts([f"{self._me()} {number} {priority}" for number, priority in untold])
            with suppress(StoreError):
                await self._side.run(sql.NOTIFY, {"news": news}, writes=False)

    async def close(self) -> None:
        """Say and hear no more."""
        for task in (self._listener, self._herald):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._ear.close()

    async def _listen(self) -> None:
        while True:
            with suppress(StoreError, psycopg.Error):
                db = await self._ear.connect()
                await db.execute("LISTEN gt_news")
                async for notice in db.notifies():
                    lease, number, priority = map(int, notice.payload.split())
                    if lease != self._me():
                        await self._hear((number, priority))
            await self._ear.drop()
            await asyncio.sleep(RETRY)
