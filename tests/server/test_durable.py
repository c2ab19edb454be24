"""What was answered for is done, whatever happens to the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from geartrain.errors import ConfigurationError
from geartrain.server.queues import choose, foreign_option
from geartrain.server.settings import Settings
from geartrain.stores import registry
from geartrain.stores.memory import MemoryStore
from geartrain.stores.port import (
    Add,
    Ambiguous,
    Committed,
    Ending,
    Give,
    QueueKey,
    StoredJob,
    StoreDown,
)
from geartrain.testing import EmbeddedServer
from tests.conformance.wire import T, packet
from tests.server.conftest import Dial
from tests.server.keeping import crash, grab, serving, totals
from tests.support import patient, wait_until

# ── what survives ────────────────────────────────────────────────────────────


def test_job_survives_the_server_as_it_was(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.connect()
        low = client.submit(b"f", b"low\0\0bytes", b"u1", T.SUBMIT_JOB_LOW_BG)
        first = client.submit(b"f", b"", b"", T.SUBMIT_JOB_BG)
        second = client.submit(b"f", b"second", b"-", T.SUBMIT_JOB_BG)
        high = client.submit(b"f", b"high", b"u2", T.SUBMIT_JOB_HIGH_BG)
        client.send(T.SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"u3", b"red", b"", b"reduced")
        reduced = client.created()
        gone = client.submit(b"f", b"gone", b"u4")
        client.close()

        crash(server)

        assert totals(server) == {b"f": 5}
        again = server.connect()
        assert again.submit(b"f", b"other", b"u2", T.SUBMIT_JOB_BG) == high
        assert again.submit(b"f", b"second", b"-", T.SUBMIT_JOB_BG) == second
        worker = server.connect()
        worker.can_do(b"f")
        found = [grab(worker) for _ in range(6)]
        assert found == [
            [high, b"f", b"u2", b"", b"high"],
            [first, b"f", b"", b"", b""],
            [second, b"f", b"-", b"", b"second"],
            [reduced, b"f", b"u3", b"red", b"reduced"],
            [low, b"f", b"u1", b"", b"low\0\0bytes"],
            [],
        ]
        assert gone not in [one[0] for one in found if one]

        crash(server)

        # They ran, and nobody said that they were done.
        assert totals(server) == {b"f": 5}
        worker = server.connect()
        worker.can_do(b"f")
        while job := grab(worker):
            worker.send(T.WORK_COMPLETE, job[0], b"")
        worker.expect_nothing()
        wait_until(lambda: totals(server).get(b"f", 0) == 0)
        server.process.terminate()
        server.process.wait(patient(10))
        server.restart()
        assert totals(server).get(b"f", 0) == 0


def test_epoch_job_survives_and_waits_for_its_time(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.connect()
        soon = int(time.time()) + 3
        client.send(T.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % soon, b"soon")
        handle = client.created()
        client.send(T.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (soon + 100_000), b"late")
        client.created()

        crash(server)

        assert totals(server) == {b"f": 2}
        worker = server.connect()
        worker.can_do(b"f")
        if time.time() < soon - 0.5:
            assert grab(worker) == []
        worker.send(T.PRE_SLEEP)
        worker.expect(T.NOOP)
        assert time.time() >= soon
        assert grab(worker) == [handle, b"f", b"", b"", b"soon"]
        worker.send(T.WORK_COMPLETE, handle, b"")
        worker.expect_nothing()
        # When this is answered for, the end before it is on the disk as well.
        server.connect().submit(b"g", b"", b"", T.SUBMIT_JOB_BG)

        crash(server)

        assert totals(server) == {b"f": 1, b"g": 1}


def test_attempts_count_across_a_crash(tmp_path: Path) -> None:
    with serving(tmp_path, "--job-retries", "2") as server:
        client = server.connect()
        handle = client.submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
        worker = server.connect()
        worker.can_do(b"f")
        assert grab(worker)[0] == handle
        worker.close()
        # What is written after it is written too.
        wait_until(lambda: b"f" in totals(server))
        client.submit(b"g", b"x", b"", T.SUBMIT_JOB_BG)
        client.close()

        crash(server)

        worker = server.connect()
        worker.can_do(b"f")
        assert grab(worker)[0] == handle
        worker.close()
        wait_until(lambda: totals(server)[b"f"] == 0)


def test_foreground_job_joined_in_the_background_survives(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        waiter, client = server.connect(), server.connect()
        handle = waiter.submit(b"f", b"x", b"u")
        assert client.submit(b"f", b"x", b"u", T.SUBMIT_JOB_BG) == handle

        crash(server)

        worker = server.connect()
        worker.can_do(b"f")
        assert grab(worker) == [handle, b"f", b"u", b"", b"x"]


def test_cancelled_job_does_not_come_back(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.connect()
        handle = client.submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
        client.send_bytes(b"cancel job " + handle + b"\n")
        client.read_line()
        client.submit(b"g", b"x", b"", T.SUBMIT_JOB_BG)

        crash(server)

        assert totals(server).get(b"f", 0) == 0


def test_order_is_kept_and_ten_thousand_come_back(tmp_path: Path) -> None:
    count = 10_000
    with serving(tmp_path) as server:
        client = server.connect()
        client.socket.sendall(
            b"".join(packet(T.SUBMIT_JOB_BG, b"f", b"", b"%d" % n) for n in range(count))
        )
        handles = [client.created() for _ in range(count)]
        assert len(set(handles)) == count

        crash(server)

        assert totals(server) == {b"f": count}
        worker = server.connect()
        worker.can_do(b"f")
        worker.socket.sendall(packet(T.GRAB_JOB_ALL) * count)
        for n in range(count):
            heard = worker.receive().body.split(b"\0", 3)
            assert (heard[0], heard[3]) == (handles[n], b"%d" % n)


# ── answers ──────────────────────────────────────────────────────────────────


class SlowStore(MemoryStore):
    """A store that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.open_gate = threading.Event()
        self.claim_gate = threading.Event()
        self.claim_gate.set()
        self.errors: list[Exception] = []
        self.batches: list[tuple[int, int]] = []
        self.largest = 1 << 30

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        while not self.open_gate.is_set():
            await asyncio.sleep(0.001)
        if self.errors:
            raise self.errors.pop(0)
        if any(len(add.job.body or b"") > self.largest for add in adds):
            raise ValueError("a body too large for this store")
        self.batches.append((len(adds), len(ends)))
        return await super().commit(adds, ends, gives)

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        while not self.claim_gate.is_set():
            await asyncio.sleep(0.001)
        return await super().claim(queue, limit, max_bytes, max_body=max_body)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowStore]:
    """The store of the servers in this test; its gate is open at first."""
    store = SlowStore()
    store.open_gate.set()
    monkeypatch.setattr(registry, "from_url", lambda url: store)
    yield store
    store.open_gate.set()
    store.claim_gate.set()


@pytest.fixture
def server(slow: SlowStore) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(queue="ram://", store_wait=0.3) as server:
        yield server


def test_answers_of_a_connection_stay_in_order(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire, other = dial(server), dial(server)
    slow.open_gate.clear()
    wire.send(T.ECHO_REQ, b"before")
    wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x")
    wire.send(T.ECHO_REQ, b"between")
    wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"y")
    wire.send(T.SUBMIT_JOB, b"f", b"", b"z")
    wire.expect(T.ECHO_RES, b"before")
    other.expect_nothing()
    wire.expect_silence(0.05)

    slow.open_gate.set()

    first = wire.created()
    wire.expect(T.ECHO_RES, b"between")
    second, third = wire.created(), wire.created()
    assert len({first, second, third}) == 3
    wire.expect_nothing()


def test_thousands_of_unanswered_submissions_are_held_back_and_answered(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire = dial(server)
    slow.open_gate.clear()
    threading.Timer(0.2, slow.open_gate.set).start()
    wire.socket.sendall(packet(T.SUBMIT_JOB_BG, b"f", b"", b"x") * 20_000)

    assert len({wire.created() for _ in range(20_000)}) == 20_000
    assert max(adds for adds, _ in slow.batches) == 1000


def test_client_that_ends_its_sending_still_hears(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire = dial(server)
    slow.open_gate.clear()
    wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x")
    wire.end_sending()
    wire.expect_silence(0.05)
    slow.open_gate.set()

    wire.created()
    wire.expect_close()


def test_client_that_has_gone_is_not_answered(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire, other = dial(server), dial(server)
    slow.open_gate.clear()
    wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x")
    wire.expect_silence(0.05)
    wire.cut()
    other.expect_nothing()
    slow.open_gate.set()

    worker = dial(server)
    worker.can_do(b"f")
    worker.send(T.PRE_SLEEP)
    worker.expect(T.NOOP)


def test_store_that_is_down_for_a_moment_is_waited_for(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire = dial(server)
    slow.errors = [StoreDown("gone"), StoreDown("gone")]
    wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x")

    wire.created()


def test_store_that_stays_down_is_said_so_and_forgets_no_end(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire, worker = dial(server), dial(server)
    worker.can_do(b"f")
    handle = wire.submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    assert grab(worker)[0] == handle
    slow.errors = [StoreDown("the disk is full")] * 6
    worker.send(T.WORK_COMPLETE, handle, b"")
    wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"y")

    wire.expect_error(b"QUEUE_ERROR", b"the disk is full")

    # Foreground jobs go on meanwhile.
    wire.submit(b"g", b"x")
    wait_until(lambda: not slow.world.rows)
    slow.errors.clear()
    wire.submit(b"f", b"z", b"", T.SUBMIT_JOB_BG)


def test_commit_of_which_nobody_knows_is_repeated_under_a_new_lease(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire = dial(server)
    wire.submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    slow.errors = [Ambiguous("who knows")]
    wire.submit(b"f", b"y", b"", T.SUBMIT_JOB_BG)

    slow.world.lose_next_answer = True
    wire.submit(b"f", b"z", b"", T.SUBMIT_JOB_BG)

    assert len(slow.world.rows) == 3


def test_impossible_job_is_refused_and_the_others_go_on(
    server: EmbeddedServer, slow: SlowStore, dial: Dial
) -> None:
    wire = dial(server)
    slow.largest = 100
    slow.open_gate.clear()
    for size in (1, 2, 1000, 3):
        wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x" * size)
    wire.expect_silence(0.05)
    slow.open_gate.set()

    wire.created()
    wire.created()
    wire.expect_error(b"QUEUE_ERROR", b"a body too large for this store")
    wire.created()


def test_stop_writes_what_waits_and_answers(slow: SlowStore, dial: Dial) -> None:
    with EmbeddedServer(queue="ram://", store_wait=5.0) as server:
        wire = dial(server)
        slow.open_gate.clear()
        wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x")
        wire.expect_silence(0.05)
        threading.Timer(0.1, slow.open_gate.set).start()
    wire.created()
    wire.expect_close()
    assert len(slow.world.rows) == 1


def test_server_answers_while_the_first_jobs_are_still_on_their_way(
    slow: SlowStore, dial: Dial
) -> None:
    with EmbeddedServer(queue="ram://") as server:
        handle = dial(server).submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    slow.claim_gate.clear()
    with EmbeddedServer(queue="ram://") as server:
        worker = dial(server)
        worker.can_do(b"f")
        assert grab(worker) == []
        worker.send(T.PRE_SLEEP)
        worker.expect_nothing()

        slow.claim_gate.set()

        worker.expect(T.NOOP)
        assert grab(worker)[0] == handle


# ── which queue ──────────────────────────────────────────────────────────────


def test_second_server_on_a_file_is_refused_with_the_first_ones_name(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/jobs.db"
    with (
        EmbeddedServer(queue=url, server_name="alice"),
        pytest.raises(ConfigurationError, match="is in use by alice"),
    ):
        EmbeddedServer(queue=url).start()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///no/such/folder/jobs.db", "there is no folder /no/such/folder"),
        ("carrier-pigeon://x", "no store for carrier-pigeon://"),
        ("jobs.db", "is no store URL"),
    ],
)
def test_queue_that_cannot_be_had_ends_the_start(url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        EmbeddedServer(queue=url).start()


def test_file_that_is_none_ends_the_start_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"this is a letter, not a database" * 100)

    with pytest.raises(ConfigurationError, match=r"jobs\.db"):
        EmbeddedServer(queue=f"sqlite://{path}").start()

    assert path.read_bytes() == b"this is a letter, not a database" * 100


def test_c_servers_ways_to_name_a_queue(tmp_path: Path) -> None:
    assert choose(Settings()).url == "memory://"
    assert choose(Settings(queue_type="builtin", queue="sqlite:///x")).url == "sqlite:///x"
    assert choose(Settings(queue_type="BUILTIN")).url == "memory://"
    old = tmp_path / "old.db"
    settings = Settings(queue_type="libsqlite3", libsqlite3_db=str(old))
    assert choose(settings) == (f"sqlite://{old}.geartrain", "")
    old.touch()
    assert choose(settings).url == f"sqlite://{old}.geartrain"
    assert f"gearadmin import sqlite://{old} sqlite://{old}.geartrain" in choose(settings).notice


@pytest.mark.parametrize(
    ("info", "url"),
    [
        ("host=db dbname=jobs user=gear", "postgresql://gear@db/jobs"),
        ("host = db port=5433 password='it''s' dbname=j", None),
        (r"host=db port=5433 user=a password='p\'w /' dbname=j", "postgresql://a:p%27w%20%2F@db:5433/j"),
        ("dbname=j host=/run/pg sslmode=disable", "postgresql:///j?sslmode=disable&host=%2Frun%2Fpg"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("nonsense", None),
    ],
)  # fmt: skip
def test_c_servers_way_to_name_a_database(info: str, url: str | None) -> None:
    settings = Settings(queue_type="Postgres", libpq_conninfo=info)
    if url is None:
        with pytest.raises(ConfigurationError, match="is no name=value"):
            choose(settings)
        return
    queue = choose(settings)
    assert queue.url == url
    assert "p%27w" not in queue.notice


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (Settings(queue_type="libsqlite3"), "needs --libsqlite3-db"),
        (Settings(queue_type="Postgres"), "needs --libpq-conninfo"),
        (Settings(queue_type="redis"), "first NUL byte; use --queue sqlite:///PATH"),
        (Settings(queue_type="libmemcached"), "drops what it has no room for"),
        (Settings(queue_type="paper"), "-q paper is unknown"),
        (
            Settings(queue="sqlite:///x", queue_type="libsqlite3", libsqlite3_db="y"),
            "contradict each other",
        ),
    ],
)
def test_queue_that_we_have_not_is_refused_with_the_reason(settings: Settings, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose(settings)

    assert text in str(caught.value)


def test_option_of_a_queue_that_we_have_not_says_why() -> None:
    assert foreign_option("--redis-server=x").startswith("--redis-server: there is no Redis queue")
    assert foreign_option("--frobnicate") == ""
