"""Jobs of functions whose policy says when they are stored; and retries that wait in the store."""

from __future__ import annotations

from typing import Any

import pytest

from geartrain.broker.policies import INTERVAL, OFF, Policies, Policy
from geartrain.broker.tables import FORGOTTEN, KEPT, UNKEPT
from tests.broker import mind as m
from tests.broker.mind import Ear
from tests.broker.test_keeping import Keeper, answers


def keeper_of(policy: Policy, **rules: Any) -> Keeper:
    policies = Policies()
    policies.set(b"f", policy)
    return Keeper(policies=policies, buries=True, **rules)


def submit(keeper: Keeper, **what: Any) -> tuple[Ear, bytes]:
    """Submit to a function that answers at once."""
    client = keeper.mind.join()
    return client, client.submit(background=True, **what)


# ── off ──────────────────────────────────────────────────────────────────────


def test_with_off_a_job_is_answered_for_and_never_stored() -> None:
    keeper = keeper_of(Policy(durability=OFF))
    _, handle = submit(keeper, unique=b"u")
    _, twin = submit(keeper, unique=b"u")

    assert twin == handle
    assert keeper.take() == []
    worker = keeper.mind.worker()
    assert worker.grab_workload() == b"w"
    worker.finish(handle)
    assert keeper.take() == []
    assert keeper.ends() == []


def test_other_functions_are_stored_as_ever() -> None:
    keeper = keeper_of(Policy(durability=OFF))
    client = keeper.mind.join()
    keeper.ask(client, b"g")

    assert [job.function.name for job in keeper.store_all()] == [b"g"]
    assert answers(client)[-1][0] == "redeemed"


# ── interval ─────────────────────────────────────────────────────────────────


def test_with_interval_a_job_is_answered_for_at_once_and_stored_in_time() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL, interval=0.5))
    submit(keeper)

    assert keeper.take() == []
    assert 0 < keeper.broker.next_deadline() <= 0.5
    keeper.mind.pass_time(0.4)
    assert keeper.take() == []
    keeper.mind.pass_time(0.11)
    [job] = keeper.store_all()

    assert job.kept == KEPT
    assert keeper.broker.next_deadline() == -1.0


def test_a_job_that_is_done_within_the_interval_costs_no_row() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL))
    worker = keeper.mind.sleeper()
    _, handle = submit(keeper)
    assert worker.was_woken
    job = worker.grab()
    worker.finish(handle)
    assert job is not None

    keeper.mind.pass_time(1)

    assert keeper.take() == []
    assert keeper.ends() == []
    assert job.kept == FORGOTTEN


def test_all_of_it_is_stored_before_the_server_ends() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL, interval=3600))
    submit(keeper)

    keeper.broker.stop_accepting()

    assert len(keeper.store_all()) == 1


def test_what_was_answered_for_is_not_dropped_when_the_store_fails() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL))
    _, handle = submit(keeper)
    for _ in range(3):
        keeper.mind.pass_time(1.1)
        assert [job.handle for job in keeper.take()] == [handle]
        keeper.fail()
        assert keeper.mind.status(handle)[0]

    keeper.mind.pass_time(1.1)
    [job] = keeper.store_all()

    assert job.kept == KEPT
    assert keeper.mind.worker().grab() is job


def test_what_has_no_room_in_memory_is_stored_before_it_is_answered_for() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL), idle_window=2, least_window=2)
    for _ in range(2):
        submit(keeper)
    client = keeper.mind.join()
    keeper.ask(client)

    assert client.heard()[0][0] == "promised"
    assert len(keeper.take()) == 1


def test_epoch_jobs_are_stored_at_once() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL))
    client = keeper.mind.join()
    keeper.ask(client, when=int(keeper.mind.wall) + 60)

    assert client.heard()[0][0] == "promised"
    assert len(keeper.take()) == 1


def test_one_who_joins_hears_when_it_is_stored() -> None:
    keeper = keeper_of(Policy(durability=INTERVAL))
    submit(keeper, unique=b"u")
    second = keeper.mind.join()
    keeper.ask(second, unique=b"u")
    assert second.heard()[0][0] == "promised"

    keeper.mind.pass_time(0.3)
    [job] = keeper.store_all()

    assert answers(second) == [("redeemed", 0, job.handle)]


# ── retries of stored jobs ───────────────────────────────────────────────────


def fail_one(keeper: Keeper) -> bytes:
    worker = keeper.mind.worker()
    job = worker.grab()
    assert job is not None
    worker.finish(job.handle, b"", kind=m.FAIL)
    worker.leave()
    return job.handle


def test_a_stored_job_waits_in_the_store_and_not_in_memory() -> None:
    keeper = keeper_of(Policy(attempts=3, backoff=10.0))
    keeper.ask(keeper.mind.join(), unique=b"u")
    keeper.store_all()

    handle = fail_one(keeper)

    [one] = keeper.broker.take_postponed()
    assert (one.handle, one.until, one.attempts) == (handle, keeper.mind.wall + 10, 1)
    assert keeper.broker.job_handles() == []
    assert keeper.broker.state.memory == 0
    assert keeper.mind.counts()[0] == 1
    assert keeper.broker.next_deadline() == -1.0
    assert keeper.broker.take_retried() == []
    # Its time has come, and somebody claims it.
    keeper.broker.pooled(b"f", m.NORMAL, 1, True)
    worker = keeper.mind.worker()
    [wish] = keeper.broker.take_claims()
    assert keeper.broker.restore(handle, b"f", b"u", b"w", m.NORMAL, b"", 1)
    keeper.broker.claimed(wish.function, wish.priority, 1)
    keeper.mind.agree()
    job = worker.grab()
    assert job is not None
    assert (job.handle, job.attempts) == (handle, 1)
    assert keeper.mind.counts()[0] == 1


@pytest.mark.parametrize("shared", [False, True])
def test_who_waits_for_a_stored_job_hears_of_its_end_after_all_attempts(shared: bool) -> None:
    keeper = keeper_of(Policy(attempts=2, backoff=10.0), shared=shared)
    client = keeper.mind.join()
    keeper.ask(client, unique=b"u", background=False)
    for ask in keeper.broker.take_asks():
        keeper.broker.found(ask, b"", 0)
    [handle] = keeper.broker.job_handles()
    keeper.ask(keeper.mind.join(), unique=b"u")
    keeper.store_all()
    client.heard()

    fail_one(keeper)
    keeper.mind.agree()

    worker = keeper.mind.worker()
    if shared:
        # Another server would do it elsewhere, where this client is not.
        assert keeper.broker.take_postponed() == []
        keeper.mind.pass_time(11)
    else:
        [one] = keeper.broker.take_postponed()
        keeper.broker.pooled(b"f", m.NORMAL, 1, True)
        keeper.broker.take_claims()
        assert keeper.broker.restore(one.handle, b"f", b"u", b"w", m.NORMAL, b"", 1)
        keeper.broker.claimed(b"f", m.NORMAL, 1)
        keeper.mind.agree()
    assert worker.grab_workload() == b"w"
    worker.finish(handle, b"done")
    assert client.heard() == [("update", m.COMPLETE, handle, b"done")]


def test_a_stored_job_that_dies_is_buried_by_its_row() -> None:
    keeper = keeper_of(Policy(attempts=1, dead=True))
    keeper.ask(keeper.mind.join())
    keeper.store_all()

    handle = fail_one(keeper)

    [burial] = keeper.broker.take_burials()
    assert (burial.handle, burial.stored, burial.body) == (handle, True, b"")
    assert keeper.ends() == []
    assert keeper.broker.idle


@pytest.mark.parametrize("durability", [OFF, INTERVAL])
def test_a_job_without_a_row_is_buried_whole(durability: int) -> None:
    keeper = keeper_of(Policy(attempts=1, dead=True, durability=durability))
    _, handle = submit(keeper, workload=b"body")

    assert fail_one(keeper) == handle

    [burial] = keeper.broker.take_burials()
    assert (burial.handle, burial.stored, burial.body) == (handle, False, b"body")
    assert keeper.take() == []
    assert not keeper.broker.state.graveyard.burials


def test_a_job_that_dies_while_its_row_is_written_is_buried_whole() -> None:
    keeper = keeper_of(Policy(attempts=1, dead=True, durability=INTERVAL))
    submit(keeper, workload=b"body")
    keeper.mind.pass_time(1)
    [job] = keeper.take()

    fail_one(keeper)
    keeper.answer()

    [burial] = keeper.broker.take_burials()
    assert (burial.stored, burial.body) == (False, b"body")
    assert job.kept == FORGOTTEN
    assert keeper.ends() == []


def test_attempts_of_an_unstored_job_are_told_to_nobody() -> None:
    keeper = keeper_of(Policy(attempts=3, durability=OFF))
    _, handle = submit(keeper)

    fail_one(keeper)

    assert keeper.broker.take_retried() == []
    assert keeper.broker.state.jobs[handle].kept == UNKEPT
