"""The one that reads from the store: what waits there comes to the broker in time.

The broker writes down of which lines it wants more; here that becomes claims, the
high priorities first, while the writer goes on writing. What waits for its time is
moved to the pool when that has come. Nothing is read at the start but how long each
line is, and the first jobs of each.

Claims, dues, counts, cancellations and the search for twins (``twins``) are made one
after another, so that each sees what the one before it did. While the store cannot be
read, they are tried again; jobs that are in memory and waited behind the unreadable go
on. Large workloads come by themselves (``workloads``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from geartrain.broker.broker import Broker
from geartrain.broker.wishes import Claim
from geartrain.server.letters import HeldElsewhere
from geartrain.server.tenure import Tenure
from geartrain.server.twins import Twins
from geartrain.server.workloads import Workloads
from geartrain.stores.ids import handle_of
from geartrain.stores.port import (
    Ambiguous,
    Count,
    JobId,
    LeaseLost,
    QueueKey,
    QueueStore,
    StoredJob,
    StoreError,
    Where,
)
from geartrain.terms import WORKLOAD_AS_KEY

log = logging.getLogger("geartrain.server")

#: The tenant of clients that know of none.
NOBODY: Final = ""
#: Delayed rows moved at a time.
DUE_ROWS: Final = 1000
#: Seconds between tries while the store cannot be read.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
#: Seconds before a line is counted whose claim brought nothing, though it should have.
DOUBT_SECONDS: Final = 0.05
#: Seconds for the first jobs of each line before the server listens; the rest come later.
OPENING_SECONDS: Final = 0.5
#: The wall clock may be set: it is looked at again now and then.
LOOK_SECONDS: Final = 5.0
#: Seconds after which the pools of a shared store are looked into, news or not.
LOOK_IN_POOLS: Final = 1.0


class Writing(Protocol):
    """What is asked of the writer."""

    def is_over(self, id: JobId) -> bool:
        """This row is to be ended, or is just being."""

    async def recount(self) -> None:
        """Count all lines, between two commits."""

    async def end(self, id: JobId) -> None:
        """Have this row ended, and wait for that, though not for ever."""

    def doubt(self) -> None:
        """An answer of the store was lost: have a new lease taken."""

    @property
    def tenure(self) -> Tenure | None:
        """What gives the right to stored jobs, if other servers have the same store."""


class Backlog:
    """Brings jobs from a store to a broker.

    Args:
        store: open, when the first method is called.
        broker: it has the wishes.
        prefix: what handles begin with.
        tell: called when the broker has been told something, to send what it says.
        wall: seconds since 1970.
        writing: the writer of the same store.
    """

    def __init__(
        self,
        store: QueueStore,
        broker: Broker,
        prefix: bytes,
        tell: Callable[[], None],
        wall: Callable[[], float],
        writing: Writing,
    ) -> None:
        self._store = store
        self._broker = broker
        self._prefix = prefix
        self._tell = tell
        self._wall = wall
        self._writing = writing
        self._woken = asyncio.Event()
        #: Taken from the broker, not yet answered.
        self._claims: list[Claim] = []
        #: Held while jobs come out of the store, so that nobody waits for one that has gone.
        self._moving = asyncio.Lock()
        self.twins = Twins(store, broker, prefix, tell, self._moving, writing.is_over)
        self.workloads = Workloads(store, broker, tell)
        #: The claim that took longer than the server was to wait with listening.
        self._opening: asyncio.Future[None] | None = None
        #: Jobs to be cancelled, and who waits for that.
        self._cancels: list[tuple[JobId, asyncio.Future[bool]]] = []
        #: When the next delayed row is due; infinity for none.
        self._next_due = math.inf
        self._doubtful = False
        self._failed = False

    async def open(self) -> None:
        """Count what there is, and bring the first jobs, as far as that is done at once."""
        self.count(await self._store.counts())
        opening = asyncio.ensure_future(self._bring_first())
        try:
            await asyncio.wait([opening], timeout=OPENING_SECONDS)
        except asyncio.CancelledError:
            opening.cancel()
            raise
        if opening.done():
            opening.result()
        else:
            self._opening = opening

    async def _bring_first(self) -> None:
        end = time.monotonic() + OPENING_SECONDS
        async with self._moving:
            while self._take() and time.monotonic() < end:
                await self._claim()

    def count(self, counts: Mapping[QueueKey, Count]) -> None:
        """Tell the broker how long each line is."""
        for name, priority in self._broker.paged_lines():
            if QueueKey(NOBODY, name, priority) not in counts:
                self._broker.page(name, priority, 0, 0)
        for key, count in counts.items():
            if key.tenant == NOBODY:
                self._broker.page(key.function, key.priority, count.ready, count.delayed)
                if count.delayed:
                    self._next_due = min(self._next_due, 0.0)

    def wished(self) -> None:
        """The broker has wishes; most are for the writer alone."""
        state = self._broker.state
        if state.hungry:
            self._woken.set()
        if state.asks:
            self.twins.wished()
        if state.fetches:
            self.workloads.wished()

    def wake(self) -> None:
        """The clock was set."""
        self._woken.set()
        self.twins.wished()
        self.workloads.wished()

    def delayed_until(self, run_at: float) -> None:
        """A row was stored that waits for this time."""
        if run_at < self._next_due:
            self._next_due = run_at
            self._woken.set()

    async def run(self) -> None:
        """Read what is wanted, for ever."""
        pause = FIRST_PAUSE
        while True:
            self._woken.clear()
            try:
                await self._work()
            except (Ambiguous, LeaseLost):
                # There will be a new lease; what was asked for is asked for again then.
                self._writing.doubt()
                await asyncio.sleep(FIRST_PAUSE)
                continue
            except StoreError as error:
                self._is_unreadable(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            if self._failed:
                self._failed = False
                log.warning("the queue is read again")
            await self._rest()

    async def _rest(self) -> None:
        """Wait until there is something to do."""
        left: float | None = None
        if self._next_due < math.inf:
            left = min(LOOK_SECONDS, max(0.0, self._next_due - self._wall()))
        if self._writing.tenure is not None:
            left = LOOK_IN_POOLS if left is None else min(LOOK_IN_POOLS, left)
        try:
            async with asyncio.timeout(left):
                await self._woken.wait()
        except TimeoutError:
            if self._writing.tenure is not None:
                self._broker.give_back(everything=False)
                self.look_in_pools()
                self._tell()

    def look_in_pools(self) -> None:
        """Other servers may have put something there, or taken it; and so may time."""
        self._next_due = min(self._next_due, 0.0)
        self._doubt()

    async def pooled(self, moved: Mapping[QueueKey, int]) -> None:
        """Rows have come to the pool at somebody's word: have them done."""
        for key, count in moved.items():
            if key.tenant == NOBODY:
                self._broker.pooled(key.function, key.priority, count, False)
        self._woken.set()

    async def _work(self) -> None:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            await opening
        if self._in_doubt:
            await asyncio.sleep(FIRST_PAUSE)
            self._woken.set()
            return
        if self._doubtful:
            self._doubtful = False
            await self._writing.recount()
        while (self._take() or self._next_due <= self._wall()) and not self._in_doubt:
            async with self._moving:
                if self._cancels:
                    await self._cancel()
                elif self._claims:
                    await self._claim()
                else:
                    await self._ripen()

    @property
    def _in_doubt(self) -> bool:
        tenure = self._writing.tenure
        return tenure is not None and tenure.in_doubt

    def _take(self) -> bool:
        """Whether something is to be claimed or cancelled."""
        self._claims.extend(self._broker.take_claims())
        return bool(self._claims or self._cancels)

    async def _claim(self) -> None:
        """Bring the jobs of the first wish."""
        wish = self._claims[0]
        key = QueueKey(NOBODY, wish.function, wish.priority)
        tenure = self._writing.tenure
        if tenure is None:
            self._restore(wish, await self._claimed(key, wish))
            return
        async with tenure.claiming:
            if tenure.in_doubt:
                self._woken.set()
                return
            jobs = await self._claimed(key, wish)
            # They are ours before anybody can take a new lease; but the answer may have
            # come late, and then none of them is handed out. That time passes says it.
            self._tell()
            self._restore(wish, jobs)

    async def _claimed(self, key: QueueKey, wish: Claim) -> Sequence[StoredJob]:
        rules = self._broker.rules
        most: int | None = rules.big_bytes
        if rules.spills:
            policy = rules.policies.of(key.function)
            # The dead set is in memory then, and wants all of them.
            most = None if policy is not None and policy.dead else most
        jobs = await self._store.claim(key, wish.jobs, wish.size, max_body=most)
        # Where the workload is the key it is needed here.
        keys = [job.id for job in jobs if job.body is None and job.unique == WORKLOAD_AS_KEY]
        if not keys:
            return jobs
        bodies: Mapping[JobId, bytes] = {}
        try:
            bodies = await self._store.load(keys)
        except StoreError as error:
            log.warning("twins of large jobs are not known: %s", error)
        return [job.but(body=bodies.get(job.id)) if job.body is None else job for job in jobs]

    def _restore(self, wish: Claim, jobs: Sequence[StoredJob]) -> None:
        broker = self._broker
        self._claims.remove(wish)
        found = 0
        for job in jobs:
            if self._writing.is_over(job.id):
                continue
            found += broker.restore(
                handle_of(self._prefix, job.id),
                wish.function,
                job.unique,
                job.body or b"",
                wish.priority,
                job.reducer or b"",
                job.attempts,
                job.body is None,
            )
        broker.claimed(wish.function, wish.priority, found)
        if not found:
            asyncio.get_running_loop().call_later(DOUBT_SECONDS, self._doubt)
        self._tell()

    # ── single jobs ──────────────────────────────────────────────────────────

    async def cancel(self, id: JobId) -> bool:
        """Take a job out of the store; False when there is none such.

        Raises:
            HeldElsewhere: another server has it.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._cancels.append((id, done))
        self._woken.set()
        return await done

    async def _cancel(self) -> None:
        id, done = self._cancels[0]
        try:
            known = await self._cancelled(id)
        except StoreError as error:
            if not done.cancelled():
                done.set_exception(error)
        else:
            if not done.cancelled():
                done.set_result(known)
        del self._cancels[0]
        self._tell()

    async def _cancelled(self, id: JobId) -> bool:
        handle = handle_of(self._prefix, id)
        if self._writing.is_over(id):
            return False
        if self._broker.cancel(handle):
            return True
        facts = await self._store.find(NOBODY, id=id)
        if facts is None or self._writing.is_over(id):
            return False
        if facts.where is Where.ELSEWHERE:
            raise HeldElsewhere(f"server {facts.server} has this job, and does not answer")
        if facts.where is Where.MINE:
            # On its way to memory or out of it: clearer when the next commit is over.
            await self._writing.recount()
            if self._broker.cancel(handle):
                return True
            facts = await self._store.find(NOBODY, id=id)
            if facts is None or self._writing.is_over(id):
                return False
        await self._writing.end(id)
        delayed = facts.where is Where.DELAYED
        self._broker.cancelled(handle, facts.queue.function, facts.queue.priority, delayed)
        return True

    # ── time, and doubt ──────────────────────────────────────────────────────

    async def _ripen(self) -> None:
        """Move to the pool what was delayed until now."""
        self._next_due = math.inf
        try:
            due = await self._store.due(self._wall(), DUE_ROWS)
        except StoreError:
            self._next_due = 0.0
            raise
        for key, count in due.moved.items():
            if key.tenant == NOBODY:
                self._broker.pooled(key.function, key.priority, count, True)
        if due.next is not None:
            self._next_due = min(self._next_due, due.next)

    def _doubt(self) -> None:
        self._doubtful = True
        self._woken.set()

    def _is_unreadable(self, error: StoreError) -> None:
        if not self._failed:
            self._failed = True
            log.error("the queue cannot be read: %s", error)
        for wish in self._claims:
            # Nobody asks for it again meanwhile, and nobody waits for it.
            self._broker.claimed(wish.function, wish.priority, 0)
        self._tell()
