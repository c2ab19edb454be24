"""The reference store: what the port means, in plain dictionaries.

Nothing survives the process. ``MemoryWorld`` is what a database is to the real
stores: several ``MemoryStore`` of one world are several servers, with leases and
fences, so that what happens between servers can be tested in microseconds and
with a clock that the test turns.

Nothing here awaits, so each verb is a transaction.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from geartrain.stores.batch import complete, plan
from geartrain.stores.port import (
    FIRST,
    Add,
    Added,
    AddResult,
    Ambiguous,
    Committed,
    Count,
    DeadJob,
    Due,
    Ending,
    Give,
    JobFacts,
    JobId,
    Lease,
    LeaseId,
    LeaseLost,
    Placement,
    QueueKey,
    Renewed,
    Room,
    StoredJob,
    StoreDown,
    StoreRefused,
    Traits,
    Where,
)
from geartrain.stores.url import StoreUrl

_TRAITS = Traits(shared=True, durable="none", max_body=1 << 30, max_batch=10_000, news=True)

Key = tuple[str, bytes, bytes]


@dataclass(slots=True)
class _Row:
    job: StoredJob
    owner: LeaseId | None


@dataclass(slots=True)
class _Holder:
    server: str
    ttl: float
    expires: float
    live: bool = True


@dataclass
class MemoryWorld:
    """What servers share: the rows, the dead, the leases."""

    #: Seconds; for leases only, so one clock serves as wall and steady.
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    rows: dict[JobId, _Row] = field(default_factory=dict)
    #: Rows with a key.
    keys: dict[Key, JobId] = field(default_factory=dict)
    #: Ids in the pool, ascending.
    pools: dict[QueueKey, list[JobId]] = field(default_factory=dict)
    #: (run_at, id), ascending.
    delayed: list[tuple[float, JobId]] = field(default_factory=list)
    dead: dict[JobId, DeadJob] = field(default_factory=dict)
    leases: dict[LeaseId, _Holder] = field(default_factory=dict)
    floor: JobId = FIRST
    next_lease: int = 1
    stores: list[MemoryStore] = field(default_factory=list)
    #: Set by a test: the next commit is kept, and its answer lost.
    lose_next_answer: bool = False
    #: Set by a test: nothing can be reached, for this reason.
    down: str = ""

    # ── rows ─────────────────────────────────────────────────────────────────

    def put(self, job: StoredJob, owner: LeaseId | None) -> None:
        """Write a row; one that waits for its time is nobody's."""
        if job.run_at is not None:
            owner = None
            insort(self.delayed, (job.run_at, job.id))
        elif owner is None:
            insort(self.pools.setdefault(job.queue, []), job.id)
        self.pools.setdefault(job.queue, [])
        self.rows[job.id] = _Row(job, owner)
        if job.key is not None:
            self.keys[_key(job)] = job.id
        self.floor = max(self.floor, job.id)

    def take_out(self, id: JobId) -> _Row:
        """Remove a row from every table."""
        row = self.rows.pop(id)
        job = row.job
        if job.run_at is not None:
            del self.delayed[bisect_left(self.delayed, (job.run_at, id))]
        elif row.owner is None:
            pool = self.pools[job.queue]
            del pool[bisect_left(pool, id)]
        if job.key is not None:
            del self.keys[_key(job)]
        return row

    def fence(self, lease: LeaseId) -> None:
        """End a lease; its rows wait to be released."""
        holder = self.leases.get(lease)
        if holder is not None:
            holder.live = False

    def release(self) -> int:
        """Move the rows of ended leases to the pool."""
        ended = {id for id, holder in self.leases.items() if not holder.live}
        orphans = [id for id, row in self.rows.items() if row.owner in ended]
        for id in orphans:
            self.put(self.take_out(id).job, None)
        for lease in ended:
            del self.leases[lease]
        return len(orphans)


def _key(job: StoredJob) -> Key:
    assert job.key is not None
    return (job.queue.tenant, job.queue.function, job.key)


def from_url(url: StoreUrl) -> MemoryStore:
    """``ram://``: everything in this process, for tests and trials."""
    url.only()
    return MemoryStore()


class MemoryStore:
    """One server's view of a ``MemoryWorld``."""

    def __init__(self, world: MemoryWorld | None = None) -> None:
        self.world = world or MemoryWorld()
        self._lease = LeaseId(0)
        self._server = ""
        self._ttl = 0.0
        self._call: Callable[[QueueKey], None] | None = None
        self._asked: Callable[[bytes], Awaitable[bytes]] | None = None

    @property
    def traits(self) -> Traits:
        return _TRAITS

    # ── leases ───────────────────────────────────────────────────────────────

    async def open(self, server: str, ttl: float, *, takeover: bool = False) -> Lease:
        world = self._world()
        now = world.clock()
        for id, holder in world.leases.items():
            if holder.server == server and holder.live and holder.expires > now:
                if not takeover:
                    raise StoreRefused(
                        f"a server called {server!r} has this store open; give this one another "
                        f"name, wait {holder.expires - now:.1f} s, or take over"
                    )
                world.fence(id)
        self._server = server
        self._ttl = ttl
        world.stores.append(self)
        return self._new_lease()

    def _new_lease(self) -> Lease:
        world = self._world()
        self._lease = LeaseId(world.next_lease)
        world.next_lease += 1
        world.leases[self._lease] = _Holder(self._server, self._ttl, world.clock() + self._ttl)
        return Lease(self._lease, world.floor, self._ttl)

    def _world(self) -> MemoryWorld:
        if self.world.down:
            raise StoreDown(self.world.down)
        return self.world

    def _live(self) -> MemoryWorld:
        world = self._world()
        holder = world.leases.get(self._lease)
        if holder is None or not holder.live:
            raise LeaseLost(f"lease {self._lease} of {self._server!r} has ended")
        return world

    async def heartbeat(self) -> float:
        world = self._live()
        now = world.clock()
        world.leases[self._lease].expires = now + self._ttl
        return now + 0.8 * self._ttl

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        world = self._world()
        old = self._lease
        world.fence(old)
        lease = self._new_lease()
        for end in ended:
            self._end(end, old)
        kept = []
        for id in keep:
            row = world.rows.get(id)
            if row is not None and row.owner in (None, old) and row.job.run_at is None:
                world.put(world.take_out(id).job, lease.id)
                kept.append(id)
        return Renewed(lease, kept)

    async def adopt(self) -> int:
        world = self._world()
        now = world.clock()
        for holder in world.leases.values():
            if holder.expires <= now:
                holder.live = False
        before = {queue: len(pool) for queue, pool in world.pools.items()}
        freed = world.release()
        self._tell([queue for queue, pool in world.pools.items() if len(pool) > before[queue]])
        return freed

    async def close(self, *, release: bool = True) -> None:
        if self in self.world.stores:
            self.world.stores.remove(self)
            if release:
                self.world.fence(self._lease)
                self.world.release()

    # ── writing ──────────────────────────────────────────────────────────────

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        todo = plan(adds, ends, gives, self.traits)
        world = self._live()
        missed = [
            end.id
            for end in todo.ends
            if not self._end(end, self._lease) and end.id not in todo.elided
        ]
        news = []
        for job, end in todo.stillborn:
            world.dead.setdefault(job.id, self._buried(job, end))
            world.floor = max(world.floor, job.id)
        for give in todo.gives:
            row = world.rows.get(give.id)
            if row is None or row.owner != self._lease:
                missed.append(give.id)
                continue
            job = world.take_out(give.id).job
            if give.attempts is not None:
                job = job.but(attempts=give.attempts)
            job = job.but(run_at=give.run_at)
            stays = give.placement is Placement.MINE and give.run_at is None
            world.put(job, self._lease if stays else None)
            news += [] if stays else [job.queue]
        for place, add in zip(todo.places, todo.adds, strict=True):
            todo.answers[place] = self._add(add)
            news += [] if add.placement is Placement.MINE else [add.job.queue]
        self._tell(news)
        if world.lose_next_answer:
            world.lose_next_answer = False
            raise Ambiguous("the answer was lost")
        return Committed(complete(todo.answers), missed)

    def _end(self, end: Ending, me: LeaseId) -> bool:
        world = self.world
        row = world.rows.get(end.id)
        if row is None or row.owner not in (None, me):
            return False
        job = world.take_out(end.id).job
        if end.dead is not None:
            world.dead.setdefault(job.id, self._buried(job, end))
        return True

    def _buried(self, job: StoredJob, end: Ending) -> DeadJob:
        attempts = job.attempts if end.attempts is None else end.attempts
        job = job.but(attempts=attempts, run_at=None)
        size = len(job.body or b"")
        return DeadJob(job, size, end.dead or "", end.worker, self.world.wall())

    def _add(self, add: Add) -> AddResult:
        world, job = self.world, add.job
        row = world.rows.get(job.id)
        if row is not None:
            mine = row.owner == self._lease
            return AddResult(Added.STORED, job.id, Placement.MINE if mine else Placement.POOL)
        if job.key is not None and (holder := world.keys.get(_key(job))):
            mine = world.rows[holder].owner == self._lease
            return AddResult(Added.MERGED, holder, Placement.MINE if mine else Placement.POOL)
        mine = add.placement is Placement.MINE and job.run_at is None
        world.put(job, self._lease if mine else None)
        return AddResult(Added.STORED, job.id, Placement.MINE if mine else Placement.POOL)

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        world = self._live()
        claimed: list[StoredJob] = []
        room = max_bytes
        for id in world.pools.get(queue, [])[:limit]:
            job = world.rows[id].job
            size = len(job.body or b"")
            if max_body is not None and size > max_body:
                job = job.but(body=None)
                size = 0
            if claimed and size > room:
                break
            room -= size
            claimed.append(job)
        for job in claimed:
            world.put(world.take_out(job.id).job, self._lease)
        return claimed

    async def due(self, now: float, limit: int) -> Due:
        world = self._world()
        ripe = world.delayed[: min(limit, bisect_right(world.delayed, (now, JobId(1 << 63))))]
        moved: dict[QueueKey, int] = {}
        for _, id in ripe:
            job = world.take_out(id).job
            world.put(job.but(run_at=None), None)
            moved[job.queue] = moved.get(job.queue, 0) + 1
        self._tell(moved)
        return Due(moved, world.delayed[0][0] if world.delayed else None)

    # ── reading ──────────────────────────────────────────────────────────────

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        rows = self._world().rows
        return {id: rows[id].job.body or b"" for id in ids if id in rows}

    async def counts(self) -> Mapping[QueueKey, Count]:
        world = self._world()
        delayed: dict[QueueKey, int] = {}
        for _, id in world.delayed:
            queue = world.rows[id].job.queue
            delayed[queue] = delayed.get(queue, 0) + 1
        return {q: Count(len(pool), delayed.get(q, 0)) for q, pool in world.pools.items()}

    async def find(
        self, tenant: str, *, id: JobId | None = None, key: tuple[bytes, bytes] | None = None
    ) -> JobFacts | None:
        world = self._world()
        if key is not None:
            id = world.keys.get((tenant, *key))
        row = world.rows.get(id) if id is not None else None
        return self._facts(row) if row and row.job.queue.tenant == tenant else None

    async def holders(self, tenant: str, key: bytes) -> Sequence[JobFacts]:
        world = self._world()
        found = [
            id for (owner, _, name), id in world.keys.items() if (owner, name) == (tenant, key)
        ]
        return [self._facts(world.rows[id]) for id in found]

    async def scan(
        self, tenant: str | None, after: JobId, limit: int, *, function: bytes | None = None
    ) -> Sequence[JobFacts]:
        rows = self._world().rows
        wanted = sorted(
            id
            for id, row in rows.items()
            if id > after and _matches(row.job.queue, tenant, function)
        )
        return [self._facts(rows[id]) for id in wanted[:limit]]

    def _facts(self, row: _Row) -> JobFacts:
        job = row.job
        holder = self.world.leases.get(row.owner) if row.owner is not None else None
        if job.run_at is not None:
            where = Where.DELAYED
        elif row.owner is None:
            where = Where.POOL
        else:
            where = Where.MINE if row.owner == self._lease else Where.ELSEWHERE
        size = len(job.body or b"")
        server = holder.server if holder else ""
        return JobFacts(
            job.id, job.queue, job.unique, size, job.run_at, job.attempts, where, server
        )

    # ── the dead ─────────────────────────────────────────────────────────────

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        dead = self._world().dead
        wanted = sorted(
            id
            for id, one in dead.items()
            if id > after and _matches(one.job.queue, tenant, function)
        )
        page = [dead[id] for id in wanted[:limit]]
        return page if bodies else [one._replace(job=one.job.but(body=None)) for one in page]

    async def dead_show(self, id: JobId) -> DeadJob | None:
        return self._world().dead.get(id)

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        world = self._world()
        went = []
        for id in sorted(set(ids)):
            one = world.dead.get(id)
            if one is None or id in world.rows:
                continue
            if one.job.key is not None and _key(one.job) in world.keys:
                continue
            del world.dead[id]
            world.put(one.job.but(attempts=0), None)
            self._tell([one.job.queue])
            went.append(id)
        return went

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        dead = self._world().dead
        return sum(dead.pop(id, None) is not None for id in ids)

    # ── the rest ─────────────────────────────────────────────────────────────

    def on_news(self, call: Callable[[QueueKey], None]) -> None:
        self._call = call

    async def ask(self, id: JobId, question: bytes) -> bytes | None:
        row = self._world().rows.get(id)
        if row is not None and row.owner is not None:
            for store in self.world.stores:
                if store is not self and row.owner == store._lease and store._asked is not None:
                    return await store._asked(question)
        return None

    def on_asked(self, call: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._asked = call

    def _tell(self, queues: Sequence[QueueKey] | Mapping[QueueKey, int]) -> None:
        for store in self.world.stores:
            if store is not self and store._call is not None:
                for queue in dict.fromkeys(queues):
                    store._call(queue)

    def room(self) -> Room | None:
        return None

    async def tidy(self) -> bool:
        return False


def _matches(queue: QueueKey, tenant: str | None, function: bytes | None) -> bool:
    return tenant in (None, queue.tenant) and function in (None, queue.function)
