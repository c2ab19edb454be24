"""Several servers on one PostgreSQL: any of them does what another was given."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.servers import Server
from tests.conformance.wire import T, Wire
from tests.server.keeping import Keeping, grab, totals
from tests.stores.postgres_server import Cluster, Place
from tests.support import patient, wait_until

#: Seconds of a lease: long enough for a busy machine, short enough to wait for.
LEASE = 2.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
async def place(cluster: Cluster) -> Place:
    place = Place(cluster)
    await place.ask(f"CREATE SCHEMA {place.schema}")
    return place


@contextlib.contextmanager
def serving(place: Place, name: str, *options: str) -> Iterator[Keeping]:
    url = place.url(options=f"&lease={LEASE:g}s")
    server = Keeping("--queue", url, "--server-name", name, *options)
    try:
        yield server
    finally:
        if server.alive():
            server.process.send_signal(signal.SIGCONT)
        server.end()


@pytest.fixture
def a(place: Place) -> Iterator[Keeping]:
    with serving(place, "a") as server:
        yield server


@pytest.fixture
def b(place: Place) -> Iterator[Keeping]:
    with serving(place, "b") as server:
        yield server


def worker_of(server: Server) -> Wire:
    worker = server.connect()
    worker.can_do(b"f")
    return worker


def next_job(worker: Wire, within: float = 5.0) -> list[bytes]:
    """The next job, whenever it comes."""
    return wait_until(lambda: grab(worker), within=within)


def status(wire: Wire, handle: bytes) -> list[bytes]:
    """Known, running, and how far it is."""
    wire.send(T.GET_STATUS, handle)
    heard = wire.receive()
    assert heard.number == T.STATUS_RES
    found, *rest = heard.body.split(b"\0")
    assert found == handle
    return rest


def done(worker: Wire, job: list[bytes]) -> bytes:
    worker.send(T.WORK_COMPLETE, job[0], b"")
    worker.expect_nothing()
    return job[4]


# ── sharing ──────────────────────────────────────────────────────────────────


def test_job_of_one_server_is_done_by_a_worker_of_the_other(a: Keeping, b: Keeping) -> None:
    worker = worker_of(b)
    worker.send(T.PRE_SLEEP)
    client = a.connect()
    handles = [client.submit(b"f", b"%d" % n, b"", T.SUBMIT_JOB_BG) for n in range(20)]
    worker.expect(T.NOOP)
    found = [next_job(worker) for _ in handles]
    assert [job[0] for job in found] == handles
    for job in found:
        done(worker, job)
    wait_until(lambda: totals(a).get(b"f", 0) == totals(b).get(b"f", 0) == 0)


def test_key_coalesces_across_servers(a: Keeping, b: Keeping) -> None:
    worker_a, worker_b = worker_of(a), worker_of(b)
    handle = a.connect().submit(b"f", b"one", b"u", T.SUBMIT_JOB_BG)
    assert b.connect().submit(b"f", b"two", b"u", T.SUBMIT_JOB_BG) == handle
    assert grab(worker_b) == []
    job = next_job(worker_a)
    assert (job[0], job[4]) == (handle, b"one")


def test_epoch_job_runs_once_at_one_of_them(a: Keeping, b: Keeping) -> None:
    workers = [worker_of(a), worker_of(b)]
    client = a.connect()
    soon = int(time.time()) + 2
    client.send(T.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % soon, b"soon")
    handle = client.created()
    found = wait_until(lambda: [job for job in map(grab, workers) if job], within=10.0)
    assert time.time() >= soon
    assert [job[0] for job in found] == [handle]
    time.sleep(1.5)
    assert [grab(worker) for worker in workers] == [[], []]


def test_jobs_whose_last_worker_leaves_go_to_the_other_server(a: Keeping, b: Keeping) -> None:
    worker = worker_of(a)
    for _ in range(2):
        a.connect().submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    other = worker_of(b)
    assert grab(other) == []
    worker.close()
    for _ in range(2):
        done(other, next_job(other))


def test_any_server_knows_how_far_a_job_is(place: Place) -> None:
    with (
        serving(place, "a", "--job-handle-prefix", "H:a") as a,
        serving(place, "b", "--job-handle-prefix", "H:b") as b,
    ):
        worker = worker_of(a)
        handle = a.connect().submit(b"f", b"x", b"u", T.SUBMIT_JOB_BG)
        other = b.connect()
        assert status(other, handle) == [b"1", b"0", b"0", b"0"]
        job = next_job(worker)
        worker.send(T.WORK_STATUS, job[0], b"3", b"10")
        worker.expect_nothing()
        # Letters are lost while a server begins to listen.
        wait_until(lambda: status(other, handle) == [b"1", b"1", b"3", b"10"])
        assert status(a.connect(), b"H:b:" + handle[-16:])[:2] == [b"1", b"1"]
        # Nobody has spoken of its function there.
        other.send(T.GET_STATUS_UNIQUE, b"u")
        assert other.receive().body.split(b"\0") == [b"u", b"1", b"1", b"3", b"10", b"0"]
        done(worker, job)
        wait_until(lambda: status(other, handle)[0] == b"0")
        other.send(T.GET_STATUS_UNIQUE, b"u")
        assert other.receive().body.split(b"\0")[1] == b"0"


def test_holder_that_is_paused_leaves_its_job_known(a: Keeping, b: Keeping) -> None:
    worker = worker_of(a)
    handle = a.connect().submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    assert next_job(worker)[0] == handle
    a.process.send_signal(signal.SIGSTOP)
    assert status(b.connect(), handle)[:2] == [b"1", b"0"]
    a.process.send_signal(signal.SIGCONT)


def said(wire: Wire, question: bytes) -> bytes:
    wire.send_bytes(question + b"\n")
    return wire.read_line()


def test_job_of_the_pool_is_cancelled_at_any_server(a: Keeping, b: Keeping) -> None:
    handle = a.connect().submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    assert said(b.connect(), b"cancel job " + handle) == b"OK\r\n"
    assert grab(worker_of(a)) == []
    assert status(a.connect(), handle)[0] == b"0"


def test_job_that_one_server_holds_is_cancelled_at_any(a: Keeping, b: Keeping) -> None:
    worker = worker_of(a)
    handle = a.connect().submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    wait_until(lambda: said(b.connect(), b"cancel job " + handle) == b"OK\r\n")
    assert grab(worker) == []
    # Its row may be there for a moment longer, and its holder too busy to tell.
    wait_until(lambda: status(b.connect(), handle)[0] == b"0")
    wait_until(lambda: said(b.connect(), b"cancel job " + handle) == b"ERR UNKNOWN_JOB\r\n")


def test_job_whose_holder_is_silent_is_not_said_to_be_cancelled(a: Keeping, b: Keeping) -> None:
    worker = worker_of(a)
    handle = a.connect().submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    assert next_job(worker)[0] == handle
    a.process.send_signal(signal.SIGSTOP)
    answer = said(b.connect(), b"cancel job " + handle)
    a.process.send_signal(signal.SIGCONT)
    assert answer == b"ERR QUEUE_ERROR server a has this job, and does not answer\r\n"


def test_any_server_shows_a_job_and_says_why_it_waits(a: Keeping, b: Keeping) -> None:
    worker = worker_of(a)
    handle = a.connect().submit(b"f", b"\xffbody", b"u", T.SUBMIT_JOB_BG)
    assert next_job(worker)[0] == handle
    other = b.connect()

    def found(question: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(said(other, question + b" " + handle))
        return answer

    wait_until(lambda: found(b"why")["state"] == "running")
    assert "why" in found(b"why")
    shown = found(b"job show")
    assert (shown["state"], shown["where"], shown["unique"]) == ("running", "server a", "u")
    assert shown["size"] == 5
    assert "why" not in shown
    assert (set(shown) - {"where"}) == (set(found_at(a, handle)) - {"where"})
    a.process.send_signal(signal.SIGSTOP)
    assert found(b"why")["state"] == "elsewhere"
    a.process.send_signal(signal.SIGCONT)


def found_at(server: Server, handle: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said(server.connect(), b"job show " + handle))
    return answer


# ── a server goes ────────────────────────────────────────────────────────────


def test_queued_jobs_of_a_server_that_stops_are_the_others_at_once(a: Keeping, b: Keeping) -> None:
    holder = worker_of(a)
    client = a.connect()
    names = [b"%d" % n for n in range(5)]
    for name in names:
        client.submit(b"f", name, b"", T.SUBMIT_JOB_BG)
    assert grab(holder)[4] == b"0"
    worker = worker_of(b)
    began = time.monotonic()
    a.process.terminate()
    # What the first server did not hold for its own worker came to the second before.
    assert sorted(done(worker, next_job(worker)) for _ in names) == names
    assert time.monotonic() - began < patient(LEASE)


def test_graceful_stop_waits_for_what_runs_and_leaves_the_rest_to_the_others(
    a: Keeping, b: Keeping
) -> None:
    holder, worker = worker_of(a), worker_of(b)
    client = a.connect()
    for n in range(2):
        client.submit(b"f", b"%d" % n, b"", T.SUBMIT_JOB_BG)
    running = grab(holder)
    a.process.send_signal(signal.SIGUSR1)
    assert done(worker, next_job(worker)) == b"1"
    assert a.alive()
    holder.send(T.WORK_COMPLETE, running[0], b"")
    a.process.wait(patient(5.0))
    assert grab(worker) == []


def test_jobs_of_a_server_that_is_killed_are_adopted(a: Keeping, b: Keeping) -> None:
    holder = worker_of(a)
    client = a.connect()
    for n in range(5):
        client.submit(b"f", b"%d" % n, b"", T.SUBMIT_JOB_BG)
    assert grab(holder)[4] == b"0"
    worker = worker_of(b)
    began = time.monotonic()
    a.kill()
    found = [done(worker, next_job(worker)) for _ in range(5)]
    assert sorted(found) == [b"%d" % n for n in range(5)]
    assert time.monotonic() - began < patient(LEASE + 1.0)


def test_server_that_was_paused_hands_out_nothing_that_others_have(a: Keeping, b: Keeping) -> None:
    slow = worker_of(a)
    client = a.connect()
    for n in range(5):
        client.submit(b"f", b"%d" % n, b"", T.SUBMIT_JOB_BG)
    running = grab(slow)
    assert running[4] == b"0"
    worker = worker_of(b)
    a.process.send_signal(signal.SIGSTOP)
    found = [done(worker, next_job(worker, within=10.0)) for _ in range(5)]
    # Asked for while it slept, and answered when it wakes.
    slow.send(T.GRAB_JOB_ALL)
    a.process.send_signal(signal.SIGCONT)
    slow.expect(T.NO_JOB)
    assert sorted(found) == [b"%d" % n for n in range(5)]
    done(slow, running)
    wait_until(lambda: totals(a).get(b"f", 0) == 0)
    # It has a new lease, and goes on.
    handle = client.submit(b"f", b"fresh", b"", T.SUBMIT_JOB_BG)
    wait_until(lambda: grab(slow)[:1] == [handle])


def test_server_that_was_killed_may_come_back_at_once(a: Keeping, b: Keeping) -> None:
    worker_of(a)
    a.connect().submit(b"f", b"x", b"", T.SUBMIT_JOB_BG)
    a.kill()
    a.restart()
    assert next_job(worker_of(a), within=1.0)[4] == b"x"
