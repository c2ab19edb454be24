"""Policies of functions, with a store and without, in a server that is killed now and then."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geartrain import Client, JobFailed
from geartrain.testing import EmbeddedServer
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, Wire, packet
from tests.server.conftest import Dial
from tests.stores.postgres_server import Cluster, Place
from tests.support import patient, wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
async def shared(cluster: Cluster) -> str:
    place = Place(cluster)
    await place.ask(f"CREATE SCHEMA {place.schema}")
    return place.url(options="&lease=2s")


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url = request.getfixturevalue("shared")
        assert isinstance(url, str)
        return url
    return f"sqlite://{tmp_path}/jobs.db" if request.param == "sqlite" else "memory://"


@pytest.fixture
def started() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.end()


def serve(started: list[Server], queue: str, *policies: str) -> Server:
    words = [word for policy in policies for word in ("--policy", policy)]
    server = Server(OURS, "--queue", queue, *words)
    started.append(server)
    return server


def fails(server: Server, name: bytes = b"f") -> bytes:
    """A worker gets a job and fails; the job's handle."""
    worker = server.connect()
    worker.can_do(name)
    worker.send(T.PRE_SLEEP)
    worker.expect(T.NOOP)
    worker.send(T.GRAB_JOB)
    handle = worker.receive().body.split(b"\0")[0]
    worker.send(T.WORK_EXCEPTION, handle, b"it hurts")
    worker.expect_nothing()
    worker.close()
    return handle


def dead(server: Server) -> list[dict[str, Any]]:
    wire = server.connect()
    wire.send_bytes(b"dead export\n")
    found = [json.loads(line) for line in wire.read_list()]
    wire.close()
    return found


def total(server: Server, name: bytes = b"f") -> int:
    wire = server.connect()
    wire.send_bytes(b"status\n")
    lines = [line.split(b"\t") for line in wire.read_list()]
    wire.close()
    return sum(int(line[1]) for line in lines if line[0] == name)


def retry_all(wire: Wire) -> dict[str, Any]:
    wire.send_bytes(b"dead retry all\n")
    found: dict[str, Any] = json.loads(wire.read_line())
    return found


def test_a_job_that_fails_is_tried_again_and_dies_and_lives_again(
    started: list[Server], queue: str
) -> None:
    server = serve(started, queue, "f attempts=2 dead=yes")
    client = server.connect()
    handle = client.submit(b"f", b"body", b"u1", T.SUBMIT_JOB_HIGH_BG)

    assert fails(server) == handle
    assert dead(server) == []
    assert fails(server) == handle

    wait_until(lambda: len(dead(server)) == 1)
    [one] = dead(server)
    assert (one["handle"], one["body"], one["unique"]) == (handle.decode(), "body", "u1")
    assert (one["reason"], one["attempts"]) == ("exception: it hurts", 2)
    assert one["worker"].startswith("127.0.0.1 ")
    assert abs(one["died"] - time.time()) < 60
    assert total(server) == 0

    assert retry_all(client) == {
        "retried": 1, "kept": [], "stayed": 0, "unknown": [],
    }  # fmt: skip
    worker = server.connect()
    worker.can_do(b"f")
    worker.send(T.GRAB_JOB)
    assert worker.receive().body == handle + b"\0f\0body"
    worker.send(T.WORK_COMPLETE, handle, b"")
    worker.expect_nothing()
    assert dead(server) == []
    client.close()
    worker.close()


def test_attempts_and_the_dead_survive_the_server(started: list[Server], tmp_path: Path) -> None:
    server = serve(started, f"sqlite://{tmp_path}/jobs.db", "* attempts=3 dead=yes")
    client = server.connect()
    first = client.submit(b"f", b"1", b"", T.SUBMIT_JOB_BG)
    assert fails(server) == first
    # Answered when it is stored, and with it the attempt before it.
    client.submit(b"other", b"", b"", T.SUBMIT_JOB_BG)
    client.close()

    server.kill()
    server.restart()
    fails(server)
    fails(server)
    wait_until(lambda: len(dead(server)) == 1)
    server.kill()
    server.restart()

    [one] = dead(server)
    assert (one["handle"], one["attempts"], one["body"]) == (first.decode(), 3, "1")
    assert total(server) == 0
    assert total(server, b"other") == 1


def test_a_client_waits_through_the_attempts(started: list[Server], queue: str) -> None:
    server = serve(started, queue, "f attempts=2 backoff=100ms dead=yes")
    client = server.connect()
    client.send(T.OPTION_REQ, b"exceptions")
    client.expect(T.OPTION_RES, b"exceptions")
    handle = client.submit(b"f", b"body", b"")

    fails(server)
    client.expect_nothing()
    began = time.monotonic()
    fails(server)

    assert time.monotonic() - began > 0.04
    client.expect(T.WORK_EXCEPTION, handle, b"it hurts")
    assert dead(server) == []
    client.close()


def test_without_a_policy_a_failure_is_final_as_in_the_c_server(
    started: list[Server], queue: str
) -> None:
    server = serve(started, queue, "other attempts=5 dead=yes")
    client = server.connect()
    client.submit(b"f", b"body", b"", T.SUBMIT_JOB_BG)

    fails(server)

    assert total(server) == 0
    assert dead(server) == []
    client.close()


# ── durability ───────────────────────────────────────────────────────────────


def crash(server: Server) -> None:
    server.kill()
    server.restart()


@pytest.mark.parametrize(
    ("policy", "survive"),
    [
        ("f durability=always", 20),
        # Within the interval nothing is promised, and nothing was written yet.
        ("f durability=interval interval=1h", 0),
        ("f durability=off", 0),
    ],
)
def test_what_survives_a_kill_right_after_the_answer(
    started: list[Server], tmp_path: Path, policy: str, survive: int
) -> None:
    server = serve(started, f"sqlite://{tmp_path}/jobs.db", policy)
    client = server.connect()
    for number in range(20):
        client.submit(b"f", b"%d" % number, b"", T.SUBMIT_JOB_BG)
    client.close()
    assert total(server) == 20

    crash(server)

    assert total(server) == survive


def test_what_is_older_than_the_interval_survives(started: list[Server], tmp_path: Path) -> None:
    server = serve(started, f"sqlite://{tmp_path}/jobs.db", "f durability=interval interval=50ms")
    client = server.connect()
    for number in range(20):
        client.submit(b"f", b"%d" % number, b"", T.SUBMIT_JOB_BG)
    # Stored with them, or after them; and this one is answered when it is.
    time.sleep(0.1)
    client.submit(b"g", b"", b"", T.SUBMIT_JOB_BG)
    client.close()

    crash(server)

    assert total(server) == 20


def test_an_orderly_end_stores_what_was_to_be_stored_later(
    started: list[Server], tmp_path: Path
) -> None:
    server = serve(
        started, f"sqlite://{tmp_path}/jobs.db", "f durability=interval interval=1h",
    )  # fmt: skip
    client = server.connect()
    client.submit(b"f", b"1", b"", T.SUBMIT_JOB_BG)
    client.close()

    server.process.terminate()
    server.process.wait(patient(20))
    server.restart()

    assert total(server) == 1


def test_a_pause_between_attempts_survives_the_server(
    started: list[Server], tmp_path: Path
) -> None:
    server = serve(started, f"sqlite://{tmp_path}/jobs.db", "f attempts=3 backoff=4s")
    client = server.connect()
    handle = client.submit(b"f", b"body", b"u", T.SUBMIT_JOB_BG)
    fails(server)
    failed = time.time()
    client.submit(b"g", b"", b"", T.SUBMIT_JOB_BG)
    # Its key is still taken, and its handle is still the answer.
    assert client.submit(b"f", b"body", b"u", T.SUBMIT_JOB_BG) == handle
    client.close()

    crash(server)

    assert total(server) == 1
    worker = server.connect()
    worker.can_do(b"f")
    if time.time() < failed + 1:
        worker.send(T.GRAB_JOB)
        worker.expect(T.NO_JOB)
    worker.send(T.PRE_SLEEP)
    worker.expect(T.NOOP)
    # Between half and one and a half of 4 s.
    assert time.time() >= failed + 1.9
    worker.send(T.GRAB_JOB)
    assert worker.receive().body == handle + b"\0f\0body"
    worker.send(T.WORK_COMPLETE, handle, b"")
    worker.expect_nothing()
    wait_until(lambda: total(server) == 0)
    worker.close()


# ── several servers ──────────────────────────────────────────────────────────


def test_what_fails_at_one_server_is_tried_again_at_another_and_dies_for_all(
    started: list[Server], shared: str
) -> None:
    policy = "f attempts=2 backoff=1s dead=yes"
    servers = [
        Server(OURS, "--queue", shared, "--server-name", name, "--policy", policy) for name in "ab"
    ]
    started += servers
    first, second = servers
    client = first.connect()
    handle = client.submit(b"f", b"body", b"u", T.SUBMIT_JOB_BG)

    assert fails(first) == handle
    assert fails(second) == handle

    def both_know() -> bool:
        return all([one["handle"] for one in dead(each)] == [handle.decode()] for each in servers)

    wait_until(both_know)
    [one] = dead(first)
    assert (one["attempts"], one["body"], one["reason"]) == (2, "body", "exception: it hurts")
    assert retry_all(client)["retried"] == 1
    assert fails(second) == handle
    client.close()


def test_in_all_that_may_happen_every_job_is_done_or_dead(
    started: list[Server], tmp_path: Path
) -> None:
    """Jobs fail, pause, die and come back, and the server is killed in between."""
    chance = random.Random(7)
    policy = "f attempts=3 backoff=20ms backoff-max=60ms dead=yes"
    server = serve(started, f"sqlite://{tmp_path}/jobs.db", policy)
    owed: dict[bytes, bytes] = {}
    done: set[bytes] = set()
    for turn in range(6):
        client = server.connect()
        for number in range(30):
            body = b"%d.%d" % (turn, number)
            owed[client.submit(b"f", body, chance.choice([b"", body]), T.SUBMIT_JOB_BG)] = body
        worker = server.connect()
        worker.can_do(b"f")
        for _ in range(60):
            worker.send(T.GRAB_JOB)
            heard = worker.receive()
            if heard.number != T.JOB_ASSIGN:
                time.sleep(0.01)
                continue
            handle, _, body = heard.body.split(b"\0")
            assert owed[handle] == body
            if chance.random() < 0.5:
                worker.send(chance.choice([T.WORK_FAIL, T.WORK_EXCEPTION]), handle)
            else:
                worker.send(T.WORK_COMPLETE, handle, b"")
                done.add(handle)
        client.close()
        worker.close()
        crash(server)
    worker = server.connect()
    worker.can_do(b"f")
    # One attempt is enough from here on: what fails dies, what is done is done.
    while total(server):
        worker.send(T.GRAB_JOB)
        heard = worker.receive()
        if heard.number != T.JOB_ASSIGN:
            time.sleep(0.01)
            continue
        handle, _, body = heard.body.split(b"\0")
        assert owed[handle] == body
        worker.send(T.WORK_COMPLETE, handle, b"")
        done.add(handle)
    worker.expect_nothing()
    worker.close()

    buried = {one["handle"].encode(): one["body"].encode() for one in dead(server)}
    assert set(owed) == done | set(buried)
    assert all(owed[handle] == body for handle, body in buried.items())


def test_a_job_that_has_just_died_is_known_to_be_dead(dial: Dial, tmp_path: Path) -> None:
    with EmbeddedServer(
        queue=f"sqlite://{tmp_path}/jobs.db", policy=("f attempts=1 dead=yes",)
    ) as server:
        wire = dial(server)
        wire.can_do(b"f")
        for _ in range(5):
            handle = wire.submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
            wire.send_bytes(
                packet(T.GRAB_JOB) + packet(T.WORK_FAIL, handle) + b"why " + handle + b"\n"
            )
            wire.receive()
            assert json.loads(wire.read_line())["state"] == "dead"


def test_jobs_that_the_server_gives_up_are_told_in_its_log_and_their_clients_what_that_may_be(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedServer(job_retries=1) as server:
        client = Client(server.address)
        tasks = [client.submit("f", b"x") for _ in range(7)]
        wire = dial(server)
        wire.send(T.SET_CLIENT_ID, b"weak")
        wire.can_do(b"f")
        handles = []
        for _ in tasks:
            wire.send(T.GRAB_JOB)
            handles.append(wire.receive().body.split(b"\0")[0].decode())
        wire.close()

        with pytest.raises(JobFailed, match=r"without a reason \(WORK_FAIL\): its worker called"):
            tasks[0].result(timeout=patient(10))
        with pytest.raises(JobFailed):
            tasks[-1].result(timeout=patient(10))
        wait_until(lambda: "more jobs" in caplog.text)
        client.close()

    told = [record.getMessage() for record in caplog.records if "given up" in record.getMessage()]
    assert told[0] == (
        f"{handles[0]} of f was given up after one attempt: the worker's connection was lost"
        " (127.0.0.1 weak)"
    )
    assert told[-1] == "2 more jobs were given up with them"
    assert len(told) == 6
