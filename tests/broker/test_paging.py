"""Lines longer than memory: a head, a tail in the store, and everybody in order."""

from __future__ import annotations

import pytest

from geartrain.broker.tables import KEPT, POOLING, Job
from geartrain.broker.windows import tail_of
from geartrain.terms import HIGH, LOW, NORMAL
from tests.broker.mind import Ear
from tests.broker.test_keeping import Keeper, answers


class Pool(Keeper):
    """A mind whose heads are short, and a store that holds the rest."""

    def __init__(self, window: int = 4, idle: int = 2, **rules: object) -> None:
        super().__init__(idle_window=idle, least_window=window, most_window=window, **rules)
        self.rows: dict[bytes, tuple[bytes, bytes, bytes, int]] = {}
        self.client = self.mind.join()

    def answer(self, *jobs: Job) -> None:
        for job in jobs or self.batch:
            if job.kept == POOLING:
                self.rows[job.handle] = (
                    job.function.name, job.unique, job.workload, job.priority
                )  # fmt: skip
        super().answer(*jobs)

    def put(self, *workloads: bytes, unique: bytes = b"", priority: int = NORMAL) -> list[bytes]:
        """Submit in the background, and store."""
        for workload in workloads:
            self.broker.submit(self.client, b"f", unique, workload, priority, True, 0, b"")
        return [job.handle for job in self.store_all()]

    def claim(self) -> list[int]:
        """The store answers what is asked for; how many came of each line."""
        brought = []
        for wish in self.broker.take_claims():
            ready = sorted(
                handle
                for handle, (name, _, _, priority) in self.rows.items()
                if (name, priority) == (wish.function, wish.priority)
            )[: wish.jobs]
            for handle in ready:
                name, unique, workload, priority = self.rows.pop(handle)
                assert self.broker.restore(handle, name, unique, workload, priority, b"", 0)
            self.broker.claimed(wish.function, wish.priority, len(ready))
            brought.append(len(ready))
        self.mind.agree()
        return brought

    def work_off(self, worker: Ear) -> list[bytes]:
        """Do everything there is, as it comes."""
        found: list[bytes] = []
        while True:
            found += worker.grab_all()
            if not self.claim():
                return found


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % n for n in range(first, last)]


def test_line_without_workers_goes_to_the_store_but_for_its_beginning() -> None:
    pool = Pool()

    pool.put(*numbers(0, 10))

    assert len(pool.broker.job_handles()) == 2
    assert len(pool.rows) == 8
    assert pool.mind.counts() == (10, 0, 0)
    assert pool.broker.take_claims() == []


def test_line_is_done_in_order_when_a_worker_comes() -> None:
    pool = Pool()
    pool.put(*numbers(0, 10))

    worker = pool.mind.worker()

    assert pool.work_off(worker) == numbers(0, 10)
    assert pool.mind.counts() == (10, 10, 1)


def test_more_is_asked_for_before_the_head_is_empty() -> None:
    pool = Pool(window=8)
    worker = pool.mind.worker()
    pool.put(*numbers(0, 20))
    for _ in range(5):
        worker.grab()
    assert pool.broker.take_claims() == []

    worker.grab()

    [wish] = pool.broker.take_claims()
    assert (wish.function, wish.priority, wish.jobs) == (b"f", NORMAL, 6)


def test_sleeper_is_woken_by_what_is_only_in_the_store() -> None:
    pool = Pool(idle=0)
    pool.put(*numbers(0, 3))
    worker = pool.mind.sleeper()
    assert worker.heard() == []

    pool.claim()

    assert worker.was_woken
    assert worker.grab_all() == numbers(0, 3)


def test_worker_that_asks_while_jobs_are_on_their_way_is_answered_with_one() -> None:
    pool = Pool(idle=0)
    pool.put(*numbers(0, 2))
    worker = pool.mind.worker()
    assert worker.grab() is None
    assert pool.broker.hold_out(worker)
    assert pool.broker.hold_out(worker)
    assert pool.broker.hold_out(worker)

    first, second = sorted(pool.rows)
    pool.claim()

    assert worker.heard() == [
        ("promised", 0), ("promised", 1), ("promised", 2),
        ("assigned", 0, first), ("assigned", 1, second), ("assigned", 2, None),
    ]  # fmt: skip


def test_worker_that_waits_for_the_store_is_given_whatever_comes_meanwhile() -> None:
    pool = Pool(idle=0)
    pool.put(b"f")
    worker = pool.mind.worker(b"f", b"g")
    assert worker.grab() is None
    assert pool.broker.hold_out(worker)

    handle = pool.mind.join().submit(b"g")

    assert worker.heard() == [("promised", 0), ("assigned", 0, handle)]


def test_worker_does_not_wait_for_ever_for_a_store_that_is_silent() -> None:
    pool = Pool(idle=0)
    pool.put(b"f")
    worker = pool.mind.worker()
    assert worker.grab() is None
    assert pool.broker.hold_out(worker)
    assert 0.0 < pool.broker.next_deadline() <= 5.0

    pool.mind.pass_time(5.1)

    assert worker.heard() == [("promised", 0), ("assigned", 0, None)]


def test_worker_waits_for_nothing_that_it_cannot_do() -> None:
    pool = Pool(idle=0)
    pool.put(b"f")
    pool.mind.worker(b"f")
    other = pool.mind.worker(b"g")

    assert other.grab() is None
    assert not pool.broker.hold_out(other)


def test_job_that_is_not_stored_does_not_overtake_those_in_the_store() -> None:
    pool = Pool()
    pool.put(*numbers(0, 6))

    pool.mind.join().submit(workload=b"waited for")
    pool.put(b"last")

    assert pool.mind.counts()[0] == 8
    assert pool.work_off(pool.mind.worker()) == [*numbers(0, 6), b"waited for", b"last"]


def test_jobs_that_wait_behind_go_on_when_the_store_cannot_be_read() -> None:
    pool = Pool(idle=0)
    pool.put(b"stored")
    pool.mind.join().submit(workload=b"waited for")
    worker = pool.mind.sleeper()
    pool.broker.take_claims()

    pool.broker.claimed(b"f", NORMAL, 0)
    pool.mind.agree()

    assert worker.was_woken
    assert worker.grab_workload() == b"waited for"
    # Nobody asks again before the line is counted.
    assert pool.broker.take_claims() == []
    pool.broker.page(b"f", NORMAL, 1, 0)
    assert len(pool.broker.take_claims()) == 1


def test_jobs_that_come_when_the_tail_is_nearly_gone_stay_in_memory() -> None:
    pool = Pool(window=8, idle=0)
    pool.put(*numbers(0, 3))
    worker = pool.mind.worker()

    pool.put(*numbers(3, 6))

    assert len(pool.rows) == 3
    assert pool.work_off(worker) == numbers(0, 6)


def test_job_that_was_lost_stands_in_the_head_again() -> None:
    pool = Pool()
    worker = pool.mind.worker()
    pool.put(*numbers(0, 10))
    assert worker.grab_workload() == b"0"

    worker.leave()

    assert pool.work_off(pool.mind.worker()) == [*numbers(1, 4), b"0", *numbers(4, 10)]


def test_priorities_have_a_tail_each() -> None:
    pool = Pool(idle=0)
    for priority in (LOW, NORMAL, HIGH):
        pool.put(*(b"%d.%d" % (priority, n) for n in range(3)), priority=priority)
    worker = pool.mind.worker()

    assert [(wish.priority) for wish in pool.broker.take_claims()] == [HIGH, NORMAL, LOW]
    row = pool.broker.function_row(b"f")
    assert row is not None
    assert (row.high, row.normal, row.low, row.total) == (3, 3, 3, 9)
    assert worker.grab() is None


def test_limit_counts_what_is_only_in_the_store() -> None:
    pool = Pool()
    pool.broker.limit_function(b"f", 5, 5, 5)
    pool.put(*numbers(0, 5))
    pool.client.heard()

    pool.put(b"one too many")

    assert answers(pool.client) == [("refused", b"QUEUE_ERROR", b"Job queue is full")]


def test_bodies_bound_the_head_as_well() -> None:
    pool = Pool(window=100, idle=100, window_bytes=100)

    pool.put(*[b"x" * 30] * 5)
    pool.put(*[b"x" * 30] * 5)

    assert len(pool.broker.job_handles()) == 5
    pool.mind.worker().grab()
    assert pool.broker.take_claims() == []


@pytest.mark.parametrize("answered", [True, False])
def test_job_cancelled_on_its_way_to_the_store_is_not_counted(answered: bool) -> None:
    pool = Pool(idle=0)
    pool.ask(pool.client)
    [job] = pool.take()
    pool.mind.cancel(job.handle)

    if answered:
        pool.answer()
    else:
        pool.fail()

    assert pool.mind.counts() == (0, 0, 0)
    assert pool.ends() == [job.handle]


def test_job_that_cannot_be_stored_for_the_tail_leaves_nothing_behind() -> None:
    pool = Pool(idle=0)
    pool.ask(pool.client)
    pool.take()
    pool.mind.join().submit(workload=b"behind")

    pool.fail()

    assert pool.mind.counts() == (1, 0, 0)
    assert pool.mind.worker().grab_workload() == b"behind"


def test_client_attached_to_a_job_on_its_way_to_the_tail_hears_of_its_end() -> None:
    pool = Pool(idle=0)
    waiter = pool.mind.join()
    pool.ask(pool.client, unique=b"u")
    pool.take()
    pool.ask(waiter, unique=b"u", background=False)
    pool.answer()
    [handle] = pool.rows
    assert pool.mind.counts() == (1, 0, 0)
    assert pool.mind.status(handle) == (True, False, 0, 0, 1)

    worker = pool.mind.worker()
    pool.claim()
    assert worker.grab_workload() == b"w"
    worker.finish(handle, b"result")

    assert ("update", 3, handle, b"result") in waiter.heard()
    assert pool.ends() == [handle]
    assert pool.mind.counts() == (0, 0, 1)


def test_client_that_leaves_a_job_in_the_tail_leaves_it_there() -> None:
    pool = Pool(idle=0)
    waiter = pool.mind.join()
    pool.ask(pool.client, unique=b"u")
    pool.take()
    pool.ask(waiter, unique=b"u", background=False)
    pool.answer()

    waiter.leave()

    assert pool.broker.idle
    assert pool.ends() == []
    assert pool.mind.counts() == (1, 0, 0)
    assert pool.broker.state.memory == 0


def test_claim_that_overtakes_the_answer_of_its_commit_is_believed() -> None:
    pool = Pool(idle=0)
    worker = pool.mind.worker()
    pool.put(*numbers(0, 5))
    pool.ask(pool.client, workload=b"5")
    [job] = pool.take()
    assert pool.mind.counts()[0] == 6

    assert pool.broker.restore(job.handle, b"f", b"", b"5", NORMAL, b"", 0)
    pool.mind.agree()
    assert answers(pool.client)[-1] == ("redeemed", 5, job.handle)
    pool.broker.stored(job, False)
    pool.mind.agree()

    assert job.kept == KEPT
    assert pool.mind.counts()[0] == 6
    assert b"5" in worker.grab_all()


def test_nothing_is_asked_for_while_shutting_down_and_nobody_waits_behind() -> None:
    pool = Pool(idle=0)
    pool.put(*numbers(0, 3))
    pool.mind.join().submit(workload=b"waited for")

    pool.broker.stop_accepting()
    worker = pool.mind.worker()

    assert worker.grab_all() == [b"waited for"]
    assert pool.broker.take_claims() == []


def test_window_follows_what_the_workers_do() -> None:
    pool = Pool(idle=0)
    pool.mind.rules.least_window, pool.mind.rules.most_window = 0, 1000
    worker = pool.mind.worker()
    pool.put(*numbers(0, 1000))
    sizes = []
    for _ in range(6):
        sizes += pool.claim()
        worker.grab_all()
        pool.mind.pass_time(0.1)

    assert sizes[0] == 2
    assert sizes == sorted(sizes)
    assert sizes[-1] > 100


def test_memory_does_not_grow_with_the_tail() -> None:
    pool = Pool(idle=0)

    pool.put(*[b"x" * 1000] * 500)

    assert pool.broker.state.memory == 0
    assert pool.broker.job_handles() == []
    assert pool.mind.counts() == (500, 0, 0)


def test_claim_asks_for_no_more_bytes_than_there_is_room_for() -> None:
    pool = Pool(window_bytes=100)
    pool.mind.worker()
    pool.put(b"x" * 10)
    pool.broker.page(b"f", NORMAL, 9, 0)

    [wish] = pool.broker.take_claims()

    assert wish.size == 90


def test_server_leaves_most_of_a_short_pool_to_the_others() -> None:
    pool = Pool(window=0, idle=0, shared=True)
    pool.broker.rules.most_window = 100
    pool.mind.worker()
    tail_of(pool.broker.state.functions[b"f"], NORMAL).rate = 1000.0

    pool.broker.page(b"f", NORMAL, 80, 0)

    [wish] = pool.broker.take_claims()
    assert wish.jobs == 10


def test_line_that_is_counted_while_it_is_to_be_asked_for_is_asked_for_once() -> None:
    pool = Pool()
    pool.mind.worker()
    pool.broker.page(b"f", NORMAL, 20, 0)

    pool.broker.page(b"f", NORMAL, 30, 0)

    assert len(pool.broker.take_claims()) == 1
