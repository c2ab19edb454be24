"""Clients of jobs that are only in the store: twins that join, cancellations, questions."""

from __future__ import annotations

from geartrain.terms import NORMAL
from tests.broker.test_keeping import answers
from tests.broker.test_paging import Pool


def tail(unique: bytes = b"u") -> tuple[Pool, bytes]:
    """A job with a key that is only in the store."""
    pool = Pool(idle=0)
    [handle] = pool.put(b"w", unique=unique)
    pool.client.heard()
    return pool, handle


def test_foreground_twin_asks_the_store_before_it_is_answered() -> None:
    pool, handle = tail()
    waiter = pool.mind.join()

    pool.ask(waiter, unique=b"u", background=False)
    [ask] = pool.broker.take_asks()
    assert answers(waiter) == []
    pool.broker.found(ask, handle, NORMAL)
    pool.mind.agree()

    assert answers(waiter) == [("redeemed", 0, handle)]
    assert pool.mind.status(handle) == (True, False, 0, 0, 1)
    worker = pool.mind.worker()
    pool.claim()
    assert worker.grab_all() == [b"w"]
    worker.finish(handle, b"result")
    assert ("update", 3, handle, b"result") in waiter.heard()


def test_second_twin_finds_the_first() -> None:
    pool, handle = tail()
    waiter, other, third = (pool.mind.join() for _ in range(3))
    pool.ask(waiter, unique=b"u", background=False)
    pool.broker.found(pool.broker.take_asks()[0], handle, NORMAL)

    assert other.submit(unique=b"u") == handle
    assert third.submit(unique=b"u", background=True) == handle

    assert pool.broker.take_asks() == []
    assert pool.mind.status(handle)[4] == 2


def test_twin_by_workload_is_found_each_time_and_known_again_when_it_comes() -> None:
    pool, handle = tail(unique=b"-")
    first, second, third = (pool.mind.join() for _ in range(3))
    for waiter in (first, second):
        pool.ask(waiter, unique=b"-", background=False)
        pool.broker.found(pool.broker.take_asks()[0], handle, NORMAL)
        pool.mind.agree()
    pool.mind.worker()
    pool.claim()

    assert third.submit(unique=b"-") == handle
    assert pool.mind.status(handle)[4] == 3


def test_job_without_a_twin_is_a_new_one() -> None:
    pool, _ = tail()
    waiter = pool.mind.join()
    pool.ask(waiter, unique=b"v", workload=b"new", background=False)

    pool.broker.found(pool.broker.take_asks()[0], b"", 0)
    pool.mind.agree()

    [(word, _, handle)] = answers(waiter)
    assert word == "redeemed"
    assert isinstance(handle, bytes)
    assert pool.mind.status(handle) == (True, False, 0, 0, 1)


def test_job_without_a_twin_is_refused_in_its_place() -> None:
    pool, _ = tail()
    pool.broker.limit_function(b"f", 1, 1, 1)
    waiter = pool.mind.join()
    pool.ask(waiter, unique=b"v", background=False)

    pool.broker.found(pool.broker.take_asks()[0], b"", 0)

    assert answers(waiter) == [("reneged", 0, b"QUEUE_ERROR", b"Job queue is full")]


def test_client_that_left_while_the_store_was_asked_submits_nothing() -> None:
    pool, handle = tail()
    waiter = pool.mind.join()
    pool.ask(waiter, unique=b"u", background=False)
    [ask] = pool.broker.take_asks()
    waiter.leave()

    pool.broker.found(ask, handle, NORMAL)
    pool.mind.agree()

    assert pool.broker.idle


def test_store_is_not_asked_once_its_keys_are_gone() -> None:
    pool, _ = tail()
    pool.work_off(pool.mind.worker())

    pool.mind.join().submit(unique=b"v")

    assert pool.broker.take_asks() == []


def test_cancelled_row_is_counted_no_more_and_its_clients_hear_of_it() -> None:
    pool, handle = tail()
    waiter = pool.mind.join()
    pool.ask(waiter, unique=b"u", background=False)
    pool.broker.found(pool.broker.take_asks()[0], handle, NORMAL)
    assert not pool.mind.cancel(handle)
    assert pool.broker.is_stored_somewhere(handle)

    pool.broker.cancelled(handle, b"f", NORMAL, False)
    pool.mind.agree()

    assert ("fail", handle) in waiter.heard()
    assert pool.mind.counts() == (0, 0, 0)
    assert not pool.broker.is_stored_somewhere(handle)
    assert pool.ends() == []


def test_last_row_that_is_cancelled_lets_those_behind_it_go_on() -> None:
    pool, handle = tail()
    pool.mind.join().submit(workload=b"behind")

    pool.broker.cancelled(handle, b"f", NORMAL, False)
    pool.mind.agree()

    assert pool.mind.worker().grab_workload() == b"behind"


def test_client_of_a_job_that_another_server_may_do_has_it_done_here() -> None:
    pool = Pool(idle=0, shared=True)
    waiter = pool.mind.join()
    pool.ask(pool.client, unique=b"u")
    pool.take()
    pool.ask(waiter, unique=b"u", background=False)
    pool.answer()
    [handle] = pool.rows

    worker = pool.mind.worker()
    assert pool.work_off(worker) == [b"w"]
    worker.finish(handle, b"result")

    assert ("update", 3, handle, b"result") in waiter.heard()
    # Its row has come meanwhile, and goes with it.
    assert pool.ends() == [handle]
    assert pool.mind.counts() == (0, 0, 1)


def test_twin_of_a_job_that_another_server_may_do_is_a_job_of_its_own() -> None:
    pool = Pool(idle=0, shared=True)
    [handle] = pool.put(b"w", unique=b"u")
    pool.client.heard()

    assert pool.mind.join().submit(unique=b"u") != handle
    assert pool.broker.take_asks() == []


def test_row_in_the_pool_that_a_client_waits_for_is_asked_for_at_once() -> None:
    pool = Pool(idle=0, shared=True)
    pool.ask(pool.client, unique=b"u")
    pool.take()
    pool.ask(pool.mind.join(), unique=b"u", background=False)
    pool.mind.sleeper()

    pool.answer()

    assert [wish.function for wish in pool.broker.take_claims()] == [b"f"]
