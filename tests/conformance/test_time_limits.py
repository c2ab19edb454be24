"""Time limits of functions: CAN_DO_TIMEOUT, in milliseconds, one for each job."""

from __future__ import annotations

import time

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T
from tests.support import patient, wait_until


def milliseconds(seconds: float) -> bytes:
    """A limit within which a patient test can do something."""
    return b"%d" % (patient(seconds) * 1000)


def test_overdue_job_goes_back_to_the_queue_and_its_client_hears_nothing(
    ours: Server, dial: Dial, name: bytes
) -> None:
    client, worker, second = dial(ours), dial(ours), dial(ours)
    worker.send(T.CAN_DO_TIMEOUT, name, b"80")
    handle = client.submit(name, b"w")
    started = time.monotonic()
    worker.grab()

    wait_until(lambda: second.counts(name) == (1, 0, 1))

    assert time.monotonic() - started >= 0.07
    client.expect_nothing()
    second.can_do(name)
    assert second.grab() == (handle, name, b"w")
    worker.send(T.WORK_COMPLETE, handle, b"too late")
    worker.expect_error(b"JOB_NOT_FOUND", b"Job given in work result not found")
    second.send(T.WORK_COMPLETE, handle, b"in time")
    client.expect(T.WORK_COMPLETE, handle, b"in time")
    client.expect_nothing()


def test_overdue_job_goes_back_to_the_queue_in_the_c_server_too(
    server: Server, dial: Dial, name: bytes
) -> None:
    # 1000 ms is the least that the C server knows.
    client, worker, second = dial(server), dial(server), dial(server)
    worker.send(T.CAN_DO_TIMEOUT, name, b"1000")
    handle = client.submit(name, b"w")
    second.can_do(name + b"-other")
    worker.grab()

    wait_until(lambda: client.counts(name) == (1, 0, 1))

    second.can_do(name)
    assert second.grab() == (handle, name, b"w")
    second.send(T.WORK_COMPLETE, handle, b"in time")
    client.expect(T.WORK_COMPLETE, handle, b"in time")


def test_overdue_job_wakes_a_sleeper(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker, second = dial(ours), dial(ours), dial(ours)
    worker.send(T.CAN_DO_TIMEOUT, name, milliseconds(0.05))
    client.submit(name)
    worker.grab()
    second.can_do(name)
    second.send(T.PRE_SLEEP)

    second.expect(T.NOOP)

    second.grab()


def test_worker_stays_registered_after_its_time_limit(
    ours: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(ours), dial(ours)
    worker.send(T.CAN_DO_TIMEOUT, name, milliseconds(0.4))
    handle = client.submit(name)
    worker.grab()
    wait_until(lambda: client.counts(name) == (1, 0, 1))

    assert worker.grab()[0] == handle
    worker.send(T.WORK_COMPLETE, handle, b"second try")

    client.expect(T.WORK_COMPLETE, handle, b"second try")


def test_job_that_ended_in_time_leaves_no_timer(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker, other = dial(ours), dial(ours), dial(ours)
    other.can_do(name)
    other.sleep()
    worker.send(T.CAN_DO_TIMEOUT, name, milliseconds(0.4))
    endings: list[tuple[T, list[bytes]]] = [
        (T.WORK_COMPLETE, [b""]),
        (T.WORK_FAIL, []),
        (T.WORK_EXCEPTION, [b""]),
    ]
    for number, rest in endings:
        handle = client.submit(name)
        worker.grab()
        worker.send(number, handle, *rest)
        client.receive()
    other.expect(T.NOOP)
    other.grab_none()
    other.sleep()

    other.expect_silence(patient(0.6))

    assert client.counts(name) == (0, 0, 2)
    worker.expect_nothing()


def test_each_job_of_a_connection_has_its_own_limit(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(ours), dial(ours)
    quick, slow, free = (name + ending for ending in (b"quick", b"slow", b"free"))
    worker.send(T.CAN_DO_TIMEOUT, slow, milliseconds(0.75))
    worker.send(T.CAN_DO_TIMEOUT, quick, b"100")
    worker.can_do(free)
    for function in (slow, quick, free):
        for _ in range(2):
            client.submit(function)
    for _ in range(6):
        worker.grab()
    assert client.counts(slow) == (2, 2, 1)

    wait_until(lambda: client.counts(quick) == (2, 0, 1))
    assert client.counts(slow) == (2, 2, 1)
    wait_until(lambda: client.counts(slow) == (2, 0, 1))

    assert client.counts(free) == (2, 2, 1)


@pytest.mark.parametrize("limit", [b"0", b"-5", b"abc", b""])
def test_no_time_is_no_limit(ours: Server, dial: Dial, name: bytes, limit: bytes) -> None:
    client, worker = dial(ours), dial(ours)
    worker.send(T.CAN_DO_TIMEOUT, name, limit)
    handle = client.submit(name)
    worker.grab()

    worker.expect_silence(0.1)

    assert client.status(handle) == (b"1", b"1", b"0", b"0")


def test_last_word_on_the_limit_counts(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(ours), dial(ours)
    worker.send(T.CAN_DO_TIMEOUT, name, b"50")
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.expect_silence(0.15)

    assert client.status(handle) == (b"1", b"1", b"0", b"0")


def test_overdue_job_fails_when_its_attempts_are_used_up(
    start: Start, dial: Dial, name: bytes
) -> None:
    server = start(OURS, "--job-retries=2")
    client, worker = dial(server), dial(server)
    worker.send(T.CAN_DO_TIMEOUT, name, b"50")
    handle = client.submit(name)
    worker.grab()
    wait_until(lambda: worker.counts(name) == (1, 0, 1))
    worker.grab()

    client.expect(T.WORK_FAIL, handle)

    client.expect_nothing()
    assert worker.counts(name) == (0, 0, 1)
    worker.grab_none()


def test_overdue_job_of_a_client_that_left_is_gone(ours: Server, dial: Dial, name: bytes) -> None:
    client, worker, other = dial(ours), dial(ours), dial(ours)
    worker.send(T.CAN_DO_TIMEOUT, name, b"100")
    client.submit(name)
    worker.grab()

    client.cut()

    wait_until(lambda: other.counts(name) == (0, 0, 1))
    worker.grab_none()
