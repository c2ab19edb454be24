"""A random story, told to the reference and to another store: both must answer the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geartrain.stores.ids import JobIds
from geartrain.stores.memory import MemoryStore, MemoryWorld
from geartrain.stores.port import (
    FIRST,
    Add,
    Ending,
    Give,
    JobId,
    Lease,
    LeaseId,
    Placement,
    QueueKey,
    QueueStore,
    StoredJob,
)
from geartrain.stores.sqlite import SqliteStore
from tests.stores.postgres_server import Cluster, Place
from tests.stores.sqlite.test_contract import recount

Check = Callable[[QueueStore], Awaitable[None]]

QUEUES = [QueueKey("", b"f", 1), QueueKey("", b"f", 0), QueueKey("acme", b"f", 1)]

adds = st.tuples(
    st.just("add"),
    st.sampled_from(QUEUES),
    st.sampled_from([None, None, b"k1", b"k2"]),
    st.sampled_from([None, None, None, 5.0, 50.0]),
    st.sampled_from(Placement),
)
#: ``n`` chooses among the ids of the story so far.
n = st.integers(0, 1000)
again = st.tuples(st.just("again"), n, st.sampled_from(Placement))
ends = st.tuples(st.just("end"), n, st.sampled_from([None, "tired"]))
gives = st.tuples(
    st.just("give"), n, st.sampled_from(Placement), st.sampled_from([None, 5.0]),
    st.sampled_from([None, 1, 2]),
)  # fmt: skip
commits = st.tuples(st.just("commit"), st.lists(adds | again | ends | gives, max_size=6))
others = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(QUEUES), st.integers(1, 4)),
    st.tuples(st.just("due"), st.sampled_from([1.0, 10.0, 100.0])),
    st.tuples(st.just("retry"), n),
    st.tuples(st.just("bury"), n),
    st.tuples(st.just("renew"), st.lists(n, max_size=3), st.lists(n, max_size=2)),
    st.just(("restart",)),
    st.just(("look",)),
)
stories = st.lists(st.one_of(commits, commits, others), max_size=25)


class Teller:
    """Tells each sentence to both stores and compares what they say."""

    def __init__(
        self, make: Callable[[], QueueStore], check: Check, *, look_always: bool = True
    ) -> None:
        """
        Args:
            make: the other store, not open, on the same data each time.
            check: that it counts what it holds.
            look_always: list all jobs after each sentence, and not only when it says so.
        """
        self.look_always = look_always
        self.make = make
        self.check = check
        self.world = MemoryWorld(clock=lambda: 0.0, wall=lambda: 7.0)
        self.jobs: list[StoredJob] = []
        self.ids = JobIds(Lease(LeaseId(1), FIRST), lambda: 1.7e9)
        self.stores: list[QueueStore] = []

    async def open(self) -> None:
        self.stores = [MemoryStore(self.world), self.make()]
        for store in self.stores:
            await store.open("one", 1e6)
            await store.adopt()

    async def close(self) -> None:
        for store in self.stores:
            await store.close()

    def id(self, number: int) -> JobId:
        return self.jobs[number % len(self.jobs)].id if self.jobs else JobId(1)

    async def tell(self, sentence: tuple[object, ...]) -> None:
        match sentence:
            case ("look",):
                await self.look()
            case ("restart",):
                await self.close()
                await self.open()
            case ("commit", list() as parts):
                await self.commit(parts)
            case ("claim", QueueKey() as queue, int() as limit):
                self.same([await s.claim(queue, limit, 1 << 20) for s in self.stores])
            case ("due", float() as now):
                due = [await s.due(now, 3) for s in self.stores]
                self.same([(dict(d.moved), d.next) for d in due])
            case ("retry", int() as number):
                self.same([await s.dead_retry([self.id(number)]) for s in self.stores])
            case ("bury", int() as number):
                self.same([await s.dead_delete([self.id(number)]) for s in self.stores])
            case ("renew", list() as keep, list() as ended):
                kept = list(dict.fromkeys(self.id(k) for k in keep))
                over = [Ending(id) for id in {self.id(e) for e in ended} - set(kept)]
                answers = [sorted((await s.renew(kept, over)).kept) for s in self.stores]
                for store in self.stores:
                    await store.adopt()
                self.same(answers)
        await self.compare()

    async def commit(self, parts: Sequence[tuple[object, ...]]) -> None:
        adds: dict[JobId, Add] = {}
        ends: list[Ending] = []
        gives: list[Give] = []
        for part in parts:
            match part:
                case ("add", QueueKey() as queue, key, run_at, Placement() as placement):
                    assert key is None or isinstance(key, bytes)
                    assert run_at is None or isinstance(run_at, float)
                    id = self.ids.next()
                    job = StoredJob(id, queue, b"%d" % id, key or b"", key, run_at)
                    self.jobs.append(job)
                    adds[id] = Add(job, placement)
                case ("again", int() as number, Placement() as placement) if self.jobs:
                    job = self.jobs[number % len(self.jobs)]
                    adds[job.id] = Add(job, placement)
                case ("end", int() as number, reason):
                    assert reason is None or isinstance(reason, str)
                    ends.append(Ending(self.id(number), reason, 9, "w"))
                case ("give", int() as number, Placement() as placement, run_at, attempts):
                    assert run_at is None or isinstance(run_at, float)
                    assert attempts is None or isinstance(attempts, int)
                    gives.append(Give(self.id(number), placement, run_at, attempts))
        done = [await s.commit(list(adds.values()), ends, gives) for s in self.stores]
        self.same([(list(d.added), sorted(d.missed)) for d in done])

    async def compare(self) -> None:
        if self.look_always:
            await self.look()
        self.same([await s.dead_list(None, FIRST, 1000, bodies=True) for s in self.stores])
        counts = [await s.counts() for s in self.stores]
        self.same([{q: c for q, c in each.items() if any(c)} for each in counts])
        await self.check(self.stores[1])

    async def look(self) -> None:
        self.same([await s.scan(None, FIRST, 1000) for s in self.stores])

    def same(self, answers: Sequence[object]) -> None:
        assert answers[0] == answers[1]


async def tell(
    story: Sequence[tuple[object, ...]],
    make: Callable[[], QueueStore],
    check: Check,
    *,
    look_always: bool = True,
) -> None:
    """Tell a whole story."""
    teller = Teller(make, check, look_always=look_always)
    await teller.open()
    try:
        for sentence in story:
            await teller.tell(sentence)
        await teller.look()
        await teller.compare()
    finally:
        await teller.close()


class RelaxedSqliteStore(SqliteStore):
    """A story is long, and the power stays on."""

    async def open(self, server: str, ttl: float, *, takeover: bool = False) -> Lease:
        lease = await super().open(server, ttl, takeover=takeover)
        assert self._writer is not None
        self._writer.db.execute("PRAGMA synchronous = OFF")
        self._writer.log.most_jobs = self.most_logged
        return lease

    #: So few, that most of a story's jobs are moved on.
    most_logged = 4


async def file_counts_right(store: QueueStore) -> None:
    recount(store)


@given(stories)
def test_the_file_answers_as_the_reference_does(story: Sequence[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        asyncio.run(
            tell(story, lambda: RelaxedSqliteStore(path, wall=lambda: 7.0), file_counts_right)
        )


@given(stories)
def test_jobs_in_the_log_are_as_good_as_rows(story: Sequence[tuple[object, ...]]) -> None:
    # Whoever lists jobs has them all made rows, so nobody does before the end.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        asyncio.run(
            tell(
                story,
                lambda: RelaxedSqliteStore(path, wall=lambda: 7.0),
                file_counts_right,
                look_always=False,
            )
        )


@pytest.mark.slow
@settings(max_examples=15)
@given(story=stories)
def test_the_database_answers_as_the_reference_does(
    cluster: Cluster, story: Sequence[tuple[object, ...]]
) -> None:
    from geartrain.stores.postgres import PostgresStore

    async def run() -> None:
        place = Place(cluster)
        await place.ask(f"CREATE SCHEMA {place.schema}")
        url = place.url()
        await tell(story, lambda: PostgresStore(url, wall=lambda: 7.0), lambda _: place.recount())
        await place.ask(f"DROP SCHEMA {place.schema} CASCADE")

    asyncio.run(run())
