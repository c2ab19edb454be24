"""``maxqueue``: how many jobs a function may have."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import Server
from tests.conformance.wire import T, Wire, hang_up, label

BY_PRIORITY = [
    (T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB_HIGH_BG),
    (T.SUBMIT_JOB, T.SUBMIT_JOB_BG),
    (T.SUBMIT_JOB_LOW, T.SUBMIT_JOB_LOW_BG),
]


def limit(wire: Wire, name: bytes, *limits: int) -> None:
    """Set the limits of a function, which is made if it is not there."""
    wire.send_bytes(b"create function %s\r\n" % name)
    wire.expect_bytes(b"OK\r\n")
    wire.send_bytes(
        b" ".join([b"maxqueue", name, *(b"%d" % number for number in limits)]) + b"\r\n"
    )
    wire.expect_bytes(b"OK\r\n")


def refused(wire: Wire, name: bytes, number: int) -> bool:
    """Submit a job; whether the queue was full."""
    wire.send(number, name, b"", b"")
    heard = wire.receive()
    if heard.number == T.JOB_CREATED:
        return False
    assert heard.number == T.ERROR
    assert heard.body == b"QUEUE_ERROR\0Job queue is full"
    return True


@pytest.mark.parametrize("number", [number for pair in BY_PRIORITY for number in pair], ids=label)
def test_one_limit_is_for_all_priorities(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    wire = dial(server)
    limit(wire, name, 2)

    assert [refused(wire, name, number) for _ in range(4)] == [False, False, True, True]
    assert wire.counts(name) == (2, 0, 0)


def test_each_priority_may_have_its_own_limit_and_all_jobs_count(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(server)
    limit(wire, name, 1, 0, 2)

    assert not refused(wire, name, T.SUBMIT_JOB)
    assert refused(wire, name, T.SUBMIT_JOB_HIGH)
    assert not refused(wire, name, T.SUBMIT_JOB_LOW)
    assert refused(wire, name, T.SUBMIT_JOB_LOW_BG)
    assert not refused(wire, name, T.SUBMIT_JOB_BG)
    assert wire.queued(name) == (0, 2, 1)


def test_running_jobs_count(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)
    limit(wire, name, 1)
    wire.can_do(name)
    handle = wire.submit(name)
    wire.grab()

    assert refused(wire, name, T.SUBMIT_JOB)
    wire.send(T.WORK_COMPLETE, handle, b"")
    wire.expect(T.WORK_COMPLETE, handle, b"")

    assert not refused(wire, name, T.SUBMIT_JOB)


def test_joining_submissions_pass_a_full_queue(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)
    limit(wire, name, 1)

    handle = wire.submit(name, b"w", b"same")

    assert wire.submit(name, b"w", b"same") == handle
    assert wire.submit(name, b"w", b"same", T.SUBMIT_JOB_HIGH_BG) == handle
    assert refused(wire, name, T.SUBMIT_JOB)


def test_jobs_without_clients_do_not_count(ours: Server, dial: Dial, name: bytes) -> None:
    wire, leaving = dial(ours), dial(ours)
    limit(wire, name, 1)
    leaving.submit(name)
    assert refused(wire, name, T.SUBMIT_JOB)

    hang_up(leaving, wire)

    assert not refused(wire, name, T.SUBMIT_JOB)


def test_requeued_jobs_are_not_refused(server: Server, dial: Dial, name: bytes) -> None:
    wire, worker, second = dial(server), dial(server), dial(server)
    limit(wire, name, 1)
    worker.can_do(name)
    handle = wire.submit(name)
    worker.grab()

    hang_up(worker, second)

    second.can_do(name)
    assert second.grab()[0] == handle


@pytest.mark.parametrize(
    ("words", "refusals"),
    [
        (b"", {}),
        (b" 0", {}),
        (b" -3", {}),
        (b" abc", {}),
        (b" 1", {T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB, T.SUBMIT_JOB_LOW}),
        (b" 1 1", {T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB}),
        (b" 0 1", {T.SUBMIT_JOB}),
        (b" 0 0 1", {T.SUBMIT_JOB_LOW}),
        (b" 1 x -1", {T.SUBMIT_JOB_HIGH}),
    ],
)
def test_limits_are_read_as_ever(
    server: Server, dial: Dial, name: bytes, words: bytes, refusals: set[T]
) -> None:
    wire = dial(server)
    limit(wire, name, 5)
    wire.submit(name)

    wire.send_bytes(b"maxqueue %s%s\n" % (name, words))
    wire.expect_bytes(b"OK\r\n")

    found = {
        number
        for number in (T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB, T.SUBMIT_JOB_LOW)
        if refused(wire, name, number)
    }
    assert found == set(refusals)


def test_limit_of_a_function_not_seen_yet_is_remembered(
    ours: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(ours)
    wire.send_bytes(b"maxqueue %s 1\n" % name)
    wire.expect_bytes(b"OK\r\n")

    assert not refused(wire, name, T.SUBMIT_JOB)
    assert refused(wire, name, T.SUBMIT_JOB)


def test_refused_job_leaves_nothing_behind(server: Server, dial: Dial, name: bytes) -> None:
    wire, worker = dial(server), dial(server)
    limit(wire, name, 1)
    wire.submit(name, b"kept", b"", T.SUBMIT_JOB_BG)
    for _ in range(3):
        wire.send(T.SUBMIT_JOB_BG, name, b"refused", b"refused")
        wire.expect_error(b"QUEUE_ERROR", b"Job queue is full")

    worker.can_do(name)

    assert worker.workloads() == [b"kept"]
    wire.send(T.GET_STATUS_UNIQUE, b"refused")
    wire.expect(T.STATUS_RES_UNIQUE, b"refused", b"0", b"0", b"0", b"0", b"0")
