"""Where a server keeps its background jobs, and who answers questions about them.

Builds what belongs to the queue that the settings mean: for ``memory://`` a dead set in
memory and, if there is a budget, the file for what has no room; for all others the store
with its writer. In front of either is the desk, behind it a look at the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.frontends.port import Question
from geartrain.server.desk import Desk
from geartrain.server.disk import DiskWatch
from geartrain.server.finding import Finder
from geartrain.server.job_reports import JobReports
from geartrain.server.letters import Letters
from geartrain.server.memory_dead import MemoryDead
from geartrain.server.queues import MEMORY_SCHEME, choose
from geartrain.server.settings import Settings
from geartrain.server.spill import Spill
from geartrain.server.store_writer import StoreWriter
from geartrain.stores import registry
from geartrain.stores.lone import Lone
from geartrain.stores.port import DeadSet, JobId, QueueKey, QueueStore
from geartrain.stores.sqlite import SqliteStore, spill_store
from geartrain.stores.url import StoreUrl

log: Final = logging.getLogger("geartrain.server")


class Keeping:
    """The queue of one server.

    Args:
        settings: they say which.
        broker: its jobs are kept.
        tell: called when the broker has been told something, to send what it says.
        wall: seconds since 1970.

    Raises:
        ConfigurationError: there is no such queue.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        tell: Callable[[], None],
        wall: Callable[[], float],
    ) -> None:
        self._queue = choose(settings)
        self._settings = settings
        self._broker = broker
        self._tell = tell
        self._wall = wall
        self._prefix = broker.state.handles.prefix
        self._writer: StoreWriter | None = None
        self._desk: Desk | None = None
        self._spill: Spill | None = None
        self._disk: DiskWatch | None = None

    # ── life ─────────────────────────────────────────────────────────────────

    async def open(self, name: str) -> None:
        """Open it, and bring its first jobs to the broker.

        Args:
            name: this server, among those that share it.

        Raises:
            ConfigurationError: it cannot be had.
        """
        if self._queue.notice:
            log.warning("%s", self._queue.notice)
        url = StoreUrl.parse(self._queue.url)
        if url.scheme == MEMORY_SCHEME:
            self._be_ready_to_spill(url)
        else:
            await self._open_store(url, name)

    async def _open_store(self, url: StoreUrl, name: str) -> None:
        broker = self._broker
        writer = StoreWriter(
            registry.from_url(self._queue.url),
            broker,
            self._prefix,
            self._tell,
            server=name,
            patience=self._settings.store_wait,
            wall=self._wall,
        )
        broker.rules.durable = True
        broker.rules.buries = True
        await writer.open()
        self._writer = writer
        self._watch_disk(writer.store)
        self._desk = Desk(writer.store, self._prefix, self._tell, writer.backlog.pooled)
        self._find_in(self._desk, writer, writer.store)
        left = sum(one.total for one in broker.state.functions.values())
        log.info("the queue is %s, %d jobs are in it", url.text, left)

    def _be_ready_to_spill(self, url: StoreUrl) -> None:
        """Jobs in memory alone, and what is needed when that runs short."""
        url.only("spill-dir")
        dead = MemoryDead(self._broker, self._prefix)
        desk = self._desk = Desk(dead, self._prefix, self._tell, _nothing)
        reports = JobReports(self._broker, None, dead, self._prefix, self._wall, _never)
        desk.learn(reports.verbs())
        if not self._settings.max_memory:
            return
        folder = self._settings.spill_dir or url.options.get("spill-dir")
        self._watch_disk(spill_store(folder))

        def opened(writer: StoreWriter) -> None:
            self._writer = writer
            self._find_in(desk, writer, dead)

        self._broker.rules.spills = True
        self._spill = Spill(
            self._broker, lambda: spill_store(folder), folder, self._prefix,
            self._tell, opened, patience=self._settings.store_wait, wall=self._wall,
        )  # fmt: skip

    def _watch_disk(self, store: QueueStore) -> None:
        self._disk = DiskWatch(self._broker, store.room, self._settings.min_free)
        self._disk.start()

    def _find_in(self, desk: Desk, writer: StoreWriter, dead: DeadSet) -> None:
        """Have questions answered about jobs that are only in this writer's store."""
        letters = Letters(writer.store)
        finder = Finder(
            writer.store, self._broker, self._prefix, writer.is_over, writer.backlog, letters
        )  # fmt: skip
        desk.learn(finder.verbs())
        reports = JobReports(
            self._broker, writer.store, dead, self._prefix, self._wall, writer.is_over, letters
        )  # fmt: skip
        desk.learn(reports.verbs())

    def start(self, heard: Callable[[], int] | None) -> None:
        """Begin to write.

        Args:
            heard: how many times any peer was listened to; None if the thread is not the
                server's alone, so that no commit may be made in it.
        """
        if self._writer is None:
            return
        store = self._writer.store
        if heard is not None and isinstance(store, SqliteStore):
            store.lone = Lone(heard)
        self._writer.start()

    async def stop(self) -> None:
        """Write what waits, so that who was promised an answer gets it, and let go of it."""
        if self._disk is not None:
            self._disk.stop()
        if self._desk is not None:
            await self._desk.close()
        if self._spill is not None:
            await self._spill.stop()
        if self._writer is not None:
            await self._writer.stop()

    # ── while it runs ────────────────────────────────────────────────────────

    @property
    def wished(self) -> Callable[[], None] | None:
        """To be called when the broker has wishes; None if it cannot have any."""
        if self._writer is not None:
            return self._writer.wished
        return self._spill.wished if self._spill is not None else None

    @property
    def idle(self) -> bool:
        """All that was wished is written."""
        return self._writer is None or self._writer.idle

    def wake(self) -> None:
        """The clock was set."""
        if self._writer is not None:
            self._writer.wake()

    def ask(self, question: Question) -> None:
        """A connection wants to know what only the store can say."""
        assert self._desk is not None
        self._desk.take(question)


async def _nothing(moved: Mapping[QueueKey, int]) -> None:
    """In memory a job that is revived is in its line at once."""


def _never(id: JobId) -> bool:
    """In memory a job that is over is not there."""
    return False
