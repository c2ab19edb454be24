"""What the store is to be told next: the broker's wishes, in the store's words.

A batch grows until it is written: what the broker wishes while one is in flight, or while
the store is down, is taken into the next, with what was refused left out. Ends are gathered
at any time, for whoever brings jobs back has to know which of them are over already
(``is_over``); until the store has forgotten such a row it may still be claimed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.graveyard import Burial
from geartrain.broker.tables import KEPT, Function, Job
from geartrain.server.backlog import NOBODY
from geartrain.server.store_rows import ends_of, rows_of
from geartrain.stores.ids import coalescing_key, id_of
from geartrain.stores.port import Give, QueueStore
from geartrain.stores.records import Add, Ending, JobId, Placement, QueueKey, StoredJob

log = logging.getLogger("geartrain.server")

#: One commit at most.
BATCH_ADDS: Final = 1000
BATCH_BYTES: Final = 4 * 2**20
#: Functions whose queues' names are kept from batch to batch.
MOST_QUEUES: Final = 1000


class Batch:
    """What is to be written.

    Args:
        store: what it is for.
        broker: it has the wishes.

    Attributes:
        jobs, adds: jobs to be kept, and what the store is to keep of them.
        ends: rows to be forgotten, or to be moved to the dead.
        gives: rows that go back to the pool, or have new attempts.
        stillborn: rows of dead jobs that were not kept while they lived; their ends are in
            ``ends``.
    """

    def __init__(self, store: QueueStore, broker: Broker) -> None:
        self._store = store
        self._broker = broker
        self.jobs: list[Job] = []
        self.adds: list[Add] = []
        self.ends: list[Ending] = []
        self.gives: list[Give] = []
        self.stillborn: list[Add] = []
        #: Names of queues that were used, by priority.
        self._queues: dict[Function, list[QueueKey]] = {}
        #: Ends that are in no batch yet.
        self._ended: list[Ending] = []
        #: Rows that are over and may still be claimed.
        self._ending: set[JobId] = set()
        #: Rows whose end somebody waits for.
        self._awaited: dict[JobId, asyncio.Future[None]] = {}

    @property
    def empty(self) -> bool:
        """Nothing is to be written."""
        return not (self.adds or self.ends or self.gives)

    @property
    def rows(self) -> list[Add]:
        """Rows to be written: those of ``adds`` first."""
        return self.adds + self.stillborn if self.stillborn else self.adds

    @property
    def all_written(self) -> bool:
        """Everything that was wished is on the disk."""
        state = self._broker.state
        return not (
            self.adds
            or self.ends
            or self.gives
            or self._ended
            or state.adds
            or state.ends
            or state.retried
            or state.gifts
            or state.burials
            or state.postponed
            or state.later
        )

    # ── taking in ────────────────────────────────────────────────────────────

    def take(self) -> bool:
        """Make the next batch; False when there is nothing to write."""
        broker = self._broker
        if not self.adds:
            self.jobs = broker.take_adds(BATCH_ADDS, BATCH_BYTES)
            if len(self._queues) > MOST_QUEUES:
                self._queues = {}
            self.adds = rows_of(self.jobs, self._queues)
        self._gather_ends()
        self.ends.extend(self._ended)
        self._ended.clear()
        for burial in broker.take_burials():
            self._bury(burial)
        for job in broker.take_retried():
            if job.kept == KEPT:
                self.gives.append(Give(row_id(job.handle), Placement.MINE, None, job.attempts))
        for one in broker.take_postponed():
            give = Give(row_id(one.handle), Placement.POOL, one.until, one.attempts)
            self.gives.append(give)
        for gift in broker.take_gifts():
            self.gives.append(Give(row_id(gift.handle), Placement.POOL, None, gift.attempts))
        return bool(self.adds or self.ends or self.gives)

    def _bury(self, burial: Burial) -> None:
        """A job that was given up: its row moves to the dead set, or is written there."""
        id = row_id(burial.handle)
        reason = burial.reason.decode("utf-8", "backslashreplace")
        worker = burial.worker.decode("utf-8", "backslashreplace")
        if not burial.stored:
            if len(burial.body) > self._store.traits.max_body:
                log.error("dead job %s is too large for the queue", burial.handle.decode())
                return
            key = coalescing_key(burial.unique, burial.body)
            queue = QueueKey(NOBODY, burial.function, burial.priority)
            row = StoredJob(
                id, queue, burial.body, burial.unique, key, None, burial.reducer or None,
                burial.attempts,
            )  # fmt: skip
            self.stillborn.append(Add(row, Placement.MINE))
        self.ends.append(Ending(id, reason, burial.attempts, worker))
        self._ending.add(id)

    def _gather_ends(self) -> None:
        jobs = self._broker.take_ends()
        if jobs:
            ends = ends_of(jobs)
            self._ended += ends
            self._ending.update([end.id for end in ends])

    def end(self, id: JobId) -> asyncio.Future[None]:
        """Have this row ended; the answer comes when the store knows of it."""
        self._ended.append(Ending(id))
        self._ending.add(id)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[id] = written
        return written

    def end_alone(self, id: JobId) -> None:
        """Nobody waits for that any more."""
        self._awaited.pop(id, None)

    def is_over(self, id: JobId) -> bool:
        """This row is to be ended, or is just being."""
        self._gather_ends()
        return id in self._ending

    # ── letting go ───────────────────────────────────────────────────────────

    def written(self) -> None:
        """The store has it all."""
        ends = self.ends
        self._clear()
        if ends:
            self._forget_ends([end.id for end in ends])

    def refused(self) -> None:
        """The store has none of it, and never will."""
        self._clear()

    def _clear(self) -> None:
        self.jobs, self.adds, self.ends, self.gives, self.stillborn = [], [], [], [], []

    def take_back(self) -> list[Job]:
        """The jobs that wait to be kept, here and in the broker, for they are to wait no more."""
        jobs = self.jobs
        self.jobs, self.adds = [], []
        waiting = self._broker.take_adds(BATCH_ADDS, BATCH_BYTES)
        while waiting:
            jobs += waiting
            waiting = self._broker.take_adds(BATCH_ADDS, BATCH_BYTES)
        return jobs

    def keep_unwritten_ends(self) -> None:
        """The store knows of all ends, but for those of rows that it is still to get."""
        writing = {add.job.id for add in self.adds}
        writing.update(add.job.id for add in self.stillborn)
        ended = self.ends
        # What ended before its row was written still has to keep it from being written.
        self.ends = [end for end in ended if end.id in writing]
        # The others are ended, or are another server's: should one of those come back
        # from the pool, it is a job like any other.
        self._forget_ends([end.id for end in ended if end.id not in writing])

    def _forget_ends(self, ids: list[JobId]) -> None:
        """The store knows of these ends; who waited for one goes on."""
        self._ending.difference_update(ids)
        for id in self._awaited.keys() & set(ids) if self._awaited else ():
            if not self._awaited[id].done():
                self._awaited[id].set_result(None)


def row_id(handle: bytes) -> JobId:
    """The id in the handle of a job that is kept."""
    id = id_of(handle)
    assert id is not None, handle
    return id
