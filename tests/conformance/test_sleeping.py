"""Who is woken, when, and how often; and that no wake-up is ever lost."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import Packet, T, Wire, packet
from tests.support import wait_until


def test_sleeper_is_woken_by_a_new_job(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    worker.sleep()

    client.submit(name)

    worker.expect(T.NOOP)
    worker.grab()
    worker.expect_nothing()


def test_worker_that_is_awake_is_not_woken(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)

    client.submit(name)

    worker.expect_nothing()


def test_sleeper_is_not_woken_for_what_it_cannot_do(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    worker.sleep()

    client.submit(name + b"-other")

    worker.expect_nothing()


def test_one_sleep_is_ended_by_one_noop(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    worker.sleep()

    for _ in range(5):
        client.submit(name)

    worker.expect(T.NOOP)
    worker.expect_nothing()


def test_sleeping_twice_brings_one_noop(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    worker.sleep()
    worker.sleep()

    client.submit(name)

    worker.expect(T.NOOP)
    worker.expect_nothing()


def test_who_goes_to_sleep_beside_waiting_jobs_is_woken_at_once_and_every_time(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    client.submit(name)
    worker.can_do(name)

    for _ in range(3):
        worker.send(T.PRE_SLEEP)
        worker.expect(T.NOOP)
    worker.grab()

    worker.sleep()


def test_who_was_woken_at_once_does_not_count_as_asleep(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    client.submit(name)
    worker.can_do(name)
    worker.send(T.PRE_SLEEP)
    worker.expect(T.NOOP)

    client.submit(name)

    worker.expect_nothing()


def test_grab_ends_the_sleep(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    worker.sleep()
    worker.grab_none()

    client.submit(name)

    worker.expect_nothing()


def test_grab_allows_the_next_noop(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)

    for _ in range(3):
        worker.sleep()
        client.submit(name, number=T.SUBMIT_JOB_BG)
        worker.expect(T.NOOP)
        worker.workloads()


def test_all_sleepers_are_woken_if_asked_for(
    start: Start, kind: str, dial: Dial, name: bytes
) -> None:
    server = start(kind, "--worker-wakeup=0")
    workers, client = [dial(server) for _ in range(5)], dial(server)
    for worker in workers:
        worker.can_do(name)
        worker.sleep()

    client.submit(name)

    for worker in workers:
        worker.expect(T.NOOP)


@pytest.mark.parametrize("count", [1, 2])
def test_only_so_many_sleepers_are_woken_as_was_asked(
    start: Start, kind: str, dial: Dial, name: bytes, count: int
) -> None:
    server = start(kind, f"--worker-wakeup={count}")
    workers, client = [dial(server) for _ in range(4)], dial(server)
    for worker in workers:
        worker.can_do(name)
        worker.sleep()

    woken: list[int] = []
    for _ in range(4 // count):
        client.submit(name)
        now = [
            number
            for number, worker in enumerate(workers)
            if number not in woken and was_woken(worker)
        ]
        assert len(now) == count
        woken += now

    # Each job woke others, so that all of them are awake in the end.
    assert sorted(woken) == [0, 1, 2, 3]


def was_woken(worker: Wire) -> bool:
    """Whether a NOOP came, and nothing but a NOOP."""
    worker.send(T.ECHO_REQ, b"woken?")
    heard = worker.receive()
    if heard == Packet(T.NOOP):
        worker.expect(T.ECHO_RES, b"woken?")
        return True
    assert heard == Packet(T.ECHO_RES, b"woken?")
    return False


def test_joining_a_job_wakes_nobody(server: Server, dial: Dial, name: bytes) -> None:
    worker, second, client = dial(server), dial(server), dial(server)
    worker.can_do(name)
    client.submit(name, b"w", b"same")
    worker.grab()
    second.can_do(name)
    second.sleep()

    client.submit(name, b"w", b"same")

    second.expect_nothing()


def test_requeued_job_wakes_sleepers(server: Server, dial: Dial, name: bytes) -> None:
    worker, second, client = dial(server), dial(server), dial(server)
    worker.can_do(name)
    client.submit(name)
    worker.grab()
    second.can_do(name)
    second.sleep()

    worker.cut()

    second.expect(T.NOOP)
    second.grab()


def test_sleep_without_functions_is_sound(server: Server, dial: Dial) -> None:
    worker = dial(server)

    worker.send(T.PRE_SLEEP)

    worker.expect_nothing()


def test_sleep_is_the_first_word_and_the_wake_up_follows_the_abilities(
    ours: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(ours), dial(ours)
    worker.sleep()
    worker.can_do(name)

    client.submit(name)

    worker.expect(T.NOOP)


@pytest.mark.parametrize("number", [T.CAN_DO, T.CAN_DO_TIMEOUT])
def test_sleeper_that_learns_a_function_with_jobs_waiting_is_woken(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    worker, client = dial(ours), dial(ours)
    client.submit(name)
    worker.can_do(name + b"-other")
    worker.sleep()

    worker.send(number, name, *([b"5000"] if number == T.CAN_DO_TIMEOUT else []))

    worker.expect(T.NOOP)
    worker.grab()


def test_unused_noop_does_not_cost_the_next_one(ours: Server, dial: Dial, name: bytes) -> None:
    slow, quick, client = dial(ours), dial(ours), dial(ours)
    slow.can_do(name)
    quick.can_do(name)
    slow.sleep()
    client.submit(name, number=T.SUBMIT_JOB_BG)
    slow.expect(T.NOOP)
    quick.workloads()
    slow.sleep()

    client.submit(name, number=T.SUBMIT_JOB_BG)

    slow.expect(T.NOOP)


def test_worker_that_only_ever_sleeps_and_grabs_when_woken_gets_every_job(
    ours: Server, dial: Dial, name: bytes
) -> None:
    workers, client = [dial(ours) for _ in range(3)], dial(ours)
    for worker in workers:
        worker.can_do(name)
        worker.send(T.PRE_SLEEP)
    for number in range(30):
        client.send(T.SUBMIT_JOB_BG, name, b"", b"%d" % number)
    for _ in range(30):
        client.created()

    done: list[bytes] = []
    while len(done) < 30:
        for worker in workers:
            worker.expect(T.NOOP)
            worker.send(T.GRAB_JOB)
            handle, _function, workload = worker.receive().body.split(b"\0", 2)
            worker.send(T.WORK_COMPLETE, handle, b"")
            worker.send(T.PRE_SLEEP)
            done.append(workload)

    assert sorted(done, key=int) == [b"%d" % number for number in range(30)]


def test_no_noop_comes_between_a_grab_and_its_answer(ours: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(ours), dial(ours)
    worker.can_do(name)
    client.submit(name)

    worker.send_bytes(packet(T.PRE_SLEEP) + packet(T.GRAB_JOB))

    worker.expect(T.NOOP)
    assert worker.receive().number == T.JOB_ASSIGN
    worker.expect_nothing()


def test_grab_and_sleep_in_one_write_lose_nothing(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    client.submit(name, b"1")
    client.submit(name, b"2")

    worker.send_bytes(packet(T.GRAB_JOB) + packet(T.PRE_SLEEP))

    assert worker.receive().number == T.JOB_ASSIGN
    worker.expect(T.NOOP)
    worker.grab()
    worker.sleep()


def test_sleeper_among_all_woken_that_comes_too_late_may_sleep_again(
    start: Start, kind: str, dial: Dial, name: bytes
) -> None:
    server = start(kind, "--worker-wakeup=0")
    first, second, client = dial(server), dial(server), dial(server)
    for worker in (first, second):
        worker.can_do(name)
        worker.sleep()
    client.submit(name, number=T.SUBMIT_JOB_BG)
    first.expect(T.NOOP)
    second.expect(T.NOOP)
    first.workloads()
    second.grab_none()
    second.sleep()

    client.submit(name, number=T.SUBMIT_JOB_BG)

    second.expect(T.NOOP)
    first.expect_nothing()


def test_woken_one_of_many_that_dies_without_a_grab_leaves_no_job_unnoticed(
    start: Start, dial: Dial, name: bytes
) -> None:
    server = start(OURS, "--worker-wakeup=1")
    first, second, client = dial(server), dial(server), dial(server)
    for worker in (first, second):
        worker.can_do(name)
        worker.sleep()
    client.submit(name)
    woken, other = (first, second) if was_woken(first) else (second, first)

    woken.cut()

    wait_until(lambda: client.counts(name) == (1, 0, 1))
    other.expect(T.NOOP)
