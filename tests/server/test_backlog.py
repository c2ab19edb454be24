"""A queue much longer than what is in memory: everything that can be asked of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from geartrain.testing import EmbeddedServer
from tests.conformance.wire import T, Wire, packet
from tests.server.conftest import Dial
from tests.server.keeping import crash, grab, serving, totals
from tests.support import wait_until

COUNT = 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(queue=f"sqlite://{tmp_path}/jobs.db") as server:
        yield server


def fill(wire: Wire, first: int = 0, last: int = COUNT, function: bytes = b"f") -> list[bytes]:
    """Background jobs with the keys and the workloads 0, 1, 2 ...; their handles."""
    wire.socket.sendall(
        b"".join(
            packet(T.SUBMIT_JOB_BG, function, b"k%d" % n, b"%d" % n) for n in range(first, last)
        )
    )
    return [wire.created() for _ in range(first, last)]


def body(wire: Wire, number: int) -> bytes:
    heard = wire.receive()
    assert heard.number == number, heard
    return heard.body


def status(wire: Wire, handle: bytes) -> tuple[bytes, bytes]:
    wire.send(T.GET_STATUS, handle)
    return tuple(body(wire, T.STATUS_RES).split(b"\0")[1:3])  # type: ignore[return-value]


def text(wire: Wire, line: bytes) -> bytes:
    wire.send_bytes(line + b"\n")
    return wire.read_line().rstrip()


def listing(wire: Wire, line: bytes) -> list[list[bytes]]:
    wire.send_bytes(line + b"\n")
    return [one.split(b"\t") for one in wire.read_list()]


def drain(wire: Wire) -> list[bytes]:
    """Workloads, in the order in which they are given out; each is done at once."""
    found = []
    while job := grab(wire):
        found.append(job[4])
        wire.send(T.WORK_COMPLETE, job[0], b"")
    return found


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % n for n in range(first, last)]


def test_status_finds_jobs_that_are_only_in_the_store(server: EmbeddedServer, dial: Dial) -> None:
    wire = dial(server)
    handles = fill(wire)
    assert server.server.broker.state.paged >= COUNT - 200

    assert {status(wire, handle) for handle in handles[::50]} == {(b"1", b"0")}
    assert status(wire, handles[0][:-4] + b"ffff") == (b"0", b"0")
    assert status(wire, b"H:elsewhere:" + handles[-1][-16:]) == (b"0", b"0")
    wire.send(T.GET_STATUS_UNIQUE, b"k%d" % (COUNT - 1))
    assert body(wire, T.STATUS_RES_UNIQUE).split(b"\0")[1:] == [b"1", b"0", b"0", b"0", b"0"]
    wire.send(T.GET_STATUS_UNIQUE, b"nobody's")
    assert body(wire, T.STATUS_RES_UNIQUE).split(b"\0")[1] == b"0"


def test_job_that_has_just_ended_is_not_found(server: EmbeddedServer, dial: Dial) -> None:
    wire, worker = dial(server), dial(server)
    fill(wire)
    worker.can_do(b"f")
    for _ in range(300):
        handle = grab(worker)[0]
        worker.send(T.WORK_COMPLETE, handle, b"")
        assert status(worker, handle) == (b"0", b"0")


def test_lists_are_whole_and_name_every_job_once(server: EmbeddedServer, dial: Dial) -> None:
    wire, worker, client = dial(server), dial(server), dial(server)
    handles = fill(wire)
    waited = client.submit(b"f", b"waited for", b"")
    worker.can_do(b"f")
    running = grab(worker)[0]

    rows = listing(wire, b"show jobs")
    assert sorted(row[0] for row in rows) == sorted([*handles, waited])
    uniques = [row[0] for row in listing(wire, b"show unique jobs")]
    assert sorted(uniques) == sorted([*(b"k" + n for n in numbers(0, COUNT)), b""])
    details = listing(wire, b"jobs")
    assert len(details) == COUNT + 1
    assert [row[2] for row in details if row[2] != b"-"] == [b"127.0.0.1"]
    assert running in handles
    assert listing(wire, b"status") == [[b"f", b"%d" % (COUNT + 1), b"1", b"1"]]
    assert listing(wire, b"prioritystatus") == [[b"f", b"0", b"%d" % COUNT, b"0", b"1"]]


def test_job_that_is_only_in_the_store_can_be_cancelled(
    server: EmbeddedServer, dial: Dial, tmp_path: Path
) -> None:
    wire, worker = dial(server), dial(server)
    handles = fill(wire)
    gone = handles[::10]

    assert {text(wire, b"cancel job " + handle) for handle in gone} == {b"OK"}
    assert {text(wire, b"cancel job " + handle) for handle in gone} == {b"ERR UNKNOWN_JOB"}
    assert text(wire, b"cancel job nonsense") == b"ERR UNKNOWN_JOB"

    assert listing(wire, b"status")[0][1] == b"%d" % (COUNT - len(gone))
    assert {status(wire, handle) for handle in gone} == {(b"0", b"0")}
    worker.can_do(b"f")
    assert drain(worker) == [n for n in numbers(0, COUNT) if not n.endswith(b"0")]
    assert listing(wire, b"status")[0][1] == b"0"


def test_twins_are_told_over_the_whole_line(server: EmbeddedServer, dial: Dial) -> None:
    wire, waiter, worker = dial(server), dial(server), dial(server)
    handles = fill(wire)

    assert fill(wire) == handles
    assert waiter.submit(b"f", b"other", b"k%d" % (COUNT - 1)) == handles[-1]
    # What a connection says after that is answered after it.
    waiter.send(T.SUBMIT_JOB, b"f", b"k500", b"x")
    waiter.send(T.ECHO_REQ, b"after")
    assert waiter.created() == handles[500]
    waiter.expect(T.ECHO_RES, b"after")

    worker.can_do(b"f")
    assert drain(worker) == numbers(0, COUNT)
    ended = {body(waiter, T.WORK_COMPLETE).split(b"\0")[0] for _ in range(2)}
    assert ended == {handles[500], handles[-1]}


def test_nothing_overtakes_what_is_in_the_store(server: EmbeddedServer, dial: Dial) -> None:
    wire, client, worker = dial(server), dial(server), dial(server)
    fill(wire)
    client.submit(b"f", b"waited for")
    wire.submit(b"f", b"urgent", b"", T.SUBMIT_JOB_HIGH_BG)
    fill(wire, COUNT, COUNT + 10)

    worker.can_do(b"f")

    expected = [b"urgent", *numbers(0, COUNT), b"waited for", *numbers(COUNT, COUNT + 10)]
    assert drain(worker) == expected


def test_delayed_job_of_an_earlier_life_is_known_counted_and_cancelled(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.connect()
        handles: list[bytes] = []
        for after in (2, 100_000, 100_000):
            when = b"%d" % (time.time() + after)
            client.send(T.SUBMIT_JOB_EPOCH, b"f", b"u%d" % len(handles), when, b"x")
            handles.append(client.created())
        assert [status(client, handle) for handle in handles] == [(b"1", b"0")] * 3

        crash(server)

        wire, waiter = server.connect(), server.connect()
        assert [status(wire, handle) for handle in handles] == [(b"1", b"0")] * 3
        assert totals(server) == {b"f": 3}
        assert text(wire, b"cancel job " + handles[1]) == b"OK"
        assert totals(server) == {b"f": 2}
        assert waiter.submit(b"f", b"y", b"u0") == handles[0]
        assert waiter.submit(b"f", b"y", b"u2") == handles[2]
        worker = server.connect()
        worker.can_do(b"f")
        worker.send(T.PRE_SLEEP)
        worker.expect(T.NOOP)
        assert grab(worker)[0] == handles[0]
        worker.send(T.WORK_COMPLETE, handles[0], b"done")
        assert body(waiter, T.WORK_COMPLETE) == handles[0] + b"\0done"
        wait_until(lambda: totals(server) == {b"f": 1})


def test_restart_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/jobs.db"
    with EmbeddedServer(queue=url) as server:
        wire = Wire(server.server.addresses[0])  # type: ignore[arg-type]
        fill(wire, 0, 5000)
        wire.close()

    with EmbeddedServer(queue=url) as server:
        assert len(server.server.broker.job_handles()) == 100
        wire = Wire(server.server.addresses[0])  # type: ignore[arg-type]
        assert listing(wire, b"status") == [[b"f", b"5000", b"0", b"0"]]
        wire.can_do(b"f")
        assert drain(wire) == numbers(0, 5000)
        wire.close()


def test_large_workloads_come_back_whole_and_in_order(server: EmbeddedServer, dial: Dial) -> None:
    wire, worker = dial(server), dial(server)
    workloads = [b"%d" % n * 100_000 for n in range(30)]
    for workload in workloads:
        wire.send(T.SUBMIT_JOB_BG, b"f", b"", workload)
        wire.created()
    assert server.server.broker.state.memory < 100_000

    worker.can_do(b"f")

    assert drain(worker) == workloads


def test_clients_wait_while_memory_is_short_and_are_refused_when_it_stays_so(dial: Dial) -> None:
    with EmbeddedServer(max_memory=100_000, store_wait=0.5) as server:
        wire, worker = dial(server), dial(server)
        wire.socket.sendall(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 520) * 100)
        for _ in range(86):
            wire.created()
        wire.expect_silence(0.1)
        assert listing(worker, b"status") == [[b"f", b"86", b"0", b"0"]]
        worker.can_do(b"f")
        for _ in range(10):
            worker.send(T.WORK_COMPLETE, grab(worker)[0], b"")
        heard = Counter(wire.receive().number for _ in range(24))
        assert heard[T.WORK_COMPLETE] == 10
        assert heard[T.JOB_CREATED] >= 6
        assert heard[T.ERROR] == 14 - heard[T.JOB_CREATED] > 0
