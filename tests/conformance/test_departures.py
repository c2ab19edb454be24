"""Clients that leave, workers that leave, and how often a job is tried."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, C, Server
from tests.conformance.wire import T, hang_up, label
from tests.support import wait_until

FOREGROUND = [T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB_LOW]


# ── clients ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", FOREGROUND, ids=label)
def test_queued_job_of_a_client_that_left_is_removed_at_once(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, other = dial(ours), dial(ours)
    handle = client.submit(name, b"w", b"u", number)

    client.close()

    wait_until(lambda: other.counts(name) == (0, 0, 0))
    assert other.queued(name) == (0, 0, 0)
    assert other.status(handle) == (b"0", b"0", b"0", b"0")
    other.send_bytes(b"show jobs\n")
    assert not [line for line in other.read_list() if line.startswith(handle + b"\t")]


def test_queued_job_of_a_client_that_left_never_runs(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(server), dial(server)
    client.submit(name, b"orphan")
    handle = worker.submit(name, b"wanted")
    hang_up(client, worker)

    worker.can_do(name)

    assert worker.grab() == (handle, name, b"wanted")
    worker.grab_none()


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_same_unique_after_the_client_left_is_a_new_job_that_runs(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, again, worker = dial(ours), dial(ours), dial(ours)
    handle = client.submit(name, b"old", b"same")
    client.close()
    wait_until(lambda: again.counts(name) == (0, 0, 0))

    new = again.submit(name, b"new", b"same", number)

    assert new != handle
    worker.can_do(name)
    assert worker.grab() == (new, name, b"new")


def test_running_job_of_a_client_that_left_runs_to_its_end(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    hang_up(client, worker)
    worker.send(T.WORK_DATA, handle, b"d")
    worker.send(T.WORK_STATUS, handle, b"1", b"2")
    worker.expect_nothing()
    assert worker.status(handle) == (b"1", b"1", b"1", b"2")
    worker.send(T.WORK_COMPLETE, handle, b"r")

    worker.expect_nothing()
    assert worker.counts(name) == (0, 0, 1)


def test_background_job_outlives_its_client(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    handle = client.submit(name, b"w", number=T.SUBMIT_JOB_BG)

    hang_up(client, worker)

    worker.can_do(name)
    assert worker.grab() == (handle, name, b"w")


def test_end_of_sending_is_the_end_of_the_client(ours: Server, dial: Dial, name: bytes) -> None:
    client, other = dial(ours), dial(ours)
    client.submit(name)

    client.end_sending()

    wait_until(lambda: other.counts(name) == (0, 0, 0))
    client.expect_close()


# ── workers ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_job_of_a_worker_that_left_runs_elsewhere(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, worker, second = dial(server), dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name, b"w", b"u", number)
    worker.grab()
    worker.send(T.WORK_STATUS, handle, b"1", b"2")
    if number == T.SUBMIT_JOB:
        client.expect(T.WORK_STATUS, handle, b"1", b"2")

    hang_up(worker, second)

    assert second.status(handle) == (b"1", b"0", b"0", b"0")
    client.expect_nothing()
    second.can_do(name)
    assert second.grab() == (handle, name, b"w")
    second.send(T.WORK_COMPLETE, handle, b"r")
    if number == T.SUBMIT_JOB:
        client.expect(T.WORK_COMPLETE, handle, b"r")
    client.expect_nothing()


def test_all_jobs_of_a_worker_that_left_run_elsewhere(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker, second = dial(server), dial(server), dial(server)
    worker.can_do(name, name + b"-other")
    handles = {client.submit(name, b"%d" % number) for number in range(3)}
    handles.add(client.submit(name + b"-other", b"3"))
    for _ in range(4):
        worker.grab()

    hang_up(worker, second)

    second.can_do(name, name + b"-other")
    assert {second.grab()[0] for _ in range(4)} == handles
    second.grab_none()


@pytest.mark.parametrize("word", [T.CANT_DO, T.RESET_ABILITIES], ids=label)
def test_job_of_a_worker_that_takes_its_word_back_runs_elsewhere(
    server: Server, dial: Dial, name: bytes, word: int
) -> None:
    client, worker, second = dial(server), dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name, b"w")
    worker.grab()

    worker.send(word, *([name] if word == T.CANT_DO else []))
    worker.send(T.WORK_COMPLETE, handle, b"too late")

    worker.expect_error(b"JOB_NOT_FOUND", b"Job given in work result not found")
    client.expect_nothing()
    second.can_do(name)
    assert second.grab() == (handle, name, b"w")


def test_job_of_another_function_stays_when_a_worker_takes_its_word_back(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name, name + b"-other")
    handle = client.submit(name)
    worker.grab()

    worker.send(T.CANT_DO, name + b"-other")
    worker.send(T.WORK_COMPLETE, handle, b"r")

    client.expect(T.WORK_COMPLETE, handle, b"r")
    worker.expect_nothing()


def test_client_that_is_its_own_worker_takes_its_job_along(
    server: Server, dial: Dial, name: bytes
) -> None:
    both, second = dial(server), dial(server)
    both.can_do(name)
    both.submit(name)
    both.grab()

    hang_up(both, second)

    second.can_do(name)
    second.grab_none()
    assert second.counts(name) == (0, 0, 1)


# ── attempts ─────────────────────────────────────────────────────────────────


def attempts(server: Server, dial: Dial, name: bytes, number: int, most: int) -> tuple[int, bool]:
    """How often a job is handed out if each worker dies, and whether its client was told."""
    client, observer = dial(server), dial(server)
    handle = client.submit(name, b"w", number=number)
    for count in range(most):
        worker = dial(server)
        worker.can_do(name)
        worker.send(T.GRAB_JOB)
        if worker.receive().number == T.NO_JOB:
            told = number == T.SUBMIT_JOB
            if told:
                client.expect(T.WORK_FAIL, handle)
            client.expect_nothing()
            assert client.status(handle) == (b"0", b"0", b"0", b"0")
            assert worker.counts(name) == (0, 0, 1)
            return count, told
        hang_up(worker, observer)
    client.expect_nothing()
    return most, False


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_job_is_tried_without_end_by_default(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    assert attempts(server, dial, name, number, 10) == (10, False)


@pytest.mark.parametrize(
    ("kind", "retries", "tries"),
    [
        (C, "1", 1),
        (C, "2", 2),
        (C, "3", 3),
        (OURS, "0", 1),
        (OURS, "1", 1),
        (OURS, "2", 2),
        (OURS, "3", 3),
        (OURS, "-1", 10),
    ],
)
def test_job_is_tried_as_often_as_was_asked(
    start: Start, dial: Dial, name: bytes, kind: str, retries: str, tries: int
) -> None:
    server = start(kind, f"--job-retries={retries}")

    endless = tries == 10
    assert attempts(server, dial, name, T.SUBMIT_JOB, 10) == (tries, not endless)
    assert attempts(server, dial, name + b"-bg", T.SUBMIT_JOB_BG, 10) == (tries, False)


@pytest.mark.parametrize("number", [T.WORK_FAIL, T.WORK_EXCEPTION], ids=label)
def test_job_that_failed_is_not_tried_again(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name, number=T.SUBMIT_JOB_BG)
    worker.grab()

    worker.send(number, handle, *([b"e"] if number == T.WORK_EXCEPTION else []))

    worker.grab_none()
    assert client.status(handle) == (b"0", b"0", b"0", b"0")


def test_retries_are_shown_to_administrators(server: Server, dial: Dial, name: bytes) -> None:
    client = dial(server)
    handle = client.submit(name, number=T.SUBMIT_JOB_BG)
    for _ in range(2):
        worker = dial(server)
        worker.can_do(name)
        worker.grab()
        hang_up(worker, client)

    client.send_bytes(b"show jobs\n")

    assert handle + b"\t2\t0\t1" in client.read_list()
