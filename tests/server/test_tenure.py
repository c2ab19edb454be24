"""What keeps a server's right to its jobs: heartbeats, looks for the dead, new leases."""

from __future__ import annotations

import logging

import pytest

from geartrain.broker.tables import Job
from geartrain.server.store_writer import StoreWriter
from geartrain.server.tenure import Tenure
from geartrain.stores.ids import id_of
from geartrain.stores.memory import MemoryStore, MemoryWorld
from geartrain.stores.port import Add, Ending, JobId, Placement, QueueKey, StoredJob
from geartrain.terms import NORMAL
from tests.broker.mind import Mind

TTL = 9.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Holder:
    """A broker and its tenure, in a world whose clock the test turns."""

    def __init__(self, world: MemoryWorld, clock: Clock) -> None:
        self.clock = clock
        self.store = MemoryStore(world)
        self.mind = Mind(durable=True)
        self.client = self.mind.join()
        self.worker = self.mind.worker(b"f")
        self.calls: list[str] = []

    async def open(self, name: str) -> Holder:
        lease = await self.store.open(name, TTL)
        self.tenure = Tenure(
            self.store,
            self.mind.broker,
            lease,
            lost=lambda: self.calls.append("lost"),
            freed=lambda: self.calls.append("freed"),
            tell=lambda: self.calls.append("tell"),
            patience=5.0,
            steady=self.clock,
        )
        assert await self.tenure.beat() == pytest.approx(TTL / 3)
        self.tick()
        return self

    def tick(self) -> None:
        self.mind.broker.tick(1.7e9 + self.clock.now, self.clock.now)
        self.mind.agree()

    def said(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls

    async def outlive(self, other: Holder) -> int:
        """Go on until the other's lease has ended; returns how many rows were freed."""
        self.clock.now += 0.7 * TTL
        await self.tenure.beat()
        self.clock.now += 0.4 * TTL
        return await self.store.adopt()

    async def keep(self, workload: bytes, unique: bytes = b"") -> Job:
        """Submit a job, and have it stored as mine."""
        self.mind.broker.submit(self.client, b"f", unique, workload, NORMAL, True, 0, b"")
        [job] = self.mind.broker.take_adds(10, 1 << 20)
        row = StoredJob(number(job), QueueKey("", b"f", NORMAL), workload, unique, unique or None)
        await self.store.commit([Add(row, Placement.MINE)], [], [])
        self.mind.broker.stored(job)
        return job

    def grab(self) -> bytes | None:
        self.tick()
        return self.worker.grab_workload()


def number(job: Job) -> JobId:
    id = id_of(job.handle)
    assert id is not None
    return id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> MemoryWorld:
    return MemoryWorld(clock=clock)


@pytest.fixture
async def a(world: MemoryWorld, clock: Clock) -> Holder:
    return await Holder(world, clock).open("a")


@pytest.fixture
async def b(world: MemoryWorld, clock: Clock) -> Holder:
    return await Holder(world, clock).open("b")


# ── heartbeats ───────────────────────────────────────────────────────────────


async def test_heartbeats_keep_the_jobs_coming(a: Holder, clock: Clock) -> None:
    await a.keep(b"x")
    for _ in range(10):
        clock.now += TTL / 3
        await a.tenure.beat()
    assert a.grab() == b"x"


async def test_without_heartbeats_nothing_is_handed_out_before_others_may_take_it(
    a: Holder, b: Holder, clock: Clock
) -> None:
    await a.keep(b"x")
    clock.now += 0.8 * TTL
    assert a.grab() is None
    assert await b.store.adopt() == 0
    await a.tenure.beat()
    assert "tell" in a.said()
    assert a.grab() == b"x"


async def test_heartbeat_that_fails_is_tried_again_soon_and_prolongs_nothing(
    a: Holder, world: MemoryWorld, clock: Clock
) -> None:
    await a.keep(b"x")
    world.down = "cut off"
    for _ in range(9):
        clock.now += TTL / 10
        assert await a.tenure.beat() <= 0.5
    assert a.grab() is None
    world.down = ""
    await a.tenure.beat()
    assert a.grab() == b"x"


async def test_who_joins_a_job_of_an_unreachable_store_is_refused_in_the_end(
    a: Holder, world: MemoryWorld, clock: Clock
) -> None:
    await a.keep(b"x", b"u")
    world.down = "cut off"
    clock.now += 0.8 * TTL
    a.tick()
    joiner = a.mind.join()
    a.mind.broker.submit(joiner, b"f", b"u", b"y", NORMAL, True, 0, b"")
    await a.tenure.beat()
    assert joiner.heard() == [("promised", 0), ("reneged", 0, b"QUEUE_ERROR", b"cut off")]


async def test_heartbeat_that_comes_too_late_asks_for_a_new_lease(
    a: Holder, b: Holder, clock: Clock
) -> None:
    await a.keep(b"x")
    assert await b.outlive(a) == 1
    await a.tenure.beat()
    assert a.tenure.in_doubt
    assert a.said() == ["lost"]
    assert a.grab() is None


# ── the dead ─────────────────────────────────────────────────────────────────


async def test_rows_of_the_dead_are_freed_and_looked_for_at_once(
    a: Holder, b: Holder, clock: Clock
) -> None:
    await a.keep(b"x")
    clock.now += 0.7 * TTL
    await b.tenure.beat()
    clock.now += 0.4 * TTL
    assert await b.tenure.look() <= 0.5
    assert b.said() == ["freed"]
    await b.tenure.look()
    assert b.said() == []


async def test_look_that_fails_is_repeated_and_told_once(
    b: Holder, world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum(one.levelno >= logging.WARNING for one in caplog.records)

    world.down = "cut off"
    for _ in range(3):
        assert await b.tenure.look() <= 0.5
    assert told() == 1

    world.down = ""
    await b.tenure.look()
    world.down = "cut off again"
    await b.tenure.look()
    assert told() == 2


# ── a new lease ──────────────────────────────────────────────────────────────


async def test_new_lease_brings_back_what_nobody_took_and_forgets_the_rest(
    a: Holder, b: Holder, clock: Clock
) -> None:
    first, second, third = [await a.keep(name) for name in (b"x", b"y", b"z")]
    await b.outlive(a)
    [taken] = await b.store.claim(first_queue(), 1, 1 << 20)
    assert taken.id == number(first)
    await a.tenure.beat()

    await a.tenure.renew([])

    assert not a.tenure.in_doubt
    assert a.mind.status(first.handle)[0] is False
    assert [a.grab(), a.grab(), a.grab()] == [b"y", b"z", None]
    assert a.mind.broker.take_ends() == []
    assert second.handle < third.handle


async def test_new_lease_takes_what_is_over_along(a: Holder, world: MemoryWorld) -> None:
    job = await a.keep(b"x")
    assert a.grab() == b"x"
    a.worker.finish(job.handle)
    a.tenure.doubt()
    await a.tenure.renew([Ending(number(job))])
    assert world.rows == {}


async def test_running_job_of_another_server_is_not_repeated_here(
    a: Holder, b: Holder, clock: Clock
) -> None:
    await a.keep(b"x")
    assert a.grab() == b"x"
    await b.outlive(a)
    await b.store.claim(first_queue(), 1, 1 << 20)
    a.tenure.doubt()
    await a.tenure.renew([])
    a.worker.leave()
    a.worker = a.mind.worker(b"f")
    assert a.grab() is None


async def test_job_made_under_a_new_lease_has_the_new_number(a: Holder, b: Holder) -> None:
    before = await a.keep(b"x")
    a.tenure.doubt()
    await a.tenure.renew([])
    after = await a.keep(b"y")
    instances = [number(job) >> 12 & 1023 for job in (before, after)]
    assert instances == [1, 3]


async def test_heartbeat_of_the_old_lease_says_nothing_about_the_new(
    a: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = a.store.heartbeat

    async def late() -> float:
        monkeypatch.setattr(a.store, "heartbeat", beat)
        until = await beat()
        a.tenure.doubt()
        await a.tenure.renew([])
        a.mind.broker.fence()
        return until

    monkeypatch.setattr(a.store, "heartbeat", late)
    assert await a.tenure.beat() == 0.0
    assert a.mind.broker.state.fenced


async def test_nothing_is_claimed_while_the_lease_is_renewed(a: Holder) -> None:
    a.tenure.doubt()
    async with a.tenure.claiming:
        renewal = a.tenure.renew([])
        renewal.send(None)
        assert a.tenure.in_doubt
        renewal.close()


def first_queue() -> QueueKey:
    return QueueKey("", b"f", NORMAL)


# ── ends, and those who come back ────────────────────────────────────────────


async def test_job_that_ended_here_while_another_server_had_it_is_done_when_it_comes_back(
    world: MemoryWorld, b: Holder
) -> None:
    mind = Mind(durable=True)
    store = MemoryStore(world)
    writer = StoreWriter(store, mind.broker, b"H:test:", lambda: None, server="a", ttl=TTL)
    await writer.open()
    mind.broker.submit(mind.join(), b"f", b"", b"x", NORMAL, True, 0, b"")
    [job] = mind.broker.take_adds(10, 1 << 20)
    row = StoredJob(number(job), QueueKey("", b"f", NORMAL), b"x")
    await writer.store.commit([Add(row, Placement.MINE)], [], [])
    mind.broker.stored(job)
    worker = mind.worker(b"f")
    worker.grab()
    assert await b.outlive(b) == 1
    await b.store.claim(QueueKey("", b"f", NORMAL), 1, 1000)
    worker.finish(job.handle)
    assert writer.is_over(number(job))

    writer.doubt()
    await writer._renew()

    assert not writer.is_over(number(job))
    assert set(world.rows) == {number(job)}
