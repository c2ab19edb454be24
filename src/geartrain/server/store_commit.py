"""One batch is brought into the store, however long that takes.

What may go wrong:

* the store is down: the batch is kept and tried again. After ``patience`` seconds
  the adds in it are refused with the store's own words; ends are never given up;
* nobody knows whether a batch was kept: a new lease is taken, then it is repeated;
* one job in a batch is impossible (too large): it is refused, the others go on.

Between two tries the next wishes are taken in, so that a batch grows while the store is
down. Between two commits, and only there, the broker and the store agree on how many jobs
there are: whoever wants them counted waits for that moment (``recount``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.tables import KEPT, PAGED, WRITING, Job
from geartrain.server.backlog import Backlog
from geartrain.server.store_batch import Batch, row_id
from geartrain.server.store_rows import answer
from geartrain.server.tenure import Tenure
from geartrain.server.whistle import Whistle
from geartrain.stores.ids import INSTANCES
from geartrain.stores.port import Ambiguous, LeaseLost, QueueStore, StoreDown, StoreError
from geartrain.stores.records import Add, AddResult, JobId

log = logging.getLogger("geartrain.server")

#: Seconds between tries while the store is down.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0


class Committing:
    """Writes batches, one after another.

    Args:
        store: not open yet.
        broker: its jobs are kept.
        prefix: what handles begin with.
        tell: called when the broker has been told something, to send what it says.
        patience: seconds that a submission waits while the store is down.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        store: QueueStore,
        broker: Broker,
        prefix: bytes,
        tell: Callable[[], None],
        patience: float,
        wall: Callable[[], float],
    ) -> None:
        self.store = store
        self.broker = broker
        self._prefix = prefix
        self._tell = tell
        self._patience = patience
        self._batch = Batch(store, broker)
        #: Written, and the broker has not been told: jobs, their adds, and the answers.
        self._untold: list[tuple[list[Job], list[Add], Sequence[AddResult]]] = []
        self._woken = Whistle()
        self._stopping = False
        #: When the store went down, on the steady clock; 0.0 while it answers.
        self._down_since = 0.0
        #: Where several servers share the store: what gives this one the right to its jobs.
        self.tenure: Tenure | None = None
        self._unsure = False
        self._counting: asyncio.Future[None] | None = None
        self.backlog = Backlog(store, broker, prefix, tell, wall, self)

    # ── what others ask for ──────────────────────────────────────────────────

    def is_over(self, id: JobId) -> bool:
        """This row is to be ended, or is just being."""
        return self._batch.is_over(id)

    async def end(self, id: JobId) -> None:
        """Have this row ended, and wait for that, though not for ever."""
        written = self._batch.end(id)
        self._woken.blow()
        try:
            await asyncio.wait_for(written, self._patience)
        except TimeoutError:
            log.warning("the queue cannot be written; a job is cancelled as soon as it can")
        finally:
            self._batch.end_alone(id)

    async def recount(self) -> None:
        """Have all lines counted between two commits, when the broker knows what is stored."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_future()
            self._woken.blow()
        await self._counting

    async def _count(self) -> None:
        counting = self._counting
        if counting is None:
            return
        self._answer()
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

    # ── one batch ────────────────────────────────────────────────────────────

    async def _commit(self) -> None:
        """Write one batch, until it is written or what can be refused was refused.

        What was written is left to be told (``_answer``).
        """
        batch = self._batch
        pause = FIRST_PAUSE
        while True:
            try:
                if self._counting is not None:
                    await self._count()
                if self._in_doubt:
                    await self._renew()
                jobs, adds, ends, gives = batch.jobs, batch.adds, batch.ends, batch.gives
                done = await self.store.commit(batch.rows, ends, gives)
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
                batch.written()
                if done.missed and self.tenure is not None:
                    fenced = len(set(done.missed).intersection(end.id for end in ends))
                    self.broker.counters.fenced += fenced
                    log.warning("%d jobs ended here that another server had got", fenced)
                for give in gives:
                    if give.run_at is not None:
                        self.backlog.delayed_until(give.run_at)
                if jobs:
                    self._untold.append((jobs, adds, done.added))
                return
            if batch.empty and not self._in_doubt:
                return
            if self._stopping and time.monotonic() - self._down_since >= self._patience:
                return
            self._woken.forget()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            batch.take()

    def _answer(self) -> None:
        """Tell the broker, and whoever submitted, of all that was written."""
        if not self._untold:
            return
        untold, self._untold = self._untold, []
        shared = self.tenure is not None
        for jobs, adds, answers in untold:
            due = answer(self.broker, jobs, adds, answers, self._prefix, shared)
            if due < math.inf:
                self.backlog.delayed_until(due)
        self._tell()

    async def _commit_apart(self, error: ValueError) -> None:
        """Some row is impossible: write one at a time, and refuse that one."""
        batch = self._batch
        jobs, adds = batch.jobs, batch.adds
        batch.jobs, batch.adds = [], []
        if len(jobs) == 1 or not jobs:
            self._refuse(jobs, str(error))
            if not jobs:
                log.error("the queue refuses a batch without jobs: %s", error)
                batch.refused()
            return
        for job, add in zip(jobs, adds, strict=True):
            batch.jobs, batch.adds = [job], [add]
            await self._commit()
            self._answer()

    def _refuse(self, jobs: Sequence[Job], text: str) -> None:
        said = text.encode("utf-8", "replace")
        early = sum(job.asker is None for job in jobs)
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
        jobs = self._batch.take_back()
        if jobs:
            self._refuse(jobs, str(error))

    def _is_up(self) -> None:
        if self._down_since:
            log.warning(
                "the queue is written again, after %.1f s", time.monotonic() - self._down_since
            )
            self._down_since = 0.0
            self.broker.state.trouble = ""

    # ── the right to write ───────────────────────────────────────────────────

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
        batch = self._batch
        batch.take()
        given = [give.id for give in batch.gives]
        if self.tenure is not None:
            await self.tenure.renew(batch.ends, given)
            batch.keep_unwritten_ends()
        else:
            held = [
                row_id(handle)
                for handle, job in self.broker.state.jobs.items()
                if job.kept in (WRITING, KEPT) and job.state != PAGED
            ]
            lease = (await self.store.renew([*held, *given], batch.ends)).lease
            self.broker.state.handles.rebase(lease.id % INSTANCES, lease.floor)
        self._unsure = False
