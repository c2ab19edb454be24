"""Submissions of the same function and unique id become one job, and none is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import Server
from tests.conformance.wire import T, Wire, label
from tests.support import wait_until

FOREGROUND = [T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB_LOW]
BACKGROUND = [T.SUBMIT_JOB_BG, T.SUBMIT_JOB_HIGH_BG, T.SUBMIT_JOB_LOW_BG]


# ── what is the same job ─────────────────────────────────────────────────────


@pytest.mark.parametrize("second", [*FOREGROUND, *BACKGROUND], ids=label)
@pytest.mark.parametrize("first", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_same_unique_joins_the_queued_job_with_its_workload(
    server: Server, dial: Dial, name: bytes, first: int, second: int
) -> None:
    one, two, worker = dial(server), dial(server), dial(server)
    worker.can_do(name)

    handle = one.submit(name, b"first", b"same", first)
    assert two.submit(name, b"second", b"same", second) == handle

    assert worker.counts(name) == (1, 0, 1)
    assert worker.grab() == (handle, name, b"first")
    worker.grab_none()


@pytest.mark.parametrize("second", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
@pytest.mark.parametrize("first", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_same_unique_joins_the_running_job(
    server: Server, dial: Dial, name: bytes, first: int, second: int
) -> None:
    one, two, worker = dial(server), dial(server), dial(server)
    worker.can_do(name)
    handle = one.submit(name, b"first", b"same", first)
    worker.grab()

    assert two.submit(name, b"second", b"same", second) == handle

    worker.grab_none()
    worker.send(T.WORK_COMPLETE, handle, b"for all")
    for wire, number in ((one, first), (two, second)):
        if number == T.SUBMIT_JOB:
            wire.expect(T.WORK_COMPLETE, handle, b"for all")
        wire.expect_nothing()


def test_same_unique_after_the_end_is_a_new_job(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name, b"first", b"same")
    worker.grab()
    worker.send(T.WORK_COMPLETE, handle, b"")
    client.expect(T.WORK_COMPLETE, handle, b"")

    again = client.submit(name, b"second", b"same")

    assert again != handle
    assert worker.grab() == (again, name, b"second")


def test_no_unique_is_never_the_same(server: Server, dial: Dial, name: bytes) -> None:
    client = dial(server)

    assert client.submit(name, b"w") != client.submit(name, b"w")


def test_same_unique_of_another_function_is_another_job(
    server: Server, dial: Dial, name: bytes
) -> None:
    client = dial(server)

    assert client.submit(name, b"w", b"same") != client.submit(name + b"-other", b"w", b"same")


def test_higher_priority_of_a_joining_submission_does_not_move_the_job(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    client.submit(name, b"low", b"same", T.SUBMIT_JOB_LOW)
    client.submit(name, b"normal")

    client.submit(name, b"high", b"same", T.SUBMIT_JOB_HIGH)

    assert client.queued(name) == (0, 1, 1)
    assert worker.grab()[2] == b"normal"
    assert worker.grab()[2] == b"low"


def test_dash_means_the_same_workload(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)

    handle = client.submit(name, b"same", b"-")

    assert client.submit(name, b"same", b"-") == handle
    assert client.submit(name, b"other", b"-") != handle
    assert client.submit(name + b"-other", b"same", b"-") != handle
    worker.send(T.GRAB_JOB_UNIQ)
    worker.expect(T.JOB_ASSIGN_UNIQ, handle, name, b"-", b"same")


def test_dash_without_a_workload_is_never_the_same(server: Server, dial: Dial, name: bytes) -> None:
    client = dial(server)

    assert client.submit(name, b"", b"-") != client.submit(name, b"", b"-")


def test_dash_job_is_not_found_by_its_workload(server: Server, dial: Dial, name: bytes) -> None:
    client = dial(server)
    handle = client.submit(name, b"workload of " + name, b"-")

    assert client.submit(name, b"x", b"workload of " + name) != handle


def test_status_by_unique_does_not_find_dash_jobs(server: Server, dial: Dial, name: bytes) -> None:
    client = dial(server)
    client.submit(name, b"dashed " + name, b"-")

    for unique in (b"-", b"dashed " + name):
        client.send(T.GET_STATUS_UNIQUE, unique)
        client.expect(T.STATUS_RES_UNIQUE, unique, b"0", b"0", b"0", b"0", b"0")


# ── who hears of it ──────────────────────────────────────────────────────────


def test_every_entry_gets_its_own_copy_of_every_update(
    server: Server, dial: Dial, name: bytes
) -> None:
    twice, once, background, worker = (dial(server) for _ in range(4))
    worker.can_do(name)
    handle = twice.submit(name, b"w", b"same")
    twice.submit(name, b"w", b"same")
    once.submit(name, b"w", b"same")
    background.submit(name, b"w", b"same", T.SUBMIT_JOB_BG)
    worker.grab()

    updates: list[tuple[int, tuple[bytes, ...]]] = [
        (T.WORK_DATA, (handle, b"d\0d")),
        (T.WORK_WARNING, (handle, b"w")),
        (T.WORK_STATUS, (handle, b"1", b"2")),
        (T.WORK_COMPLETE, (handle, b"r")),
    ]
    for number, arguments in updates:
        worker.send(number, *arguments)

    for number, arguments in updates:
        twice.expect(number, *arguments)
        twice.expect(number, *arguments)
        once.expect(number, *arguments)
    for wire in (twice, once, background, worker):
        wire.expect_nothing()


def test_unique_status_counts_the_entries(server: Server, dial: Dial, name: bytes) -> None:
    one, two, worker = dial(server), dial(server), dial(server)
    worker.can_do(name)
    unique = b"unique of " + name

    one.submit(name, b"w", unique, T.SUBMIT_JOB_BG)
    one.send(T.GET_STATUS_UNIQUE, unique)
    one.expect(T.STATUS_RES_UNIQUE, unique, b"1", b"0", b"0", b"0", b"0")
    for _ in range(2):
        one.submit(name, b"w", unique)
    handle = two.submit(name, b"w", unique)
    one.send(T.GET_STATUS_UNIQUE, unique)
    one.expect(T.STATUS_RES_UNIQUE, unique, b"1", b"0", b"0", b"0", b"3")
    worker.grab()
    worker.send(T.WORK_STATUS, handle, b"3", b"4")
    two.expect(T.WORK_STATUS, handle, b"3", b"4")
    two.send(T.GET_STATUS_UNIQUE, unique)
    two.expect(T.STATUS_RES_UNIQUE, unique, b"1", b"1", b"3", b"4", b"3")
    worker.send(T.WORK_FAIL, handle)
    two.expect(T.WORK_FAIL, handle)

    two.send(T.GET_STATUS_UNIQUE, unique)
    two.expect(T.STATUS_RES_UNIQUE, unique, b"0", b"0", b"0", b"0", b"0")


def test_client_that_leaves_is_missed_by_nobody(server: Server, dial: Dial, name: bytes) -> None:
    leaving, staying, worker = dial(server), dial(server), dial(server)
    worker.can_do(name)
    handle = leaving.submit(name, b"w", b"same")
    staying.submit(name, b"w", b"same")

    leaving.cut()
    assert worker.grab() == (handle, name, b"w")
    worker.send(T.WORK_COMPLETE, handle, b"r")

    staying.expect(T.WORK_COMPLETE, handle, b"r")


# ── the matrix: what a background submission may rely on ─────────────────────

Join = Callable[[Dial, Server, bytes], tuple[bytes, Wire]]


def background_first(dial: Dial, server: Server, name: bytes) -> tuple[bytes, Wire]:
    """A background job, then a foreground client that joins it."""
    background, client = dial(server), dial(server)
    handle = background.submit(name, b"w", b"same", T.SUBMIT_JOB_BG)
    assert client.submit(name, b"x", b"same") == handle
    return handle, client


def foreground_first(dial: Dial, server: Server, name: bytes) -> tuple[bytes, Wire]:
    """A foreground job, which a background submission joins."""
    background, client = dial(server), dial(server)
    handle = client.submit(name, b"w", b"same")
    assert background.submit(name, b"x", b"same", T.SUBMIT_JOB_BG) == handle
    return handle, client


both_orders = pytest.mark.parametrize("join", [background_first, foreground_first])


@both_orders
def test_background_job_runs_although_its_client_left_while_it_was_queued(
    ours: Server, dial: Dial, name: bytes, join: Join
) -> None:
    handle, client = join(dial, ours, name)
    worker = dial(ours)
    worker.can_do(name)

    client.cut()
    unique_status_is(worker, b"same", clients=0)

    assert worker.status(handle) == (b"1", b"0", b"0", b"0")
    assert worker.grab() == (handle, name, b"w")


@both_orders
def test_background_job_runs_again_although_client_and_worker_left_while_it_ran(
    ours: Server, dial: Dial, name: bytes, join: Join
) -> None:
    handle, client = join(dial, ours, name)
    worker, second = dial(ours), dial(ours)
    worker.can_do(name)
    worker.grab()

    client.cut()
    worker.cut()

    wait_until(lambda: second.counts(name) == (1, 0, 0))
    second.can_do(name)
    assert second.grab() == (handle, name, b"w")
    second.send(T.WORK_COMPLETE, handle, b"")
    assert second.counts(name) == (0, 0, 1)


@both_orders
def test_background_job_runs_again_for_its_client_if_the_worker_dies(
    ours: Server, dial: Dial, name: bytes, join: Join
) -> None:
    handle, client = join(dial, ours, name)
    worker, second = dial(ours), dial(ours)
    worker.can_do(name)
    second.can_do(name)
    worker.grab()

    worker.cut()
    wait_until(lambda: second.counts(name) == (1, 0, 1))
    second.grab()
    second.send(T.WORK_COMPLETE, handle, b"at last")

    client.expect(T.WORK_COMPLETE, handle, b"at last")
    client.expect_nothing()


@both_orders
def test_background_job_that_is_cancelled_never_runs_and_its_client_hears_of_it(
    ours: Server, dial: Dial, name: bytes, join: Join
) -> None:
    handle, client = join(dial, ours, name)
    worker = dial(ours)
    worker.can_do(name)

    worker.send_bytes(b"cancel job %s\r\n" % handle)
    worker.expect_bytes(b"OK\r\n")

    client.expect(T.WORK_FAIL, handle)
    worker.grab_none()
    assert worker.counts(name) == (0, 0, 1)


def test_foreground_job_that_a_background_submission_joined_while_it_ran_is_kept(
    ours: Server, dial: Dial, name: bytes
) -> None:
    client, background, worker, second = (dial(ours) for _ in range(4))
    worker.can_do(name)
    handle = client.submit(name, b"w", b"same")
    worker.grab()
    assert background.submit(name, b"x", b"same", T.SUBMIT_JOB_BG) == handle

    client.cut()
    worker.cut()

    wait_until(lambda: second.counts(name) == (1, 0, 0))
    second.can_do(name)
    assert second.grab() == (handle, name, b"w")


def unique_status_is(wire: Wire, unique: bytes, clients: int) -> None:
    """Wait until a unique id has so many clients."""

    def clients_now() -> bool:
        wire.send(T.GET_STATUS_UNIQUE, unique)
        return wire.receive().body.split(b"\0")[-1] == b"%d" % clients

    wait_until(clients_now)
