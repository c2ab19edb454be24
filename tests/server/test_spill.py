"""memory:// when memory runs short: a file without a name takes what has no room."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from geartrain.errors import ConfigurationError
from geartrain.testing import EmbeddedServer
from tests.conformance.wire import T, packet
from tests.server.conftest import Dial
from tests.server.test_backlog import drain, fill, listing, numbers, status, text
from tests.support import wait_until

#: Room for some 2,000 small jobs.
BUDGET = 1_000_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(max_memory=BUDGET, spill_dir=str(tmp_path), store_wait=20.0) as server:
        yield server


def open_files(folder: Path) -> list[str]:
    """Files in a folder that this process has open, with those that have no name any more."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if name.startswith(str(folder)):
            found.append(name)
    return found


def test_nothing_is_written_while_there_is_room(
    server: EmbeddedServer, dial: Dial, tmp_path: Path
) -> None:
    fill(dial(server), 0, 1000)

    assert open_files(tmp_path) == []
    assert not server.server.broker.rules.durable


def test_five_times_as_many_jobs_as_have_room_are_taken_and_done_in_order(
    server: EmbeddedServer, dial: Dial, tmp_path: Path
) -> None:
    wire, worker = dial(server), dial(server)
    handles = fill(wire, 0, 10_000)
    state = server.server.broker.state

    assert state.memory < BUDGET
    assert state.paged > 5000
    # The file has no name: it ends with the process, whatever ends that.
    assert os.listdir(tmp_path) == []
    assert len(open_files(tmp_path)) >= 1
    assert listing(worker, b"status") == [[b"f", b"10000", b"0", b"0"]]
    assert status(worker, handles[9000]) == (b"1", b"0")
    assert text(worker, b"cancel job " + handles[9999]) == b"OK"
    assert fill(wire, 9500, 9510) == handles[9500:9510]

    worker.can_do(b"f")
    assert drain(worker) == numbers(0, 9999)
    wait_until(lambda: not server.server.broker.rules.durable)
    assert state.memory == 0


def test_jobs_that_somebody_waits_for_keep_their_place(server: EmbeddedServer, dial: Dial) -> None:
    wire, client, worker = dial(server), dial(server), dial(server)
    fill(wire, 0, 4000)
    client.submit(b"f", b"waited for")
    fill(wire, 4000, 4010)

    worker.can_do(b"f")

    assert drain(worker) == [*numbers(0, 4000), b"waited for", *numbers(4000, 4010)]


def test_queue_is_drained_before_a_graceful_end(server: EmbeddedServer, dial: Dial) -> None:
    wire, worker = dial(server), dial(server)
    fill(wire, 0, 5000)
    server.server.broker.stop_accepting()

    worker.can_do(b"f")

    assert not server.server.broker.idle
    assert drain(worker) == numbers(0, 5000)
    assert server.server.broker.idle


def test_folder_that_cannot_be_written_is_said_and_jobs_are_refused(
    dial: Dial, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedServer(
        max_memory=BUDGET, spill_dir=str(tmp_path / "none"), store_wait=0.2
    ) as server:
        wire = dial(server)
        wire.socket.sendall(packet(T.SUBMIT_JOB_BG, b"f", b"", b"x") * 3000)
        heard = [wire.receive() for _ in range(3000)]

    refused = [one for one in heard if one.number == T.ERROR]
    assert 800 < len(refused) < 2000
    assert {one.body.split(b"\0")[0] for one in refused} == {b"QUEUE_FULL"}
    assert "no file can be had" in caplog.text


def test_jobs_are_found_in_memory_and_in_the_file_and_the_dead_are_kept(
    dial: Dial, tmp_path: Path
) -> None:
    policy = ("f attempts=1 dead=yes durability=off",)
    with EmbeddedServer(
        max_memory=BUDGET, spill_dir=str(tmp_path), store_wait=20.0, policy=policy
    ) as server:
        wire = dial(server)
        handles = fill(wire, 0, 5000)
        # What is never written may be spilled all the same: it is a matter of room.
        assert server.server.broker.state.paged > 500

        wire.send_bytes(b"job list\n")
        listed = [json.loads(line) for line in wire.read_list()]
        assert {one["handle"].encode() for one in listed} == set(handles)
        wire.send_bytes(b"why " + handles[-1] + b"\n")
        assert json.loads(wire.read_line())["why"][0].startswith("It waits in the file")
        worker = dial(server)
        worker.can_do(b"f")
        for _ in range(2000):
            worker.send(T.GRAB_JOB)
            handle = worker.receive().body.split(b"\0")[0]
            worker.send(T.WORK_FAIL, handle)
        worker.expect_nothing()

        wire.send_bytes(b"dead export\n")
        dead = [json.loads(line) for line in wire.read_list()]
        assert len(dead) == 2000
        assert all(one["body"] for one in dead)


def test_dead_set_does_not_begin_while_workloads_are_in_the_file(
    server: EmbeddedServer, dial: Dial
) -> None:
    wire, worker = dial(server), dial(server)
    fill(wire, 0, 4000)
    one = server.server
    wait_until(lambda: one.broker.state.paged > 0)

    with pytest.raises(ConfigurationError, match="policy for f: dead = true cannot begin"):
        one.decide_anew(["other attempts=2", "f attempts=1 dead=yes"])
    assert one.broker.rules.policies.of(b"other") is None
    one.decide_anew(["other attempts=2 dead=yes", "f attempts=2"])

    worker.can_do(b"f")
    drain(worker)
    one.decide_anew(["f attempts=1 dead=yes"])


def test_large_workloads_that_somebody_waits_for_go_to_the_file_too(
    dial: Dial, tmp_path: Path
) -> None:
    """Forty megabytes of them in a budget of ten."""
    with EmbeddedServer(max_memory=10_000_000, spill_dir=str(tmp_path), store_wait=30.0) as server:
        client, worker = dial(server), dial(server)
        bodies = [bytes([n]) * 1_000_000 for n in range(1, 41)]
        handles = [client.submit(b"f", body, b"", T.SUBMIT_JOB) for body in bodies]
        state = server.server.broker.state
        wait_until(lambda: state.memory < 7_000_000)

        worker.can_do(b"f")
        for handle, body in zip(handles, bodies, strict=True):
            worker.send(T.GRAB_JOB)
            job = worker.receive()
            assert job.body == b"\0".join([handle, b"f", body])
            worker.send(T.WORK_COMPLETE, handle, body[:10])
            assert client.receive().body == handle + b"\0" + body[:10]
        worker.send_bytes(b"job list\n")
        assert worker.read_list() == []
        assert state.memory == 0
