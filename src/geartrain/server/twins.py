"""Who waits for a job with a key may have a twin in the store: it is looked for before the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.wishes import Ask
from geartrain.stores.ids import coalescing_key, handle_of
from geartrain.stores.port import JobId, QueueStore, StoreError, Where

log = logging.getLogger("geartrain.server")

#: Seconds that a submission waits for the search for its twin.
ASK_SECONDS: Final = 1.0


class Twins:
    """Finds them.

    Args:
        store: open, when somebody asks.
        broker: it has the submissions.
        prefix: what handles begin with.
        tell: called when the broker has been told something, to send what it says.
        moving: held while jobs come out of the store, so that nobody waits for one that has gone.
        is_over: a row is to be ended, or is just being.
    """

    def __init__(
        self,
        store: QueueStore,
        broker: Broker,
        prefix: bytes,
        tell: Callable[[], None],
        moving: asyncio.Lock,
        is_over: Callable[[JobId], bool],
    ) -> None:
        self._store = store
        self._broker = broker
        self._prefix = prefix
        self._tell = tell
        self._moving = moving
        self._is_over = is_over
        self._wished = asyncio.Event()

    def wished(self) -> None:
        """The broker has wishes."""
        self._wished.set()

    async def run(self) -> None:
        """Answer those who may have one, for ever."""
        while True:
            self._wished.clear()
            for ask in self._broker.take_asks():
                try:
                    async with asyncio.timeout(ASK_SECONDS), self._moving:
                        await self._find(ask)
                except (StoreError, TimeoutError) as error:
                    # Jobs that are not stored go on, whatever the store does.
                    log.warning("the queue cannot be searched: %s", str(error) or "it is silent")
                    self._broker.found(ask, b"", 0)
            self._tell()
            await self._wished.wait()

    async def _find(self, ask: Ask) -> None:
        key = coalescing_key(ask.unique, ask.workload)
        facts = None
        if key is not None:
            facts = await self._store.find("", key=(ask.function, key))
        if facts is None or facts.where is Where.ELSEWHERE or self._is_over(facts.id):
            self._broker.found(ask, b"", 0)
        else:
            handle = handle_of(self._prefix, facts.id)
            self._broker.found(ask, handle, facts.queue.priority)
