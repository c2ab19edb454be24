"""``memory://`` under pressure: background jobs go to a file without a name.

As long as there is room this costs nothing: jobs are in memory and nowhere else. When
the first step of the memory budget is reached (``broker.budget``) a file is opened in
``spill-dir``, removed at once so that it ends with the process, and from then on what
does not belong to the head of its line is kept there, in the way of a durable queue but
without its promises. When all of it has been done and there is room, jobs stay in
memory again.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.errors import ConfigurationError
from geartrain.server.store_writer import StoreWriter
from geartrain.stores.port import QueueStore, StoreError

log = logging.getLogger("geartrain.server")

#: Seconds between looks whether the file is still needed, or can be had by now.
LOOK_SECONDS: Final = 1.0


class Spill:
    """Opens a store when memory runs short, and has it used as long as that is so.

    Args:
        broker: its memory.
        store: makes a store without a name.
        folder: where that will be; None for the system's folder for such things.
        prefix: what handles begin with.
        tell: called when the broker has been told something, to send what it says.
        opened: called with the writer of the store, once.
        patience: seconds that a submission waits while the file cannot be written.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        broker: Broker,
        store: Callable[[], QueueStore],
        folder: str | None,
        prefix: bytes,
        tell: Callable[[], None],
        opened: Callable[[StoreWriter], None],
        *,
        patience: float = 5.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._store = store
        self._folder = folder or tempfile.gettempdir()
        self._prefix = prefix
        self._tell = tell
        self._opened = opened
        self._patience = patience
        self._wall = wall
        self._writer: StoreWriter | None = None
        self._task: asyncio.Task[None] | None = None

    def wished(self) -> None:
        """The broker has wishes."""
        if self._writer is not None:
            self._writer.wished()
        if self._task is None and self._broker.state.spilling:
            self._task = asyncio.create_task(self._spill(), name="spill")

    async def stop(self) -> None:
        """Whatever is in the file goes with it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _spill(self) -> None:
        if self._writer is None:
            self._writer = await self._open()
        await self._disk_has_room()
        log.warning(
            "more than 70 %% of max-memory is used: what has no room goes to a file in %s",
            self._folder,
        )
        self._broker.begin_spilling()
        self._tell()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._broker.end_spilling():
                log.info("there is room in memory again for all background jobs")
                self._task = None
                return

    async def _disk_has_room(self) -> None:
        """Nothing is begun on a disk that is nearly full (``disk``)."""
        while True:
            if not self._broker.state.no_room:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _open(self) -> StoreWriter:
        """Open the file, however long that takes; meanwhile the budget does what it can."""
        while True:
            writer = StoreWriter(
                self._store(), self._broker, self._prefix, self._tell,
                server="memory", patience=self._patience, wall=self._wall,
            )  # fmt: skip
            try:
                await writer.open()
            except (ConfigurationError, StoreError, OSError) as error:
                log.error("memory runs short, and no file can be had: %s", error)
                await asyncio.sleep(LOOK_SECONDS)
                continue
            writer.start()
            self._opened(writer)
            return writer
