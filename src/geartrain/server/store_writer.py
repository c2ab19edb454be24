"""The one that writes to the store.

The broker writes down what it wishes of the store. Here that becomes batches
(``store_batch``): one commit is in flight, and meanwhile the next batch gathers, so that a
busy server pays one fsync for hundreds of jobs and a lone job waits for nobody. When a batch
is on the disk, the broker is told, and only then do clients hear JOB_CREATED. What is in the
store and not in memory comes back through ``backlog``; what may go wrong on the way there is
in ``store_commit``.

This file is the writer's life: opening the store, the tasks that write, tidy up and bring
back, and the stop that loses nothing that can still be written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.errors import ConfigurationError
from geartrain.server.store_commit import LONGEST_PAUSE, Committing
from geartrain.server.tenure import Tenure
from geartrain.stores.ids import INSTANCES
from geartrain.stores.port import QueueStore, StoreDown, StoreError

log = logging.getLogger("geartrain.server")

#: Seconds without anything to write after which the store may tidy up.
IDLE: Final = 1.0


class StoreWriter(Committing):
    """Keeps a broker's background jobs in a store.

    Args:
        store: not open yet.
        broker: its jobs are kept.
        prefix: what handles begin with.
        tell: called when the broker has been told something, to send what it says.
        server: this server's name.
        ttl: seconds that the lease lives without a heartbeat.
        patience: seconds that a submission waits while the store is down.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        store: QueueStore,
        broker: Broker,
        prefix: bytes,
        tell: Callable[[], None],
        *,
        server: str,
        ttl: float = 10.0,
        patience: float = 5.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, broker, prefix, tell, patience, wall)
        self._server = server
        self._ttl = ttl
        #: Something was written, and perhaps left in disorder.
        self._wrote = asyncio.Event()
        self._wrote.set()
        self._tasks: list[asyncio.Task[None]] = []

    # ── life ─────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Open the store, and bring its jobs to the broker.

        Raises:
            ConfigurationError: it cannot be had.
        """
        try:
            lease = await self.store.open(self._server, self._ttl)
        except StoreDown as error:
            raise ConfigurationError(f"the queue cannot be opened: {error}") from error
        try:
            if lease.ttl < float("inf"):
                self.tenure = Tenure(
                    self.store,
                    self.broker,
                    lease,
                    lost=self.wake,
                    freed=self.backlog.look_in_pools,
                    tell=self._tell,
                    patience=self._patience,
                )
                self.store.on_news(lambda _: self.backlog.look_in_pools())
                rules = self.broker.rules
                rules.shared = True
                # What nobody here does at once is for the others.
                rules.idle_window = rules.least_window = 0
                await self.tenure.beat()
            else:
                self.broker.state.handles.rebase(lease.id % INSTANCES, lease.floor)
            await self.store.adopt()
            await self.backlog.open()
        except BaseException as error:
            await self.store.close()
            if isinstance(error, StoreError):
                raise ConfigurationError(f"the queue cannot be read: {error}") from error
            raise

    def start(self) -> None:
        """Begin to write."""
        works = {
            "store-writer": self._write_on,
            "store-tidy": self._tidy_on,
            "store-reader": self.backlog.run,
            "store-twins": self.backlog.twins.run,
            "store-workloads": self.backlog.workloads.run,
        }
        if self.tenure is not None:
            works |= {"store-heartbeat": self.tenure.beat_on, "store-adoption": self.tenure.look_on}
        for name, work in works.items():
            self._tasks.append(asyncio.create_task(_go_on(name, work), name=name))

    def wished(self) -> None:
        """The broker has wishes."""
        self._woken.blow()
        self.backlog.wished()

    def wake(self) -> None:
        """Look at everything again: the clock was set, or the lease is lost."""
        self._woken.blow()
        self.backlog.wake()

    @property
    def idle(self) -> bool:
        """Everything that was wished is on the disk."""
        return self._batch.all_written and not self._untold

    async def stop(self) -> None:
        """Write what waits, and let go of the store."""
        self._stopping = True
        self.broker.hurry()
        self._woken.blow()
        writer, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        try:
            await asyncio.wait_for(writer, self._patience + 1.0)
        except TimeoutError:
            log.debug("the queue is still being written when the server stops")
        except Exception:
            log.exception("the queue failed while the server stopped")
        unwritten = len(self._batch.ends) + len(self._batch.gives)
        if unwritten:
            log.error(
                "the queue did not take the last %d changes: what these jobs' workers have done"
                " may be done again", unwritten,
            )  # fmt: skip
        try:
            await self.store.close()
        except StoreError as error:
            log.error("the queue was not closed in order: %s", error)

    # ── writing ──────────────────────────────────────────────────────────────

    async def _write_on(self) -> None:
        while True:
            if self._counting is not None:
                await self._count()
            if self._batch.take() or self._in_doubt:
                await self._commit()
                self._wrote.set()
                if self._untold and self._has_more():
                    # The disk goes on with those while we talk.
                    asyncio.get_running_loop().call_soon(self._answer)
                else:
                    self._answer()
                if not (self._stopping and self._down_since):
                    continue
            if self._stopping:
                return
            if self._counting is None:
                self._woken.forget()
                await self._woken.wait()

    def _has_more(self) -> bool:
        """Another batch is ready, and nothing is to be done before it but to tell of the last.

        A single job is none: the store may write that at once, and then the last ones wait.
        """
        if self._counting is not None or self._in_doubt or self._stopping:
            return False
        return self._batch.take() and len(self._batch.jobs) > 1

    async def _tidy_on(self) -> None:
        """Have the store tidy up, after a second in which nothing was written."""
        while True:
            await self._wrote.wait()
            more = True
            while more:
                self._wrote.clear()
                await asyncio.sleep(IDLE)
                if self._wrote.is_set():
                    continue
                try:
                    more = await self.store.tidy()
                except StoreError as error:
                    log.debug("the queue cannot be tidied up: %s", error)
                    more = False


async def _go_on(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do this to its end. A fault in it is told, and is not the end."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s: a fault in the server; it goes on", name)
            await asyncio.sleep(LONGEST_PAUSE)
        else:
            return
