"""Takes over the queue of a C gearmand into a store, once and whole, however often it is asked.

The jobs go to the pool, in the order of the old table. Each batch is one commit, and
with it goes the *receipt*: how many rows of this table are here by now, and a digest
of them. So whatever breaks an import off, the next one begins at the row where that
one stopped; and one that was finished is not repeated when its jobs are done and
gone from the queue. A table that has grown since is taken over from its new rows on;
one that has changed in another way is refused, for nobody knows which rows are new.

The receipt is a row of a tenant that no client belongs to, and is never due.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from geartrain.stores.ids import JobIds, coalescing_key
from geartrain.stores.old_tables import OldJob, name_of, rows_of, understand
from geartrain.stores.port import (
    Add,
    Added,
    Ending,
    JobId,
    Placement,
    QueueKey,
    QueueStore,
    StoredJob,
    StoreRefused,
)
from geartrain.terms import NORMAL

BATCH_ROWS: Final = 2000
BATCH_BYTES: Final = 4 << 20

#: Whose rows the receipts are. No tenant of clients is called so: theirs have no colon.
RECEIPTS: Final = "geartrain:import"
_NEVER: Final = 253_402_300_799.0  # 9999-12-31


@dataclass(slots=True)
class Imported:
    """What became of the rows."""

    #: Rows read, whatever became of them.
    read: int = 0
    #: ... that an earlier import has taken over.
    before: int = 0
    #: When the last earlier import ended, in seconds since 1970; 0.0 for none.
    last: float = 0.0
    stored: int = 0
    #: Jobs whose key was in the store already: one of them will run, as it would have before.
    merged: int = 0
    #: Rows left out, each with its number and the reason.
    faults: list[str] = field(default_factory=list)
    #: Jobs by function.
    functions: dict[bytes, int] = field(default_factory=dict)

    def __str__(self) -> str:
        before = f"{self.before} taken over before, " if self.before else ""
        return (
            f"{self.read} rows read: {before}{self.stored} stored, {self.merged} merged with "
            f"jobs that were there, {len(self.faults)} left out"
        )


def _silent(report: Imported) -> None:
    """Nobody watches."""


async def import_queue(
    source: str,
    store: QueueStore,
    ids: JobIds,
    *,
    tenant: str = "",
    again: bool = False,
    watch: Callable[[Imported], None] = _silent,
    wall: Callable[[], float] = time.time,
) -> Imported:
    """Read a table and add its jobs to the pool of ``store``, in the table's order.

    Stop the C server first: it knows nothing of this and goes on changing its table.

    Args:
        source: ``sqlite:///old.db?table=gearman_queue``,
            ``postgresql://host/db?table=queue``, or the path of a SQLite file.
        store: open; the jobs are durable as it makes them.
        ids: made with the lease of ``store``.
        tenant: whose jobs these are.
        again: take over what earlier imports of this table have brought, too.
        watch: told of every batch.
        wall: seconds since 1970.

    Raises:
        StoreRefused: there is no such table to be read, or it is not the one that was
            taken over before.
        StoreError: of the store. Nothing is half done: import again.
    """
    run = _Run(source, store, ids, tenant, wall)
    await run.begin(again)
    async with aclosing(rows_of(source)) as rows:
        async for row in rows:
            await run.row(row)
            watch(run.report)
    await run.end()
    watch(run.report)
    return run.report


async def survey(source: str, *, watch: Callable[[Imported], None] = _silent) -> Imported:
    """Read a table and say what an import would find in it.

    Raises:
        StoreRefused: there is no such table to be read.
    """
    report = Imported()
    async for row in rows_of(source):
        report.read += 1
        job = understand(row)
        if isinstance(job, str):
            report.faults.append(f"row {report.read}: {job}")
        else:
            report.functions[job.function] = report.functions.get(job.function, 0) + 1
        watch(report)
    return report


class _Receipt(NamedTuple):
    """What an earlier import has noted."""

    id: JobId
    read: int
    digest: str
    ended: float


class _Run:
    """One import."""

    def __init__(
        self, source: str, store: QueueStore, ids: JobIds, tenant: str, wall: Callable[[], float]
    ) -> None:
        self.report = Imported()
        self._name = name_of(source)
        self._store = store
        self._ids = ids
        self._tenant = tenant
        self._wall = wall
        self._digest = blake2b(digest_size=16)
        mark = blake2b(f"{tenant}\0{self._name}".encode(), digest_size=16).hexdigest()
        self._queue = QueueKey(RECEIPTS, mark.encode(), NORMAL)
        self._receipt: _Receipt | None = None
        #: Rows up to here are in the store.
        self._known = 0
        self._batch: list[Add] = []
        self._bytes = 0

    async def begin(self, again: bool) -> None:
        facts = await self._store.find(RECEIPTS, key=(self._queue.function, b"receipt"))
        if facts is None:
            return
        body = (await self._store.load([facts.id]))[facts.id]
        told = json.loads(body)
        self._receipt = _Receipt(facts.id, told["read"], told["digest"], told["ended"])
        if not again:
            self._known = self._receipt.read
            self.report.last = self._receipt.ended

    async def row(self, row: tuple[Any, ...]) -> None:
        report = self.report
        report.read += 1
        if report.read <= self._known:
            self._note(row)
            report.before += 1
            if report.read == self._known:
                self._compare()
            return
        job = understand(row)
        if isinstance(job, str):
            report.faults.append(f"row {report.read}: {job}")
        elif len(job.body) > self._store.traits.max_body:
            report.faults.append(
                f"row {report.read}: {len(job.body)} bytes, the store takes "
                f"{self._store.traits.max_body}"
            )
        else:
            size = len(job.body)
            if self._batch and self._bytes + size > BATCH_BYTES:
                await self._flush(report.read - 1)
            self._batch.append(Add(self._stored(job), Placement.POOL))
            self._bytes += size
            report.functions[job.function] = report.functions.get(job.function, 0) + 1
        self._note(row)
        if len(self._batch) >= min(BATCH_ROWS, self._store.traits.max_batch - 2):
            await self._flush(report.read)

    async def end(self) -> None:
        if self.report.read < self._known:
            self._changed()
        if self.report.read > self._known or self._receipt is None:
            await self._flush(self.report.read)

    def _note(self, row: tuple[Any, ...]) -> None:
        """The row is one of those that the receipt speaks of."""
        for value in row:
            data = value if isinstance(value, bytes) else str(value).encode()
            self._digest.update(b"%d:" % len(data))
            self._digest.update(data)

    def _compare(self) -> None:
        assert self._receipt is not None
        if self._digest.hexdigest() != self._receipt.digest:
            self._changed()

    def _changed(self) -> None:
        assert self._receipt is not None
        raise StoreRefused(
            f"{self._name} is not as it was when {self._receipt.read} rows of it were taken over,"
            f" on {time.strftime('%Y-%m-%d %H:%M', time.localtime(self._receipt.ended))}, so nobody"
            " can say which rows are new; nothing was changed. To take over all that is in it now,"
            " say --again"
        )

    async def _flush(self, read: int) -> None:
        """One commit: the jobs, and the receipt for them."""
        digest, now = self._digest.hexdigest(), self._wall()
        told = {"table": self._name, "read": read, "digest": digest, "ended": now}
        body = json.dumps(told).encode()
        receipt = StoredJob(
            self._ids.next(), self._queue, body, b"receipt", b"receipt", run_at=_NEVER
        )
        old = [Ending(self._receipt.id)] if self._receipt is not None else []
        done = await self._store.commit([*self._batch, Add(receipt, Placement.POOL)], old, [])
        for answer in done.added[:-1]:
            if answer.outcome is Added.STORED:
                self.report.stored += 1
            else:
                self.report.merged += 1
        self._receipt = _Receipt(receipt.id, read, digest, now)
        self._batch = []
        self._bytes = 0

    def _stored(self, job: OldJob) -> StoredJob:
        key = coalescing_key(job.unique, job.body)
        queue = QueueKey(self._tenant, job.function, job.priority)
        return StoredJob(self._ids.next(), queue, job.body, job.unique, key, job.run_at)
