"""PostgreSQL: the contract, and what happens between servers, networks and primaries."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from geartrain.stores import registry
from geartrain.stores.port import (
    FIRST,
    Add,
    Added,
    AddResult,
    Ambiguous,
    Count,
    Ending,
    Give,
    JobId,
    Lease,
    Placement,
    QueueKey,
    QueueStore,
    StoredJob,
    StoreDown,
    StoreError,
    StoreRefused,
    Where,
)
from geartrain.stores.postgres_batch import FEWEST_CAREFUL, Care
from geartrain.stores.postgres_link import Link
from geartrain.stores.postgres_opening import OPENING_LOCK
from geartrain.stores.sql import migrations
from geartrain.testing.store_contract import FakeServer, MakeStore, StoreContract
from tests.stores.postgres_server import Cluster, Place, Proxy
from tests.support import eventually, patient

psycopg = pytest.importorskip("psycopg")


@pytest.fixture
async def place(cluster: Cluster) -> AsyncIterator[Place]:
    proxy = await Proxy(cluster.port).start()
    place = Place(cluster, proxy)
    await place.ask(f"CREATE SCHEMA {place.schema}")
    yield place
    await proxy.stop()
    await place.ask(f"DROP SCHEMA {place.schema} CASCADE")


class TestPostgresStore(StoreContract):
    place: Place

    @pytest.fixture
    def make_store(self, place: Place) -> MakeStore:
        self.place = place
        return lambda: registry.from_url(place.url())

    async def expire(self, store: QueueStore, lease: Lease) -> None:
        await self.place.ask(
            "UPDATE gt_lease SET expires = now() - interval '1 second' WHERE id = %s", lease.id
        )

    async def lose_next_answer(self, store: QueueStore) -> None:
        self.place.proxy.swallow_next = True

    async def take_away(self, store: QueueStore) -> None:
        self.place.proxy.refusing = True
        self.place.proxy.cut()

    async def bring_back(self, store: QueueStore) -> None:
        self.place.proxy.refusing = False

    async def verify(self, store: QueueStore) -> None:
        await self.place.recount()


async def test_making_the_tables_may_take_longer_than_a_lease_lasts(place: Place) -> None:
    store = registry.from_url(place.url())
    async with await psycopg.AsyncConnection.connect(place.url(direct=True)) as other:
        # Another server is at it, and slow.
        await other.execute(f"SELECT pg_advisory_xact_lock({OPENING_LOCK})")
        began = time.monotonic()
        opening = asyncio.ensure_future(store.open("one", 0.1))
        await eventually(lambda: opening.done() or time.monotonic() > began + 2.5)
        assert not opening.done(), opening.exception()

        await other.rollback()
        lease = await opening

    assert lease.ttl == 0.1
    await store.close()


# ── refused at the start ─────────────────────────────────────────────────────


def refusal(url: str) -> str:
    with pytest.raises(StoreRefused) as caught:
        registry.from_url(url)
    return str(caught.value)


def test_another_machine_needs_tls_or_a_word() -> None:
    text = refusal("postgresql://gt:secret@db1,db2/gear")

    assert "add sslmode=verify-full, or insecure=yes" in text
    assert "secret" not in text
    registry.from_url("postgresql://gt@db1,db2/gear?insecure=yes&lease=4s")
    registry.from_url("postgresql://gt@db1/gear?sslmode=verify-full")
    registry.from_url("postgresql://localhost/gear")
    registry.from_url("postgresql:///gear?host=/run/postgresql")


def test_wrong_options_are_named() -> None:
    assert "want require=standby" in refusal("postgresql:///gear?require=luck")
    assert "banana" in refusal("postgresql:///gear?banana=1")


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("options=-csynchronous_commit%3Doff", "has synchronous_commit = off"),
        ("require=standby", "synchronous_standby_names is empty"),
        ("require=standby&options=-csynchronous_commit%3Dlocal", "synchronous_commit = local"),
    ],
)
async def test_a_database_that_does_not_keep_its_word_is_refused(
    cluster: Cluster, setting: str, text: str
) -> None:
    store = registry.from_url(f"{cluster.url()}?{setting}")

    with pytest.raises(StoreRefused, match=text):
        await store.open("one", 10)


async def test_nobody_there_is_told() -> None:
    store = registry.from_url("postgresql://gt@127.0.0.1:1/gear")

    with pytest.raises(StoreDown, match=r"cannot reach PostgreSQL: .*refused"):
        await store.open("one", 10)


async def test_who_is_cancelled_when_the_connection_comes_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a server that is stopped as it starts would wait for ever for the one that listens."""
    comes = asyncio.Event()

    async def connect(*_: object, **__: object) -> None:
        await comes.wait()

    async def greet(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
    monkeypatch.setattr(Link, "_greet", greet)
    for rounds in range(6):
        comes.clear()
        connecting = asyncio.create_task(Link("", patient(30.0)).connect())
        for _ in range(3):
            await asyncio.sleep(0)
        comes.set()
        for _ in range(rounds):
            await asyncio.sleep(0)
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError, AttributeError):
            await asyncio.wait_for(asyncio.shield(connecting), patient(5.0))
        assert connecting.done(), rounds


async def test_tables_from_the_future_are_refused(place: Place) -> None:
    one = await open_server(place, "one")
    await one.store.close()
    await place.ask("UPDATE gt_meta SET value = 99 WHERE name = 'format'")

    with pytest.raises(StoreRefused, match="format 99, this geartrain knows up to"):
        await open_server(place, "one")


async def test_no_standby_is_mentioned_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "geartrain.stores.postgres"):
        one = await open_server(place, "one")
    await one.store.close()

    assert [r.message for r in caplog.records] == [
        "no synchronous standby: jobs survive a crash of PostgreSQL, not its disk"
    ]


# ── formats ──────────────────────────────────────────────────────────────────


async def test_tables_of_format_1_open_with_everything_in_them(place: Place) -> None:
    old = Path(__file__).parent / "old" / "postgres-1.sql"
    async with await psycopg.AsyncConnection.connect(place.url(direct=True)) as db:
        await db.execute(old.read_bytes())

    one = await open_server(place, "one")

    queue = QueueKey("", b"resize", 1)
    assert await one.count(queue) == Count(ready=1)
    await one.store.adopt()
    plain = StoredJob(JobId(1000), queue, b"plain")
    full = StoredJob(
        JobId(1001), queue, bytes.fromhex("00ff"), b"-", b"\0key", None, b"sum", 3, {"t": "é"}
    )
    assert await one.claim(queue) == [plain, full]
    later = await one.store.find("acme", id=JobId(1002))
    assert later
    assert (later.run_at, later.unique, later.where) == (4e9, b"u", Where.DELAYED)
    dead = await one.store.dead_show(JobId(900))
    assert dead
    assert (dead.reason, dead.worker, dead.died, dead.job.body) == ("tired", "w", 1.7e9, b"dead")
    assert one.lease.id > 7
    assert one.lease.floor >= 1002
    await place.recount()
    assert await place.ask("SELECT value FROM gt_meta") == [(len(migrations("postgres")),)]
    await one.store.close()


async def test_two_servers_that_start_at_once_make_the_tables_once(place: Place) -> None:
    servers = await asyncio.gather(*[open_server(place, f"s{n}") for n in range(4)])

    assert len({server.lease.id for server in servers}) == 4
    for server in servers:
        await server.store.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """``eventually``, with a long deadline, for what has to be awaited."""
    await eventually(condition, within=30)  # type: ignore[arg-type]


# ── what a batch has in common ───────────────────────────────────────────────


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("alike", [False, True])
async def test_rows_come_back_as_they_were_whatever_their_batch_has_in_common(
    place: Place, alike: bool, keyed: bool, plain: bool, careful: bool
) -> None:
    one = await open_server(place, "one", direct=True)
    if careful:
        one.store._care.clash()  # type: ignore[attr-defined]
    queues = [QueueKey("", b"f", 1), QueueKey("", b"g", 2)]
    jobs = []
    for n in range(6):
        job = one.job(b"%d" % n, queue=queues[0 if alike else n % 2], unique=b"k%d" % n)
        if not keyed or n == 3:
            job = job.but(unique=b"", key=None)
        if not plain and n % 3:
            job = job.but(reducer=b"sum", attempts=n, headers={"t": "é"}, unique=b"shown")
        jobs.append(job)
    placements = [Placement.POOL if alike or n % 3 else Placement.MINE for n in range(6)]

    adds = [Add(job, placement) for job, placement in zip(jobs, placements, strict=True)]
    done = await one.store.commit(adds, [], [])

    assert [answer.placement for answer in done.added] == placements
    await place.recount()
    for job, placement in zip(jobs, placements, strict=True):
        assert await one.where(job.id) is (
            Where.MINE if placement is Placement.MINE else Where.POOL
        )
    gives = [
        Give(job.id, Placement.POOL, None)
        for job, placement in zip(jobs, placements, strict=True)
        if placement is Placement.MINE
    ]
    assert await one.give(*gives) == []
    back = [job for queue in queues for job in await one.claim(queue)]
    assert sorted(back, key=lambda job: job.id) == sorted(jobs, key=lambda job: job.id)
    await one.store.close()


async def test_jobs_that_wait_for_their_time_are_nobodys_beside_some_that_do_not(
    place: Place,
) -> None:
    one = await open_server(place, "one", direct=True)
    now, later = one.job(b"now"), one.job(b"later", run_at=4e9)

    await one.add(later, now, placement=Placement.MINE)

    assert await one.where(now.id) is Where.MINE
    assert await one.where(later.id) is Where.DELAYED
    await place.recount()
    await one.store.close()


def test_a_clash_makes_the_next_batches_careful_and_clashes_seldom() -> None:
    """However often the same keys come: one failed statement in thousands."""
    care = Care()
    assert not care.needed()
    clashes = 0
    for _ in range(100_000):
        if not care.needed():
            care.clash()
            clashes += 1
    assert clashes < 20


def test_care_ends_when_nothing_clashes_any_more() -> None:
    care = Care()
    for _ in range(5):
        while care.needed():
            pass
        care.clash()
    careful = 0
    for _ in range(100_000):
        careful += care.needed()
    assert careful < 1000
    care.clash()
    careful = 0
    while care.needed():
        careful += 1
    assert careful == FEWEST_CAREFUL


async def test_a_key_that_is_freed_in_the_same_batch_is_free(place: Place) -> None:
    one = await open_server(place, "one", direct=True)
    old, new = one.job(b"old", unique=b"k"), one.job(b"new", unique=b"k")
    await one.add(old, placement=Placement.MINE)

    done = await one.store.commit([Add(new, Placement.MINE)], [Ending(old.id)], [])

    assert done.added == [AddResult(Added.STORED, new.id, Placement.MINE)]
    assert not one.store._care.needed()  # type: ignore[attr-defined]
    await one.store.close()


# ── between servers ──────────────────────────────────────────────────────────


async def open_server(place: Place, name: str, *, direct: bool = False) -> FakeServer:
    return await FakeServer(registry.from_url(place.url(direct=direct)), name).open()


async def test_a_server_that_was_killed_is_back_before_its_lease_has_ended(place: Place) -> None:
    script = """
import asyncio, sys
from geartrain.stores import registry
from geartrain.stores.port import Placement
from geartrain.testing.store_kit import FakeServer
async def main():
    one = await FakeServer(registry.from_url(sys.argv[1]), "one").open()
    await one.add(one.job(b"precious"), placement=Placement.MINE)
    print("added", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    victim = subprocess.Popen(
        [sys.executable, "-c", script, place.url(direct=True)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout
    assert victim.stdout.readline() == "added\n"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()

    found: list[FakeServer] = []

    async def back() -> bool:
        try:
            found.append(await open_server(place, "one"))
        except StoreRefused:
            return False  # its session has not noticed yet
        return True

    await until(back)
    (one,) = found

    assert await one.store.adopt() == 1
    assert await one.bodies() == [b"precious"]
    await one.store.close()


async def test_many_servers_submit_one_key_and_one_job_is_made(place: Place) -> None:
    servers = await asyncio.gather(*[open_server(place, f"s{n}", direct=True) for n in range(3)])

    async def submit(server: FakeServer) -> None:
        for n in range(40):
            answers = await server.add(server.job(unique=b"%d" % n), placement=Placement.MINE)
            if answers[0].outcome is Added.STORED and n % 2:
                await server.end(answers[0].id)

    await asyncio.gather(*[submit(server) for server in servers])

    rows = await place.ask("SELECT uniq FROM gt_job ORDER BY uniq")
    assert sorted(int(uniq) for (uniq,) in rows) == list(range(0, 40, 2))
    await place.recount()
    for server in servers:
        await server.store.close()


async def test_batches_with_the_same_keys_in_other_orders_do_not_wait_for_each_other(
    place: Place,
) -> None:
    servers = await asyncio.gather(*[open_server(place, f"s{n}", direct=True) for n in range(3)])
    uniques = [b"%d" % n for n in range(300)]

    async def submit(server: FakeServer, order: int) -> None:
        for _ in range(5):
            jobs = [server.job(unique=unique) for unique in uniques[::order]]
            answers = await server.add(*jobs, placement=Placement.MINE)
            mine = [a.id for a in answers if a.outcome is Added.STORED]
            assert await server.end(*mine) == []

    await asyncio.gather(*[submit(s, order) for s, order in zip(servers, (1, -1, 1), strict=True)])

    assert await place.ask("SELECT count(*) FROM gt_job") == [(0,)]
    for server in servers:
        await server.store.close()


async def test_two_survivors_adopt_a_long_queue_together(place: Place) -> None:
    servers = await asyncio.gather(*[open_server(place, f"s{n}", direct=True) for n in range(3)])
    dead, *others = servers
    await dead.add(*[dead.job(b"%d" % n) for n in range(12_000)], placement=Placement.MINE)
    await dead.store.close(release=False)
    await place.ask(
        "UPDATE gt_lease SET expires = now() - interval '1 s' WHERE id = %s", dead.lease.id
    )

    freed = await asyncio.gather(*[server.store.adopt() for server in others])

    assert sum(freed) == 12_000
    assert await others[0].count() == Count(ready=12_000)
    await place.recount()
    for server in others:
        await server.store.adopt()
    assert await place.ask("SELECT count(*) FROM gt_lease WHERE state = 'dead'") == [(0,)]
    for server in others:
        await server.store.close()
    assert await place.ask("SELECT slot, ready FROM gt_count") == [(0, 12_000)]


async def test_a_lease_that_stands_still_is_taken_whatever_the_databases_clock_says(
    place: Place,
) -> None:
    now = 1000.0
    store = registry.from_url(place.url())
    store._steady = lambda: now  # type: ignore[attr-defined]
    one, two = await open_server(place, "one"), await FakeServer(store, "two").open()
    await one.add(one.job(b"waiting"), placement=Placement.MINE)
    await place.ask("UPDATE gt_lease SET expires = now() + interval '1 day', ttl = 10")

    assert await two.store.adopt() == 0
    now += 15
    assert await two.store.adopt() == 0
    now += 10
    assert await two.store.adopt() == 1

    for server in (one, two):
        await server.store.close()


async def test_a_heartbeat_moves_the_deadline_from_when_it_began(place: Place) -> None:
    now = 1000.0
    store = registry.from_url(place.url(options="&lease=10s"))
    store._steady = lambda: now  # type: ignore[attr-defined]
    one = await FakeServer(store, "one").open()

    assert await one.store.heartbeat() == 1008.0

    await one.store.close()


async def test_news_of_a_thousand_commits_are_few(place: Place) -> None:
    one, two = await open_server(place, "one"), await open_server(place, "two")
    heard: list[QueueKey] = []
    two.store.on_news(heard.append)

    for _ in range(100):
        await one.add(one.job())

    await eventually(lambda: heard)
    assert len(heard) < 50
    for server in (one, two):
        await server.store.close()


# ── networks and databases that go ───────────────────────────────────────────


async def test_a_pulled_cable_is_noticed_in_time(place: Place) -> None:
    store = registry.from_url(place.url(options="&lease=1s"))
    one = await FakeServer(store, "one").open()
    store._main.patience = 0.3  # type: ignore[attr-defined]
    job = one.job(b"sent")
    await one.add(one.job())
    place.proxy.frozen = True

    with pytest.raises(Ambiguous, match="no answer in"):
        await one.add(job)

    place.proxy.frozen = False
    store._main.patience = patient(10)  # type: ignore[attr-defined]
    await one.renew([job.id])
    (answer,) = await one.add(job)
    assert answer.id == job.id
    assert len(await one.store.scan(None, FIRST, 10)) == 2
    await one.store.close()


async def test_a_claim_whose_answer_was_lost_leaves_nothing_stuck(place: Place) -> None:
    one = await open_server(place, "one")
    await one.add(*[one.job() for _ in range(20)])
    herald = one.store._news._herald  # type: ignore[attr-defined]
    await eventually(herald.done)
    # One row is answered by "SELECT 1", as the proxy looks for; so is a NOTIFY.
    place.proxy.swallow_next = True
    with pytest.raises(Ambiguous):
        await one.claim(limit=1)

    await one.renew([])
    await one.store.adopt()

    assert await one.count() == Count(ready=20)
    assert len(await one.claim()) == 20
    await one.store.close()


async def test_a_renewal_whose_answer_was_lost_can_be_repeated(place: Place) -> None:
    one = await open_server(place, "one")
    jobs = [one.job(b"%d" % n) for n in range(3)]
    await one.add(*jobs, placement=Placement.MINE)
    keep = [job.id for job in jobs[:2]]

    for _ in range(3):
        place.proxy.cut()
        attempt = asyncio.ensure_future(one.renew(keep))
        await asyncio.sleep(0)
        place.proxy.cut()
        try:
            await attempt
        except StoreError:
            pass
    renewed = await one.renew(keep)

    assert list(renewed.kept) == keep
    await one.store.adopt()
    assert await one.bodies() == [b"2"]
    await place.recount()
    await one.store.close()


@pytest.mark.slow
async def test_a_primary_that_dies_under_load_loses_nothing_and_nothing_is_stuck() -> None:
    """A synchronous standby takes over; servers name both hosts."""
    primary = Cluster(synchronous_standby_names="*")
    try:
        standby = Cluster(primary)
        try:
            await failover(primary, standby)
        finally:
            standby.remove()
    finally:
        primary.remove()


async def failover(primary: Cluster, standby: Cluster) -> None:
    url = (
        f"postgresql://gt@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
        "?target_session_attrs=read-write&lease=4s&require=standby"
    )
    servers = [await FakeServer(registry.from_url(url), f"s{n}").open() for n in range(2)]
    acked: set[JobId] = set()
    ran: list[JobId] = []
    stop = asyncio.Event()

    async def serve(server: FakeServer) -> None:
        """What a server does: submit, run, claim; after any doubt, renew."""
        held: dict[JobId, StoredJob] = {}
        adds: list[Add] = []
        ends: list[Ending] = []
        doubt = False
        while not (stop.is_set() and not adds and not ends and not held):
            try:
                if doubt:
                    keep = [*held, *(add.job.id for add in adds)]
                    kept = set((await server.renew(keep, ends)).kept)
                    held = {id: job for id, job in held.items() if id in kept}
                    ends, doubt = [], False
                if not adds and not stop.is_set():
                    placements = (Placement.MINE, Placement.POOL)
                    adds = [Add(server.job(), p) for p in placements for _ in range(10)]
                done = await server.store.commit(adds, ends, [])
                ends = []
                for add, answer in zip(adds, done.added, strict=True):
                    acked.add(answer.id)
                    if answer.placement is Placement.MINE:
                        held[answer.id] = add.job
                adds = []
                held |= {job.id: job for job in await server.claim(limit=10)}
                ran.extend(held)
                ends = [Ending(id) for id in held]
                held = {}
            except StoreDown:
                await asyncio.sleep(0.02)
            except StoreError:
                doubt = True
                await asyncio.sleep(0.02)

    async def enough(more: int) -> None:
        target = len(acked) + more
        await eventually(lambda: len(acked) > target, within=60)

    tasks = [asyncio.create_task(serve(server)) for server in servers]
    await enough(500)
    primary.kill()
    standby.promote()
    async with await psycopg.AsyncConnection.connect(standby.url(), autocommit=True) as db:
        # The new primary has no standby of its own yet.
        await db.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        await db.execute("SELECT pg_reload_conf()")
    await enough(500)
    stop.set()
    await asyncio.gather(*tasks)

    rescuer = servers[0]

    async def nothing_left() -> bool:
        await rescuer.store.adopt()
        for job in await rescuer.claim():
            ran.append(job.id)
            await rescuer.end(job.id)
        return not await rescuer.store.scan(None, FIRST, 1)

    await until(nothing_left)
    assert acked <= set(ran)
    assert len(ran) - len(set(ran)) <= 200, "only what was in flight may run twice"
    for server in servers:
        await server.store.close()


async def test_what_fails_when_nobody_waits_for_it_any_more_is_not_complained_of(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    one = await open_server(place, "one")
    adoption = asyncio.create_task(one.store.adopt())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    adoption.cancel()
    await one.store.close()
    await asyncio.wait([adoption])
    gc.collect()
    assert "never retrieved" not in caplog.text
