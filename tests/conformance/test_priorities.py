"""Which job a worker gets next, and what a handle looks like."""

from __future__ import annotations

import socket

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T
from tests.support import wait_until


def test_high_goes_before_normal_before_low_and_each_in_its_order(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    for turn in (b"1", b"2"):
        client.submit(name, b"low" + turn, number=T.SUBMIT_JOB_LOW)
        client.submit(name, b"low-bg" + turn, number=T.SUBMIT_JOB_LOW_BG)
        client.submit(name, b"normal" + turn, number=T.SUBMIT_JOB)
        client.submit(name, b"normal-bg" + turn, number=T.SUBMIT_JOB_BG)
        client.submit(name, b"high" + turn, number=T.SUBMIT_JOB_HIGH)
        client.submit(name, b"high-bg" + turn, number=T.SUBMIT_JOB_HIGH_BG)

    assert client.queued(name) == (4, 4, 4)
    assert worker.workloads() == [
        *(b"high1", b"high-bg1", b"high2", b"high-bg2"),
        *(b"normal1", b"normal-bg1", b"normal2", b"normal-bg2"),
        *(b"low1", b"low-bg1", b"low2", b"low-bg2"),
    ]


def test_requeued_jobs_go_to_the_tail_of_their_own_priority(
    server: Server, dial: Dial, name: bytes
) -> None:
    first, second, client = dial(server), dial(server), dial(server)
    first.can_do(name)
    for number in (T.SUBMIT_JOB_LOW, T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH):
        for turn in (b"1", b"2"):
            client.submit(name, T(number).name.encode() + turn, number=number)

    first.grab()
    first.close()
    wait_until(lambda: client.counts(name) == (6, 0, 0))
    second.can_do(name)

    assert second.workloads() == [
        *(b"SUBMIT_JOB_HIGH2", b"SUBMIT_JOB_HIGH1"),
        *(b"SUBMIT_JOB1", b"SUBMIT_JOB2"),
        *(b"SUBMIT_JOB_LOW1", b"SUBMIT_JOB_LOW2"),
    ]


def test_functions_of_a_worker_take_turns(ours: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(ours), dial(ours)
    functions = [name + letter for letter in (b"a", b"b", b"c")]
    worker.can_do(*functions)
    for turn in range(3):
        for function in functions:
            client.submit(function, function[-1:] + b"%d" % turn)

    order = worker.workloads()

    assert len(order) == 9
    for turn in range(3):
        of_turn = order[3 * turn : 3 * turn + 3]
        assert sorted(of_turn) == [b"a%d" % turn, b"b%d" % turn, b"c%d" % turn]
        assert [word[:1] for word in of_turn] == [word[:1] for word in order[:3]]


def test_a_high_job_of_any_function_goes_before_a_normal_one_of_another(
    ours: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(ours), dial(ours)
    functions = [name + letter for letter in (b"a", b"b", b"c")]
    worker.can_do(*functions)
    for function in functions:
        for number in (T.SUBMIT_JOB_LOW, T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH):
            client.submit(function, T(number).name.encode(), number=number)

    assert worker.workloads() == [
        *[b"SUBMIT_JOB_HIGH"] * 3,
        *[b"SUBMIT_JOB"] * 3,
        *[b"SUBMIT_JOB_LOW"] * 3,
    ]


def test_a_busy_function_does_not_starve_its_neighbour(
    ours: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(ours), dial(ours)
    busy, quiet = name + b"busy", name + b"quiet"
    for functions in ((busy, quiet), (quiet, busy)):
        worker.send(T.RESET_ABILITIES)
        worker.can_do(*functions)
        for _ in range(20):
            client.submit(busy, b"busy", number=T.SUBMIT_JOB_BG)
        client.submit(quiet, b"quiet", number=T.SUBMIT_JOB_BG)

        order = worker.workloads()

        assert order.index(b"quiet") <= 1
        assert len(order) == 21


# ── handles ──────────────────────────────────────────────────────────────────


def test_handles_name_the_host_and_differ(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)

    handles = [wire.submit(name) for _ in range(50)]

    assert len(set(handles)) == 50
    prefix = b"H:" + socket.gethostname().encode() + b":"
    for handle in handles:
        assert handle.startswith(prefix)
        assert handle.removeprefix(prefix).isalnum()
        assert len(handle) <= 63


def test_handle_prefix_is_as_asked(start: Start, kind: str, dial: Dial, name: bytes) -> None:
    wire = dial(start(kind, "--job-handle-prefix", "Gear"))

    handle = wire.submit(name)

    assert handle.startswith(b"Gear:")
    assert handle.removeprefix(b"Gear:").isalnum()
    assert wire.status(handle) == (b"1", b"0", b"0", b"0")


def test_handles_are_not_used_again_after_a_restart(start: Start, dial: Dial, name: bytes) -> None:
    server = start(OURS)
    before = {dial(server).submit(name) for _ in range(5)}

    server.kill()
    server.restart()

    after = {dial(server).submit(name) for _ in range(5)}
    assert not before & after
