"""A server without a store that runs short of memory: what of its lines goes to a file, in what order."""

from __future__ import annotations

from tests.broker.test_keeping import answers
from tests.broker.test_paging import Pool, numbers


class Short(Pool):
    """A mind without a store, and one in reach."""

    def __init__(self) -> None:
        super().__init__(window=100, idle=100, spills=True, max_memory_bytes=20_000)
        self.mind.rules.durable = False

    def fill(self, count: int) -> None:
        """Background jobs, answered for at once."""
        for name in numbers(0, count):
            self.client.submit(workload=name, background=True)

    def spill(self) -> None:
        self.broker.begin_spilling()
        self.mind.agree()
        while self.store_all():
            continue


def test_file_is_wanted_from_seventy_percent_on() -> None:
    pool = Short()
    pool.fill(29)
    assert not pool.broker.state.spilling
    pool.fill(1)
    assert pool.broker.state.spilling


def test_second_half_of_a_line_goes_to_the_file_and_the_order_stays() -> None:
    pool = Short()
    pool.fill(30)

    pool.spill()

    assert len(pool.rows) == 15
    assert pool.broker.state.memory < 10_000
    assert pool.mind.counts() == (30, 0, 0)
    assert pool.work_off(pool.mind.worker()) == numbers(0, 30)


def test_who_is_waited_for_waits_behind_those_that_went_to_the_file() -> None:
    pool = Short()
    pool.fill(20)
    waiter = pool.mind.join()
    waiter.submit(workload=b"waited for")
    pool.fill(5)

    pool.spill()

    assert pool.work_off(pool.mind.worker()) == [*numbers(0, 20), b"waited for", *numbers(0, 5)]


def test_job_that_was_lost_stays_where_it_is() -> None:
    pool = Short()
    pool.fill(30)
    worker = pool.mind.worker()
    assert worker.grab_workload() == b"0"
    worker.leave()

    pool.spill()

    assert sorted(pool.work_off(pool.mind.worker())) == sorted(numbers(0, 30))


def test_new_job_is_stored_only_if_it_has_no_room_in_the_head() -> None:
    pool = Short()
    pool.fill(30)
    pool.spill()
    pool.client.heard()

    # Half of the budget is free again: another function has room in memory.
    pool.broker.submit(pool.client, b"g", b"", b"w", 1, True, 0, b"")
    pool.mind.agree()

    assert [one[0] for one in answers(pool.client)] == ["created"]


def test_job_that_the_file_refuses_is_not_lost() -> None:
    pool = Short()
    pool.fill(30)
    pool.broker.begin_spilling()
    pool.take()

    pool.fail()

    assert pool.mind.worker().grab_all() == numbers(0, 30)


def test_jobs_stay_in_memory_again_when_the_file_is_empty() -> None:
    pool = Short()
    pool.fill(30)
    pool.spill()
    assert not pool.broker.end_spilling()
    worker = pool.mind.worker()
    pool.work_off(worker)
    for handle in list(worker.running):
        worker.finish(handle)

    assert pool.broker.end_spilling()
    pool.fill(3)

    assert pool.take() == []
