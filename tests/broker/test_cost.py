"""A job costs the same however many jobs, functions and workers there are.

Measured in processor time, against itself, with room to spare: a cost that grows with the
number of things is hundreds of times too much here, not three times.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from tests.broker.mind import Ear, Mind

# How a cost grows is the algorithm's doing, in any build and under any Python.
pytestmark = pytest.mark.once

#: How many times dearer a thing may be among many: caches and a shared machine, not growth.
TOLERANCE = 8.0


def best_time(what: Callable[[], object], rounds: int = 5) -> float:
    """Processor seconds of the quickest of some rounds."""
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            began = time.process_time()
            what()
            best = min(best, time.process_time() - began)
    finally:
        gc.enable()
    return best


def a_round(client: Ear, worker: Ear, names: list[bytes]) -> Callable[[], None]:
    """300 jobs: sleep, submit, wake, grab, finish."""
    broker = client.mind.broker

    def go() -> None:
        for number in range(300):
            name = names[number * 7919 % len(names)]
            broker.pre_sleep(worker)
            broker.submit(client, name, b"", b"w", 1, False, 0, b"")
            job = broker.grab(worker)
            assert job is not None
            broker.finish(worker, 3, job.handle, job.handle + b"\0", len(job.handle) + 1)
            broker.end_turn()
        client.said.clear()
        worker.said.clear()

    return go


def round_time(functions: int, workers: int, strict: bool = False) -> float:
    """What a round costs with so many functions that each of so many workers can do."""
    mind = Mind(checked=False, strict_order=strict)
    names = [b"f%d" % number for number in range(functions)]
    peers = [mind.join() for _ in range(workers)]
    for peer in peers:
        for name in names:
            mind.broker.can_do(peer, name, 0.0)
        if peer is not peers[0]:
            mind.broker.pre_sleep(peer)
    go = a_round(mind.join(), peers[0], names)
    go()
    return best_time(go)


@pytest.mark.parametrize("strict", [False, True])
def test_twenty_thousand_functions_cost_no_more_than_one(strict: bool) -> None:
    assert round_time(20_000, 1, strict) < TOLERANCE * round_time(1, 1, strict)


def test_ten_thousand_sleepers_cost_no_more_than_one() -> None:
    few, many = round_time(1, 2), round_time(1, 10_000)

    assert many < TOLERANCE * few


def change_time(abilities: int, change: str, strict: bool, company: bool) -> float:
    """What 300 changes cost to a worker with so many abilities that looks for work after each."""
    mind = Mind(checked=False, strict_order=strict)
    broker = mind.broker
    worker, other = mind.join(), mind.join()
    for peer in (worker, other) if company else (worker,):
        for number in range(abilities):
            broker.can_do(peer, b"f%d" % number, 0.0)
        broker.grab(peer)
    new = iter(range(10**9))

    def go() -> None:
        for number in range(150):
            if change == "always others":
                broker.can_do(worker, b"new%d" % next(new), 0.0)
            else:
                broker.can_do(worker, b"one", 0.0)
            broker.grab(worker)
            broker.pre_sleep(worker)
            if change == "one, on and off":
                broker.cant_do(worker, b"one")
            elif change == "old ones, off and on":
                broker.cant_do(worker, b"f%d" % (number % abilities))
            broker.grab(worker)
            if change == "old ones, off and on":
                broker.can_do(worker, b"f%d" % (number % abilities), 0.0)
        broker.end_turn()

    return best_time(go)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("company", [False, True])
@pytest.mark.parametrize("change", ["always others", "one, on and off", "old ones, off and on"])
def test_who_can_do_twenty_thousand_things_changes_one_as_cheaply_as_who_can_do_five(
    change: str, strict: bool, company: bool
) -> None:
    # Twice, because the abilities of the smaller one grow too.
    few, many = (change_time(size, change, strict, company) for size in (5, 20_000))

    assert many < 2 * TOLERANCE * few


def test_who_changes_nothing_any_more_finds_company_again() -> None:
    mind = Mind()
    names = [b"f%d" % number for number in range(40)]
    one, other = mind.worker(*names), mind.worker(*names)
    state = mind.broker.state
    assert (one.grab(), other.grab()) == (None, None)
    assert one.crew is other.crew
    for worker in (one, other):
        worker.can_do(b"new")
        worker.grab()
    assert one.crew is not None
    assert one.crew.key is None
    assert not state.crews

    for _ in range(41):
        one.sleep()
        other.sleep()
    assert mind.join().submit(b"new")

    assert one.crew is other.crew
    assert one.was_woken != other.was_woken
    assert len(state.crews) == 1


def submit_and_drain(queued: int) -> float:
    """What 300 jobs more cost, in and out, beside so many that wait."""
    mind = Mind(checked=False)
    client, worker = mind.join(), mind.worker()
    broker = mind.broker
    for _ in range(queued):
        broker.submit(client, b"f", b"", b"w", 1, True, 0, b"")
    client.said.clear()

    def go() -> None:
        for _ in range(300):
            broker.submit(client, b"f", b"", b"w", 1, True, 0, b"")
            job = broker.grab(worker)
            assert job is not None
            broker.finish(worker, 3, job.handle, job.handle + b"\0", len(job.handle) + 1)
        client.said.clear()

    return best_time(go)


def test_two_hundred_thousand_jobs_that_wait_make_none_dearer() -> None:
    assert submit_and_drain(200_000) < TOLERANCE * submit_and_drain(1_000)


def test_cancelling_in_the_middle_of_a_long_line_is_cheap() -> None:
    def cancel_time(queued: int) -> float:
        mind = Mind(checked=False)
        client = mind.join()
        for _ in range(queued):
            mind.broker.submit(client, b"f", b"", b"w", 1, True, 0, b"")
        handles = iter(mind.broker.job_handles()[queued // 4 :])

        def go() -> None:
            for _ in range(200):
                assert mind.broker.cancel(next(handles))

        return best_time(go)

    assert cancel_time(100_000) < TOLERANCE * cancel_time(2_000)


def test_leaving_is_paid_by_what_one_leaves_behind_and_not_by_what_others_do() -> None:
    def leave_time(others: int) -> float:
        mind = Mind(checked=False)
        for _ in range(others):
            other = mind.join()
            mind.broker.can_do(other, b"f", 0.0)
            mind.broker.pre_sleep(other)

        def go() -> None:
            for _ in range(100):
                peer = mind.join()
                mind.broker.can_do(peer, b"f", 0.0)
                mind.broker.pre_sleep(peer)
                mind.broker.leave(peer)

        return best_time(go)

    assert leave_time(10_000) < TOLERANCE * leave_time(10)


def test_line_that_is_left_early_for_ever_does_not_grow() -> None:
    mind = Mind(checked=False)
    keeper = mind.join()
    keeper.submit()

    for _ in range(20_000):
        client = mind.join()
        mind.broker.submit(client, b"f", b"", b"w", 1, False, 0, b"")
        mind.broker.leave(client)

    line = mind.broker.state.functions[b"f"].normal
    assert line.live == 1
    assert len(line.items) < 3_000


def test_line_of_sleepers_that_come_and_go_does_not_grow() -> None:
    mind = Mind(checked=False)
    mind.sleeper()

    for _ in range(20_000):
        worker = mind.join()
        mind.broker.can_do(worker, b"f", 0.0)
        mind.broker.pre_sleep(worker)
        mind.broker.leave(worker)

    [crew] = mind.broker.state.crews.values()
    assert crew.sleepers.live == 1
    assert len(crew.sleepers.peers) < 300


def test_time_limits_that_never_ring_do_not_pile_up() -> None:
    mind = Mind(checked=False)
    client, worker = mind.join(), mind.worker(seconds=1_000_000.0)

    for _ in range(20_000):
        mind.broker.submit(client, b"f", b"", b"w", 1, True, 0, b"")
        job = mind.broker.grab(worker)
        assert job is not None
        mind.broker.finish(worker, 3, job.handle, job.handle + b"\0", len(job.handle) + 1)

    assert len(mind.broker.state.limits.heap) < 3_000


def test_woken_workers_that_answered_do_not_pile_up() -> None:
    mind = Mind(checked=False)
    client, worker = mind.join(), mind.worker()

    for number in range(20_000):
        mind.broker.pre_sleep(worker)
        mind.broker.submit(client, b"f", b"", b"w", 1, True, 0, b"")
        mind.broker.grab(worker)
        mind.broker.tick(mind.wall + number / 1000, mind.steady + number / 1000)

    assert len(mind.broker.state.roused.peers) < 5_000
