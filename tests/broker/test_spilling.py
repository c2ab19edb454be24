"""A server without a store that runs short of memory: what of its lines goes to a file, in what order."""

from __future__ import annotations

from geartrain.broker.policies import Policies, Policy
from geartrain.broker.progress import FAIL
from geartrain.broker.tables import KEPT, POOLING
from tests.broker.mind import Ear
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


# ── large workloads that somebody waits for ──────────────────────────────────

LARGE = b"x" * 70_000


def waited_for(count: int = 1, **rules: object) -> tuple[Short, list[bytes]]:
    """A server that spills, and large jobs of a client that waits."""
    pool = Short()
    pool.mind.rules.max_memory_bytes = 1_000_000
    for name, value in rules.items():
        setattr(pool.mind.rules, name, value)
    pool.broker.begin_spilling()
    handles = [pool.client.submit(workload=LARGE) for _ in range(count)]
    assert pool.broker.state.memory > count * len(LARGE)
    pool.store_all()
    return pool, handles


def fetch(pool: Short, worker: Ear) -> bytes:
    """Grab a job as a connection does; its handle."""
    job = worker.grab()
    assert job is not None
    assert job.away
    pool.broker.await_workload(worker, job)
    [wish] = pool.broker.take_fetches()
    pool.broker.fetched(wish, LARGE)
    pool.mind.agree()
    return job.handle


def test_large_workload_that_somebody_waits_for_is_in_the_file_alone() -> None:
    pool, handles = waited_for(3)

    assert pool.broker.state.memory < 2_000
    assert not pool.broker.end_spilling()
    worker = pool.mind.worker()
    for handle in handles:
        assert fetch(pool, worker) == handle
        worker.finish(handle)
    assert pool.ends() == handles
    assert pool.broker.state.memory == 0
    assert pool.broker.end_spilling()


def test_its_row_goes_with_the_last_who_waits() -> None:
    pool, [handle] = waited_for()

    pool.client.leave()

    assert pool.ends() == [handle]
    assert pool.mind.counts() in (None, (0, 0, 0))


def test_its_row_goes_when_nobody_waits_while_it_is_fetched() -> None:
    pool, [handle] = waited_for()
    worker = pool.mind.worker()
    job = worker.grab()
    assert job is not None
    pool.broker.await_workload(worker, job)
    [wish] = pool.broker.take_fetches()
    pool.client.leave()

    pool.broker.fetched(wish, LARGE)
    pool.mind.agree()

    assert worker.heard()[-1][2] is None
    assert pool.ends() == [handle]


def test_it_is_tried_again_in_memory_and_its_row_goes_when_it_fails_for_good() -> None:
    policies = Policies()
    policies.set(b"f", Policy(attempts=2, backoff=10.0))
    pool = Short()
    pool.mind.rules.policies = policies
    pool.broker.begin_spilling()
    pool.mind.rules.max_memory_bytes = 1_000_000
    handle = pool.client.submit(workload=LARGE)
    pool.store_all()
    worker = pool.mind.worker()
    assert fetch(pool, worker) == handle

    worker.finish(handle, kind=FAIL)
    assert pool.broker.take_postponed() == []
    pool.mind.pass_time(16)
    assert fetch(pool, worker) == handle
    worker.finish(handle, kind=FAIL)

    assert pool.ends() == [handle]


def test_what_waits_in_memory_when_it_runs_short_becomes_light_too() -> None:
    pool = Short()
    pool.mind.rules.max_memory_bytes = 1_000_000
    pool.fill(4)
    handles = [pool.client.submit(workload=LARGE) for _ in range(4)]

    pool.spill()

    assert pool.broker.state.memory < 5_000
    worker = pool.mind.worker()
    done: list[bytes] = []
    while len(done) < 8:
        job = worker.grab()
        if job is None:
            pool.claim()
            continue
        done.append(job.workload or job.handle)
        if job.away:
            pool.broker.await_workload(worker, job)
            [wish] = pool.broker.take_fetches()
            pool.broker.fetched(wish, LARGE)
            pool.mind.agree()
    assert done == [*numbers(0, 4), *handles]


def test_it_stays_in_memory_while_the_disk_is_nearly_full() -> None:
    pool = Short()
    pool.mind.rules.max_memory_bytes = 1_000_000
    pool.broker.begin_spilling()
    pool.broker.disk_is_short(b"no room")

    pool.client.submit(workload=LARGE)

    assert pool.take() == []
    assert pool.mind.worker().grab_workload() == LARGE


def test_file_is_kept_while_a_job_is_on_its_way_to_it() -> None:
    pool = Short()
    pool.fill(30)
    pool.broker.begin_spilling()
    worker = pool.mind.worker()
    for handle in [job.handle for job in pool.take()]:
        pool.mind.cancel(handle)
    worker.grab_all()
    for handle in list(worker.running):
        worker.finish(handle)
    pool.broker.submit(pool.client, b"f", b"", b"w", 1, True, int(pool.mind.wall) + 9, b"")
    pool.take()

    assert not pool.broker.end_spilling()


def test_job_that_has_been_in_the_file_does_not_go_there_a_second_time() -> None:
    pool = Short()
    pool.fill(30)
    pool.spill()
    worker = pool.mind.worker()
    for _ in range(2):
        worker.grab()
    pool.claim()
    assert pool.rows == {}

    pool.broker.begin_spilling()
    pool.mind.agree()

    assert {job.kept for job in pool.take()} <= {POOLING}
    kept = [job for job in pool.broker.state.jobs.values() if job.kept == KEPT]
    assert len(kept) == 15
