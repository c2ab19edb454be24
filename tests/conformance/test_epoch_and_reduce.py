"""Jobs for later, and jobs with a reducer."""

from __future__ import annotations

import time

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import Server
from tests.conformance.wire import T, Wire, label
from tests.support import wait_until


def soon(seconds: float = 1.5) -> tuple[bytes, float]:
    """A time in a while, in whole seconds, as the packet has it and as a number.

    The next full second may be but a moment away; so it is one further, and at
    least ``seconds`` less a half from now.
    """
    when = int(time.time() + seconds + 0.5)
    return b"%d" % when, float(when)


def collect(worker: Wire, count: int) -> list[bytes]:
    """Do jobs until so many are done; their workloads in order."""
    done: list[bytes] = []

    def enough() -> bool:
        done.extend(worker.workloads())
        return len(done) >= count

    wait_until(enough)
    return done


# ── epoch ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("when", [b"0", b"", b"1", b"1000000000"])
def test_time_that_has_come_means_now(server: Server, dial: Dial, name: bytes, when: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)

    client.send(T.SUBMIT_JOB_EPOCH, name, b"", when, b"wo\0rk")
    handle = client.created()

    assert worker.grab() == (handle, name, b"wo\0rk")
    worker.send(T.WORK_COMPLETE, handle, b"r")
    worker.expect_nothing()
    client.expect_nothing()


def test_job_for_later_is_not_handed_out_before(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)

    client.send(T.SUBMIT_JOB_EPOCH, name, b"", b"%d" % (time.time() + 3600), b"later")
    handle = client.created()

    worker.grab_none()
    assert client.status(handle) == (b"1", b"0", b"0", b"0")
    assert client.counts(name) == (1, 0, 1)
    assert client.queued(name) == (0, 1, 0)


def test_sleeper_is_woken_when_the_time_has_come(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)
    worker.sleep()
    when, wall = soon()
    client.send(T.SUBMIT_JOB_EPOCH, name, b"", when, b"w")
    handle = client.created()

    worker.expect(T.NOOP)

    assert time.time() >= wall
    assert worker.grab() == (handle, name, b"w")


def test_waiting_job_hides_no_other_job(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)
    client.send(T.SUBMIT_JOB_EPOCH, name, b"", b"%d" % (time.time() + 3600), b"later")
    client.created()
    worker.sleep()

    client.submit(name, b"low", number=T.SUBMIT_JOB_LOW)
    client.submit(name, b"normal")
    client.submit(name, b"high", number=T.SUBMIT_JOB_HIGH)

    worker.expect(T.NOOP)
    assert worker.workloads() == [b"high", b"normal", b"low"]
    worker.sleep()


def test_jobs_for_later_come_in_the_order_of_their_times(
    ours: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)
    when, wall = soon()
    for later, workload in ((1, b"third"), (0, b"first"), (0, b"second")):
        client.send(T.SUBMIT_JOB_EPOCH, name, b"", b"%d" % (int(when) + later), workload)
        client.created()

    done = collect(worker, 3)

    assert done == [b"first", b"second", b"third"]
    assert time.time() >= wall + 1


def test_foreground_job_of_the_same_unique_waits_along(
    ours: Server, dial: Dial, name: bytes
) -> None:
    client, other, worker = dial(ours), dial(ours), dial(ours)
    worker.can_do(name)
    when, wall = soon()
    client.send(T.SUBMIT_JOB_EPOCH, name, b"same", when, b"w")
    handle = client.created()

    assert other.submit(name, b"now!", b"same") == handle

    worker.grab_none()
    assert collect(worker, 1) == [b"w"]
    assert time.time() >= wall
    other.expect(T.WORK_COMPLETE, handle, b"")
    client.expect_nothing()


def test_cancelled_job_for_later_never_comes(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)
    worker.sleep()
    when, wall = soon()
    client.send(T.SUBMIT_JOB_EPOCH, name, b"", when, b"w")
    handle = client.created()
    client.send_bytes(b"cancel job %s\n" % handle)
    client.expect_bytes(b"OK\r\n")

    worker.expect_silence(max(0.0, wall - time.time()) + 0.2)

    worker.grab_none()
    assert client.counts(name) == (0, 0, 1)


def test_far_future_is_a_time_like_any_other(ours: Server, dial: Dial, name: bytes) -> None:
    client = dial(ours)

    for when in (b"4102444800", b"253402300799"):
        client.send(T.SUBMIT_JOB_EPOCH, name, b"", when, b"w")
        handle = client.created()
        assert client.status(handle) == (b"1", b"0", b"0", b"0")

    for when in (b"9223372036854775808", b"9" * 1000):
        client.send(T.SUBMIT_JOB_EPOCH, name, b"", when, b"w")
        client.expect_error(b"INVALID_ARGUMENT")


# ── reduce ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [T.SUBMIT_REDUCE_JOB, T.SUBMIT_REDUCE_JOB_BACKGROUND], ids=label)
@pytest.mark.parametrize("aggregator", [b"", b"ignored"])
def test_reducer_is_told_to_who_grabs_all(
    server: Server, dial: Dial, name: bytes, number: int, aggregator: bytes
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)

    client.send(number, name, b"u", b"reducer", aggregator, b"wo\0rk")
    handle = client.created()
    worker.send(T.GRAB_JOB_ALL)

    worker.expect(T.JOB_ASSIGN_ALL, handle, name, b"u", b"reducer", b"wo\0rk")
    worker.send(T.WORK_COMPLETE, handle, b"r")
    if number == T.SUBMIT_REDUCE_JOB:
        client.expect(T.WORK_COMPLETE, handle, b"r")
    client.expect_nothing()


def test_reducer_is_not_told_to_others(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handles = []
    for unique in (b"u1", b"u2"):
        client.send(T.SUBMIT_REDUCE_JOB, name, unique, b"reducer", b"", b"w")
        handles.append(client.created())

    worker.send(T.GRAB_JOB)
    worker.expect(T.JOB_ASSIGN, handles[0], name, b"w")
    worker.send(T.GRAB_JOB_UNIQ)
    worker.expect(T.JOB_ASSIGN_UNIQ, handles[1], name, b"u2", b"w")


def test_empty_reducer_is_none(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    client.send(T.SUBMIT_REDUCE_JOB, name, b"u", b"", b"", b"w")
    handle = client.created()

    worker.send(T.GRAB_JOB_ALL)

    worker.expect(T.JOB_ASSIGN_UNIQ, handle, name, b"u", b"w")


def test_reduce_job_without_an_aggregator_is_understood(
    ours: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)

    client.send(T.SUBMIT_REDUCE_JOB, name, b"u", b"reducer", b"work")
    handle = client.created()
    worker.send(T.GRAB_JOB_ALL)

    worker.expect(T.JOB_ASSIGN_ALL, handle, name, b"u", b"reducer", b"work")


def test_reduce_job_has_normal_priority(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)

    client.submit(name, b"low", number=T.SUBMIT_JOB_LOW)
    client.send(T.SUBMIT_REDUCE_JOB, name, b"", b"r", b"", b"reduce")
    client.created()
    client.submit(name, b"high", number=T.SUBMIT_JOB_HIGH)

    assert client.queued(name) == (1, 1, 1)
    assert worker.workloads() == [b"high", b"reduce", b"low"]


def test_reducer_survives_the_death_of_a_worker(server: Server, dial: Dial, name: bytes) -> None:
    client, worker, second = dial(server), dial(server), dial(server)
    worker.can_do(name)
    client.send(T.SUBMIT_REDUCE_JOB, name, b"u", b"reducer", b"", b"w")
    handle = client.created()
    worker.send(T.GRAB_JOB_ALL)
    worker.expect(T.JOB_ASSIGN_ALL, handle, name, b"u", b"reducer", b"w")

    worker.cut()
    wait_until(lambda: client.counts(name) == (1, 0, 0))
    second.can_do(name)
    second.send(T.GRAB_JOB_ALL)

    second.expect(T.JOB_ASSIGN_ALL, handle, name, b"u", b"reducer", b"w")
