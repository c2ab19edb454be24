"""Why a job is where it is, in sentences that are true."""

from __future__ import annotations

from typing import Any

import pytest

from geartrain.broker import explaining
from geartrain.broker.explaining import span, stored_of, why
from geartrain.broker.policies import INTERVAL, Policies, Policy
from tests.broker import mind as m
from tests.broker.mind import Mind
from tests.broker.test_keeping import Keeper
from tests.broker.test_paging import Pool, numbers


def said(mind: Mind, handle: bytes) -> list[str]:
    state = mind.broker.state
    return why(state, state.jobs[handle])


def minded(policy: Policy, **rules: Any) -> Mind:
    policies = Policies()
    policies.set(b"f", policy)
    return Mind(policies=policies, **rules)


def test_a_job_that_nobody_can_do() -> None:
    mind = Mind()
    handle = mind.join().submit(background=True)

    assert said(mind, handle) == [
        "It is the next of its line.",
        "No worker that is connected here can do f.",
    ]


def test_a_job_behind_others_while_all_workers_are_busy() -> None:
    mind = Mind()
    client = mind.join()
    for _ in range(2):
        client.submit()
        mind.worker().grab()
    client.submit(priority=m.HIGH)
    for _ in range(3):
        client.submit(priority=m.LOW)
    handle = client.submit(priority=m.LOW)

    assert said(mind, handle) == [
        "3 jobs of its own line go before it.",
        "1 job of this function with a priority above low goes first.",
        "2 workers can do it here, and all of them have a job.",
        "1 client waits for it.",
    ]


def test_workers_that_could_do_it_now() -> None:
    mind = Mind()
    sleeper = mind.sleeper()
    handle = mind.join().submit(background=True)
    mind.worker()
    assert sleeper.was_woken
    mind.sleeper(b"g")

    assert said(mind, handle)[1:] == [
        "2 workers can do it here: 1 was woken just now, 1 is awake and has not asked for a job,"
        " perhaps busy for another server."
    ]
    mind.pass_time(5)
    assert said(mind, handle)[1:] == [
        "2 workers can do it here: 2 are awake and have not asked for a job, perhaps busy for"
        " another server."
    ]


def test_a_job_that_runs() -> None:
    mind = Mind()
    handle = mind.join().submit()
    worker = mind.worker(b"f", seconds=60.0)
    worker.address, worker.client_id = b"10.0.0.7", b"resizer-3"
    worker.grab()
    worker.progress(handle, 3, 10)
    mind.pass_time(20)

    assert said(mind, handle) == [
        "It is running at worker 10.0.0.7 resizer-3, for 20 s.",
        "The worker has said that 3 of 10 is done.",
        "Its time limit ends in 40 s.",
        "1 client waits for it.",
    ]


def test_a_job_for_later_and_one_that_pauses() -> None:
    mind = minded(Policy(attempts=3, backoff=100.0))
    client = mind.join()
    later = client.submit(background=True, when=int(mind.wall) + 7200)
    handle = client.submit(background=True)
    worker = mind.worker()
    worker.grab()
    worker.finish(handle, b"", kind=m.FAIL)

    assert said(mind, later) == ["It was submitted for later, and is due in 2 h."]
    assert said(mind, handle) == ["It pauses before attempt 2 of 3, for 100 s."]


def test_a_job_on_its_way_to_the_store() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    [handle] = keeper.broker.job_handles()

    assert said(keeper.mind, handle) == [
        "It is being stored; nobody may do it before that.",
    ]

    keeper.broker.state.trouble = "disk full"
    assert said(keeper.mind, handle) == [
        "It cannot be stored, and nobody may do it before that: disk full."
    ]


def test_a_job_that_was_answered_for_before_it_is_stored() -> None:
    policies = Policies()
    policies.set(b"f", Policy(durability=INTERVAL))
    keeper = Keeper(policies=policies)
    handle = keeper.mind.join().submit(background=True)

    assert said(keeper.mind, handle)[-1] == "It is not stored yet, and will be soon."


def test_jobs_that_pause_because_the_store_cannot_be_reached() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    [job] = keeper.store_all()
    keeper.broker.fence()

    [sentence] = said(keeper.mind, job.handle)

    assert sentence.startswith("It pauses: this server's right to stored jobs has run out")


def test_jobs_that_wait_behind_what_is_only_in_the_store() -> None:
    pool = Pool()
    pool.put(*numbers(0, 10))
    handle = pool.mind.join().submit()

    assert said(pool.mind, handle)[0] == (
        "Older jobs of its line are only in the store; it comes after them."
    )


def test_a_job_in_the_store_with_or_without_others_of_its_line_in_memory() -> None:
    pool = Pool(idle=0)
    pool.put(*numbers(0, 10))
    function = pool.mind.broker.state.functions[b"f"]

    def first() -> str:
        return stored_of(pool.mind.broker.state, function, m.NORMAL)[0]

    assert first() == "It waits in the store."
    pool.mind.worker()
    pool.claim()
    assert first() == "It waits in the store, behind what of its line is in memory."


def test_a_long_line_is_not_counted_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "MOST_COUNTED", 10)
    if explaining.why.__class__.__name__ == "builtin_function_or_method":
        pytest.skip("a compiled module keeps its constants")
    mind = Mind()
    client = mind.join()
    handles = [client.submit(background=True) for _ in range(15)]

    assert said(mind, handles[9])[0] == "9 jobs of its own line go before it."
    assert said(mind, handles[14])[0] == "More than 10 jobs of its own line go before it."


def test_spans_are_short() -> None:
    assert [span(s) for s in (-1.0, 0.4, 119, 120, 7199, 7200, 200_000)] == [
        "0 s", "0 s", "119 s", "2 min", "120 min", "2 h", "2 d",
    ]  # fmt: skip
