"""Large workloads are in the store alone, and brought when a worker has the job.

One after the other. One that cannot be read is tried again behind the others, so that a
damaged row holds up nobody but the worker that has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.wishes import Fetch
from geartrain.stores.ids import id_of
from geartrain.stores.port import QueueStore, StoreError

log = logging.getLogger("geartrain.server")

#: Seconds between tries while none can be read.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0


class Workloads:
    """Brings them to a broker.

    Args:
        store: open, when there is something to bring.
        broker: it has the wishes.
        tell: called when the broker has been told something, to send what it says.
    """

    def __init__(self, store: QueueStore, broker: Broker, tell: Callable[[], None]) -> None:
        self._store = store
        self._broker = broker
        self._tell = tell
        self._wished = asyncio.Event()

    def wished(self) -> None:
        """The broker has wishes."""
        self._wished.set()

    async def run(self) -> None:
        """Bring what workers wait for, for ever."""
        waiting: deque[Fetch] = deque()
        pause = FIRST_PAUSE
        while True:
            self._wished.clear()
            waiting += self._broker.take_fetches()
            if not waiting:
                await self._wished.wait()
                continue
            if await self._bring(waiting[0]):
                waiting.popleft()
                pause = FIRST_PAUSE
                continue
            waiting.rotate(-1)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _bring(self, fetch: Fetch) -> bool:
        """False if that was not possible now."""
        id = id_of(fetch.job.handle)
        assert id is not None, fetch.job.handle
        try:
            bodies = await self._store.load([id])
        except StoreError as error:
            log.error("the workload of %s cannot be read: %s", fetch.job.handle.decode(), error)
            return False
        # It may have come late: that time passes says whether it may still be handed out.
        self._tell()
        self._broker.fetched(fetch, bodies.get(id))
        self._tell()
        return True
