"""The one that writes to the store.

The broker writes down what it wishes of the store. Here that becomes batches: one
commit is in flight, and meanwhile the next batch gathers, so that a busy server
pays one fsync for hundreds of jobs and a lone job waits for nobody. When a batch
is on the disk, the broker is told, and only then do clients hear JOB_CREATED. What is
in the store and not in memory comes back through ``backlog``.

What may go wrong:

* the store is down: the batch is kept and tried again. After ``patience`` seconds
  the adds in it are refused with the store's own words; ends are never given up;
* nobody knows whether a batch was kept: a new lease is taken, then it is repeated;
* one job in a batch is impossible (too large): it is refused, the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.graveyard import Burial
from geartrain.broker.tables import KEPT, PAGED, WRITING, Job
from geartrain.errors import ConfigurationError
from geartrain.server.backlog import NOBODY, Backlog
from geartrain.server.store_rows import answer, ends_of, rows_of
from geartrain.server.tenure import Tenure
from geartrain.stores.ids import INSTANCES, coalescing_key, id_of
from geartrain.stores.port import (
    Add,
    Ambiguous,
    Ending,
    Give,
    JobId,
    LeaseLost,
    Placement,
    QueueKey,
    QueueStore,
    StoredJob,
    StoreDown,
    StoreError,
)

log = logging.getLogger("geartrain.server")

#: One commit at most.
BATCH_ADDS: Final = 1000
BATCH_BYTES: Final = 4 * 2**20
#: Seconds between tries while the store is down.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
#: Seconds without anything to write after which the store may tidy up.
IDLE: Final = 1.0


class StoreWriter:
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
        self.store = store
        self.broker = broker
        self._prefix = prefix
        self._tell = tell
        self._server = server
        self._ttl = ttl
        self._patience = patience
        self._wall = wall
        self._woken = asyncio.Event()
        #: Something was written, and perhaps left in disorder.
        self._wrote = asyncio.Event()
        self._wrote.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        #: When the store went down, on the steady clock; 0.0 while it answers.
        self._down_since = 0.0
        #: Adds in flight, with their rows.
        self._adds: list[tuple[Job, Add]] = []
        self._ends: list[Ending] = []
        #: Rows of dead jobs that were not kept while they lived; their ends go with them.
        self._stillborn: list[Add] = []
        self._gives: list[Give] = []
        #: Ends that are in no batch yet.
        self._ended: list[Ending] = []
        #: Rows that are over and may still be claimed.
        self._ending: set[JobId] = set()
        #: Rows whose end somebody waits for.
        self._awaited: dict[JobId, asyncio.Future[None]] = {}
        #: Where several servers share the store: what gives this one the right to its jobs.
        self.tenure: Tenure | None = None
        self._unsure = False
        self.backlog = Backlog(store, broker, prefix, tell, wall, self)
        self._counting: asyncio.Future[None] | None = None

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
        self._woken.set()
        self.backlog.wished()

    def wake(self) -> None:
        """Look at everything again: the clock was set, or the lease is lost."""
        self._woken.set()
        self.backlog.wake()

    @property
    def idle(self) -> bool:
        """Everything that was wished is on the disk."""
        state = self.broker.state
        return not (
            self._adds
            or self._ends
            or self._gives
            or self._ended
            or state.adds
            or state.ends
            or state.retried
            or state.gifts
            or state.burials
            or state.postponed
            or state.later
        )

    async def stop(self) -> None:
        """Write what waits, and let go of the store."""
        self._stopping = True
        self.broker.hurry()
        self._woken.set()
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
        unwritten = len(self._ends) + len(self._gives)
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
            if self._take() or self._in_doubt:
                await self._commit()
                self._wrote.set()
                if not (self._stopping and self._down_since):
                    continue
            if self._stopping:
                return
            if self._counting is None:
                self._woken.clear()
                await self._woken.wait()

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

    def _take(self) -> bool:
        """Make the next batch; False when there is nothing to write."""
        broker = self.broker
        if not self._adds:
            self._adds = rows_of(broker.take_adds(BATCH_ADDS, BATCH_BYTES))
        self._gather_ends()
        self._ends.extend(self._ended)
        self._ended.clear()
        for burial in broker.take_burials():
            self._bury(burial)
        for job in broker.take_retried():
            if job.kept == KEPT:
                self._gives.append(Give(_id(job.handle), Placement.MINE, None, job.attempts))
        for one in broker.take_postponed():
            give = Give(_id(one.handle), Placement.POOL, one.until, one.attempts)
            self._gives.append(give)
        for gift in broker.take_gifts():
            self._gives.append(Give(_id(gift.handle), Placement.POOL, None, gift.attempts))
        return bool(self._adds or self._ends or self._gives)

    def _bury(self, burial: Burial) -> None:
        """A job that was given up: its row moves to the dead set, or is written there."""
        id = _id(burial.handle)
        reason = burial.reason.decode("utf-8", "backslashreplace")
        worker = burial.worker.decode("utf-8", "backslashreplace")
        if not burial.stored:
            if len(burial.body) > self.store.traits.max_body:
                log.error("dead job %s is too large for the queue", burial.handle.decode())
                return
            key = coalescing_key(burial.unique, burial.body)
            queue = QueueKey(NOBODY, burial.function, burial.priority)
            row = StoredJob(
                id, queue, burial.body, burial.unique, key, None, burial.reducer or None,
                burial.attempts,
            )  # fmt: skip
            self._stillborn.append(Add(row, Placement.MINE))
        self._ends.append(Ending(id, reason, burial.attempts, worker))
        self._ending.add(id)

    def _gather_ends(self) -> None:
        jobs = self.broker.take_ends()
        if jobs:
            ends = ends_of(jobs)
            self._ended += ends
            self._ending.update([end[0] for end in ends])

    def is_over(self, id: JobId) -> bool:
        """This row is to be ended, or is just being."""
        self._gather_ends()
        return id in self._ending

    async def end(self, id: JobId) -> None:
        """Have this row ended, and wait for that, though not for ever."""
        self._ended.append(Ending(id))
        self._ending.add(id)
        self._woken.set()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[id] = written
        try:
            await asyncio.wait_for(written, self._patience)
        except TimeoutError:
            log.warning("the queue cannot be written; a job is cancelled as soon as it can")
        finally:
            self._awaited.pop(id, None)

    def _forget_ends(self, ids: list[JobId]) -> None:
        """The store knows of these ends; who waited for one goes on."""
        self._ending.difference_update(ids)
        for id in self._awaited.keys() & set(ids) if self._awaited else ():
            if not self._awaited[id].done():
                self._awaited[id].set_result(None)

    async def recount(self) -> None:
        """Have all lines counted between two commits, when the broker knows what is stored."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_future()
            self._woken.set()
        await self._counting

    async def _count(self) -> None:
        counting = self._counting
        if counting is None:
            return
        try:
            self.backlog.count(await self.store.counts())
        except StoreError as error:
            answer: StoreError | None = error
        else:
            answer = None
        self._counting = None
        if counting.cancelled():
            return
        if answer is None:
            counting.set_result(None)
        else:
            counting.set_exception(answer)

    async def _commit(self) -> None:
        """Write one batch, until it is written or what can be refused was refused."""
        pause = FIRST_PAUSE
        while True:
            try:
                if self._counting is not None:
                    await self._count()
                if self._in_doubt:
                    await self._renew()
                adds, ends, gives = self._adds, self._ends, self._gives
                rows = [add for _, add in adds] + self._stillborn
                done = await self.store.commit(rows, ends, gives)
            except StoreDown as error:
                self._is_down(error)
            except (Ambiguous, LeaseLost) as error:
                self._is_down(error)
                if not self._in_doubt:
                    self.doubt()
                    continue
            except ValueError as error:
                await self._commit_apart(error)
                return
            else:
                self._is_up()
                self._adds, self._ends, self._gives, self._stillborn = [], [], [], []
                if ends:
                    self._forget_ends([end.id for end in ends])
                if done.missed and self.tenure is not None:
                    fenced = len(set(done.missed).intersection(end.id for end in ends))
                    self.broker.counters.fenced += fenced
                    log.warning("%d jobs ended here that another server had got", fenced)
                for give in gives:
                    if give.run_at is not None:
                        self.backlog.delayed_until(give.run_at)
                if adds:
                    shared = self.tenure is not None
                    due = answer(self.broker, adds, done.added, self._prefix, shared)
                    if due < math.inf:
                        self.backlog.delayed_until(due)
                    self._tell()
                return
            if not (self._adds or self._ends or self._gives or self._in_doubt):
                return
            if self._stopping and time.monotonic() - self._down_since >= self._patience:
                return
            self._woken.clear()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._take()

    async def _commit_apart(self, error: ValueError) -> None:
        """Some row is impossible: write one at a time, and refuse that one."""
        adds, self._adds = self._adds, []
        if len(adds) == 1 or not adds:
            self._refuse([job for job, _ in adds], str(error))
            if not adds:
                log.error("the queue refuses a batch without jobs: %s", error)
                self._ends, self._gives, self._stillborn = [], [], []
            return
        for one in adds:
            self._adds = [one]
            await self._commit()

    def _refuse(self, jobs: Sequence[Job], text: str) -> None:
        said = text.encode("utf-8", "replace")
        early = sum(job.askers is None for job in jobs)
        if early:
            log.error(
                "%d jobs that were answered for before they were stored are in memory only: %s",
                early, text,
            )  # fmt: skip
        for job in jobs:
            self.broker.not_stored(job, said)
        self._tell()

    def _is_down(self, error: StoreError) -> None:
        now = time.monotonic()
        if not self._down_since:
            self._down_since = now
            log.error("the queue cannot be written: %s", error)
        self.broker.state.trouble = str(error)
        if now - self._down_since < self._patience:
            return
        # Whoever has waited long enough hears why; what is over stays to be written.
        adds, self._adds = self._adds, []
        waiting = self.broker.take_adds(BATCH_ADDS, BATCH_BYTES)
        while waiting:
            adds.extend(rows_of(waiting))
            waiting = self.broker.take_adds(BATCH_ADDS, BATCH_BYTES)
        if adds:
            self._refuse([job for job, _ in adds], str(error))

    def _is_up(self) -> None:
        if self._down_since:
            log.warning(
                "the queue is written again, after %.1f s", time.monotonic() - self._down_since
            )
            self._down_since = 0.0
            self.broker.state.trouble = ""

    @property
    def _in_doubt(self) -> bool:
        """Nothing can be written before there is a new lease."""
        return self._unsure if self.tenure is None else self.tenure.in_doubt

    def doubt(self) -> None:
        """Nobody knows what is held: nothing is written or claimed before there is a new lease."""
        self._unsure = True
        if self.tenure is not None:
            self.tenure.doubt()

    async def _renew(self) -> None:
        """Take a new lease, for all that is here and all that is in flight."""
        self._take()
        writing = {add.job.id for _, add in self._adds}
        writing.update(add.job.id for add in self._stillborn)
        if self.tenure is not None:
            ended = self._ends
            await self.tenure.renew(ended, [give.id for give in self._gives])
            # What ended before its row was written still has to keep it from being written.
            self._ends = [end for end in ended if end.id in writing]
            # The others are ended, or are another server's: should one of those come back
            # from the pool, it is a job like any other.
            self._forget_ends([end.id for end in ended if end.id not in writing])
        else:
            held = [
                _id(handle)
                for handle, job in self.broker.state.jobs.items()
                if job.kept in (WRITING, KEPT) and job.state != PAGED
            ]
            held += [give.id for give in self._gives]
            lease = (await self.store.renew(held, self._ends)).lease
            self.broker.state.handles.rebase(lease.id % INSTANCES, lease.floor)
        self._unsure = False


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


def _id(handle: bytes) -> JobId:
    id = id_of(handle)
    assert id is not None, handle
    return id
