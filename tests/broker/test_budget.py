"""Memory for jobs runs short: shorter heads, then patience, then refusals."""

from __future__ import annotations

from typing import Any

from tests.broker.mind import Mind
from tests.broker.test_paging import Pool, numbers

#: A job of 520 bytes costs 1,000.
WORKLOAD = b"x" * 520


def full(count: int, **rules: Any) -> Mind:
    """A mind with room for a hundred jobs, and so many in it."""
    mind = Mind(max_memory_bytes=100_000, **rules)
    client = mind.join()
    for _ in range(count):
        client.submit(workload=WORKLOAD)
    return mind


def test_nobody_is_throttled_while_there_is_room() -> None:
    assert not full(85).broker.state.pressed


def test_client_is_not_read_from_when_room_runs_out_and_is_again_when_there_is_some() -> None:
    mind = full(86)
    client, worker = mind.join(), mind.worker()
    assert mind.broker.state.pressed
    assert mind.broker.throttle(client)
    assert mind.broker.relieved() == []

    for _ in range(6):
        job = worker.grab()
        assert job is not None
        worker.finish(job.handle)

    assert mind.broker.relieved() == [client]
    assert not mind.broker.state.pressed


def test_worker_is_read_from_always() -> None:
    mind = full(86)

    assert not mind.broker.throttle(mind.worker())


def test_client_that_has_waited_long_is_read_from_and_refused() -> None:
    mind = full(86, press_seconds=5.0)
    client, other = mind.join(), mind.join()
    assert mind.broker.throttle(client)
    assert 0.0 < mind.broker.next_deadline() <= 5.0
    mind.pass_time(4.9)
    assert mind.broker.relieved() == []

    mind.pass_time(0.2)

    assert mind.broker.relieved() == [client]
    assert client.submit(workload=WORKLOAD) == b"QUEUE_FULL"
    assert not mind.broker.throttle(client)
    # The others have not waited.
    assert other.submit(workload=WORKLOAD).startswith(b"H:")


def test_patience_begins_anew_when_there_was_room() -> None:
    mind = full(86, press_seconds=5.0)
    client, worker = mind.join(), mind.worker()
    mind.broker.throttle(client)
    mind.pass_time(5.1)
    mind.broker.relieved()
    while (job := worker.grab()) is not None:
        worker.finish(job.handle)

    assert client.submit(workload=WORKLOAD).startswith(b"H:")
    assert not client.impatient


def test_last_part_of_the_budget_is_nobodys() -> None:
    mind = full(86)
    client = mind.join()
    answers = [client.submit(workload=WORKLOAD) for _ in range(10)]

    assert [answer == b"QUEUE_FULL" for answer in answers] == [False] * 9 + [True]


def test_heads_are_short_when_memory_is() -> None:
    pool = Pool(window=50, idle=50, max_memory_bytes=50_000)
    waiter = pool.mind.join()
    for _ in range(72):
        waiter.submit(b"g", workload=b"x" * 20)

    pool.put(*numbers(0, 10))

    assert len(pool.rows) == 10
    worker = pool.mind.worker(b"f")
    assert pool.claim() == [2]
    assert worker.grab_workload() == b"0"
