"""Large workloads: in the store alone, until a worker has the job."""

from __future__ import annotations

from geartrain.terms import NORMAL
from tests.broker.mind import Ear
from tests.broker.test_keeping import Keeper

LARGE = b"x" * 100_000


def stored(unique: bytes = b"") -> tuple[Keeper, bytes]:
    """A large job that waits."""
    keeper = Keeper()
    keeper.ask(keeper.mind.join(), unique=unique, workload=LARGE)
    [job] = keeper.store_all()
    return keeper, job.handle


def grab(keeper: Keeper, worker: Ear) -> None:
    """As a connection does it."""
    job = worker.grab()
    assert job is not None
    assert job.away
    keeper.broker.await_workload(worker, job)


def test_large_workload_is_not_kept_once_it_is_stored() -> None:
    keeper, handle = stored()

    assert keeper.broker.state.memory < 1000
    assert keeper.mind.counts() == (1, 0, 0)
    assert keeper.mind.status(handle)[0]


def test_worker_gets_it_when_it_has_been_fetched() -> None:
    keeper, handle = stored()
    worker = keeper.mind.worker()
    grab(keeper, worker)
    [fetch] = keeper.broker.take_fetches()

    keeper.broker.fetched(fetch, LARGE)
    keeper.mind.agree()

    assert worker.heard() == [("promised", 0), ("assigned", 0, handle)]
    assert keeper.broker.state.memory < 1000
    worker.finish(handle)
    assert keeper.ends() == [handle]
    assert keeper.broker.state.memory == 0


def test_workload_that_a_worker_is_about_to_fetch_stays() -> None:
    keeper = Keeper()
    worker = keeper.mind.sleeper()
    keeper.ask(keeper.mind.join(), workload=LARGE)
    [job] = keeper.store_all()

    assert worker.grab_workload() == LARGE
    keeper.broker.handed_over(job)
    keeper.mind.agree()
    worker.leave()

    again = keeper.mind.worker()
    grab(keeper, again)
    assert keeper.broker.take_fetches()[0].job is job


def test_worker_that_leaves_while_it_is_fetched_loses_the_job() -> None:
    keeper, handle = stored()
    worker = keeper.mind.worker()
    grab(keeper, worker)
    [fetch] = keeper.broker.take_fetches()
    worker.leave()

    keeper.broker.fetched(fetch, LARGE)
    keeper.mind.agree()

    assert keeper.mind.counts() == (1, 0, 0)
    other = keeper.mind.worker()
    grab(keeper, other)
    keeper.broker.fetched(keeper.broker.take_fetches()[0], LARGE)
    assert other.heard() == [("promised", 0), ("assigned", 0, handle)]


def test_job_cancelled_while_its_workload_is_fetched_is_not_done() -> None:
    keeper, handle = stored()
    worker = keeper.mind.worker(seconds=1.0)
    grab(keeper, worker)
    [fetch] = keeper.broker.take_fetches()
    keeper.mind.pass_time(2.0)

    keeper.broker.fetched(fetch, LARGE)
    keeper.mind.agree()

    assert worker.heard() == [("promised", 0), ("assigned", 0, None)]
    assert keeper.mind.status(handle) == (True, False, 0, 0, 0)


def test_job_whose_row_is_gone_is_given_up() -> None:
    keeper, handle = stored(unique=b"u")
    waiter = keeper.mind.join()
    assert waiter.submit(unique=b"u") == handle
    worker = keeper.mind.worker()
    grab(keeper, worker)

    keeper.broker.fetched(keeper.broker.take_fetches()[0], None)
    keeper.mind.agree()

    assert worker.heard() == [("promised", 0), ("assigned", 0, None)]
    assert ("fail", handle) in waiter.heard()
    assert keeper.broker.idle


def test_workload_that_is_the_key_stays() -> None:
    keeper, handle = stored(unique=b"-")

    assert keeper.mind.join().submit(unique=b"-", workload=LARGE) == handle


def test_large_job_that_is_not_stored_stays_as_it_is() -> None:
    keeper = Keeper()
    keeper.mind.join().submit(workload=LARGE)

    assert keeper.mind.worker().grab_workload() == LARGE


def test_large_job_comes_from_the_store_without_its_workload() -> None:
    keeper = Keeper()
    keeper.broker.page(b"f", NORMAL, 1, 0)
    worker = keeper.mind.worker()
    assert len(keeper.broker.take_claims()) == 1
    keeper.broker.restore(b"H:test:1", b"f", b"", b"", NORMAL, b"", 0, True)
    keeper.broker.claimed(b"f", NORMAL, 1)
    keeper.mind.agree()

    grab(keeper, worker)
    keeper.broker.fetched(keeper.broker.take_fetches()[0], LARGE)

    assert ("assigned", 0, b"H:test:1") in worker.heard()


def test_waiting_grab_is_answered_when_the_workload_has_come() -> None:
    keeper = Keeper()
    keeper.broker.page(b"f", NORMAL, 1, 0)
    worker = keeper.mind.worker()
    assert worker.grab() is None
    assert keeper.broker.hold_out(worker)
    keeper.broker.take_claims()
    keeper.broker.restore(b"H:test:1", b"f", b"", b"", NORMAL, b"", 0, True)
    keeper.broker.claimed(b"f", NORMAL, 1)
    keeper.mind.agree()
    assert worker.heard() == [("promised", 0)]

    keeper.broker.fetched(keeper.broker.take_fetches()[0], LARGE)

    assert worker.heard() == [("assigned", 0, b"H:test:1")]


def test_large_job_whose_client_waits_here_stays_where_another_server_may_get_its_row() -> None:
    keeper = Keeper(shared=True)
    client = keeper.mind.join()
    keeper.ask(keeper.mind.join(), unique=b"u", workload=LARGE)
    keeper.ask(client, unique=b"u", workload=LARGE, background=False)
    [job] = keeper.store_all()

    assert keeper.mind.worker().grab_workload() == LARGE
    assert not job.away


def test_workload_that_comes_for_an_earlier_attempt_is_not_handed_out_twice() -> None:
    keeper, handle = stored()
    worker = keeper.mind.worker(seconds=2.0)
    grab(keeper, worker)
    [early] = keeper.broker.take_fetches()
    keeper.mind.pass_time(2.0)
    grab(keeper, worker)
    [late] = keeper.broker.take_fetches()
    worker.heard()

    keeper.broker.fetched(early, LARGE)
    keeper.broker.fetched(late, LARGE)

    assert worker.heard() == [("assigned", 0, None), ("assigned", 1, handle)]
