"""What the store contract stands on: servers to play with, hooks for the store under test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

import pytest
import pytest_asyncio

from geartrain.stores.ids import JobIds, coalescing_key
from geartrain.stores.port import (
    FIRST,
    Add,
    Added,
    AddResult,
    Count,
    Ending,
    Give,
    JobId,
    Lease,
    Placement,
    QueueKey,
    QueueStore,
    Renewed,
    StoredJob,
    StoreError,
    Where,
)

MINE, POOL = Placement.MINE, Placement.POOL
STORED, MERGED = Added.STORED, Added.MERGED
QUEUE = QueueKey("", b"resize", 1)
PLENTY = 1 << 30
#: Longer than any test takes.
TTL = 600.0

MakeStore = Callable[[], QueueStore]


class FakeServer:
    """A job server's side of a store: a lease, ids, and the calls in short form."""

    def __init__(self, store: QueueStore, name: str) -> None:
        self.store = store
        self.name = name
        self.lease = Lease(id=0, floor=FIRST)  # type: ignore[arg-type]
        self.ids = JobIds(self.lease, time.time)

    async def open(self, *, takeover: bool = False) -> FakeServer:
        self.lease = await self.store.open(self.name, TTL, takeover=takeover)
        self.ids = JobIds(self.lease, time.time)
        return self

    def job(
        self,
        body: bytes = b"body",
        *,
        queue: QueueKey = QUEUE,
        unique: bytes = b"",
        run_at: float | None = None,
    ) -> StoredJob:
        key = coalescing_key(unique, body)
        return StoredJob(self.ids.next(), queue, body, unique, key, run_at)

    async def add(self, *jobs: StoredJob, placement: Placement = POOL) -> list[AddResult]:
        done = await self.store.commit([Add(job, placement) for job in jobs], [], [])
        return list(done.added)

    async def end(self, *ids: JobId) -> Sequence[JobId]:
        return (await self.store.commit([], [Ending(id) for id in ids], [])).missed

    async def give(self, *gives: Give) -> Sequence[JobId]:
        return (await self.store.commit([], [], list(gives))).missed

    async def bury(self, job: StoredJob, reason: str = "tired") -> None:
        await self.add(job, placement=MINE)
        await self.store.commit([], [Ending(job.id, reason, 3, "w1")], [])

    async def claim(self, queue: QueueKey = QUEUE, limit: int = 1000) -> list[StoredJob]:
        return list(await self.store.claim(queue, limit, PLENTY))

    async def bodies(self, queue: QueueKey = QUEUE) -> list[bytes | None]:
        return [job.body for job in await self.claim(queue)]

    async def count(self, queue: QueueKey = QUEUE) -> Count:
        return (await self.store.counts()).get(queue, Count())

    async def where(self, id: JobId, tenant: str = "") -> Where | None:
        facts = await self.store.find(tenant, id=id)
        return facts.where if facts else None

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending] = ()) -> Renewed:
        renewed = await self.store.renew(keep, ended)
        self.lease = renewed.lease
        self.ids.rebase(renewed.lease)
        return renewed


Servers = Callable[[str], Awaitable[FakeServer]]


class StoreKit:
    """Hooks and fixtures; the promises are in the classes derived from it."""

    pytestmark = pytest.mark.asyncio

    # ── what a store's own test class gives ──────────────────────────────────

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """A function that returns a store, not open, on the same data each time."""
        raise NotImplementedError("give your test class a make_store fixture")

    async def expire(self, store: QueueStore, lease: Lease) -> None:
        """Let the time of this lease run out, without waiting for it."""
        pytest.skip("cannot turn this store's clock")

    async def lose_next_answer(self, store: QueueStore) -> None:
        """Have the next commit kept, and its answer lost on the way."""
        pytest.skip("cannot cut this store's connection")

    async def take_away(self, store: QueueStore) -> None:
        """Make the store unreachable."""
        pytest.skip("cannot take this store away")

    async def bring_back(self, store: QueueStore) -> None:
        """Make it reachable again."""

    async def verify(self, store: QueueStore) -> None:
        """Compare what the store counts with what it holds; called after each test."""

    # ── fixtures ─────────────────────────────────────────────────────────────

    @pytest_asyncio.fixture
    async def servers(self, make_store: MakeStore) -> AsyncIterator[Servers]:
        """Opens servers by name; all are closed in the end."""
        opened: list[FakeServer] = []

        async def serve(name: str) -> FakeServer:
            server = FakeServer(make_store(), name)
            opened.append(server)
            return await server.open()

        yield serve
        if opened:
            with suppress(StoreError):
                await self.verify(opened[-1].store)
        for server in opened:
            with suppress(StoreError):
                await server.store.close()

    @pytest_asyncio.fixture
    async def one(self, servers: Servers) -> FakeServer:
        return await servers("one")

    @pytest_asyncio.fixture
    async def two(self, one: FakeServer, servers: Servers) -> FakeServer:
        if not one.store.traits.shared:
            pytest.skip("one server only")
        return await servers("two")

    async def restart(self, server: FakeServer, servers: Servers) -> FakeServer:
        await server.store.close()
        return await servers(server.name)

    async def fence(self, server: FakeServer, *, by: FakeServer) -> None:
        """Have ``by`` find the lease of ``server`` run out."""
        await self.expire(by.store, server.lease)
        await by.store.adopt()
