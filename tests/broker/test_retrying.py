"""A policy decides what happens after an attempt without a result; without one, the C server does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.broker.graveyard import Burial, Graveyard
from geartrain.broker.policies import (
    ALL_OUTCOMES,
    EXCEPTION,
    FAIL,
    TIMEOUT,
    WORKER_LOST,
    Policies,
    Policy,
)
from geartrain.broker.retrying import MAX_REASON_BYTES
from tests.broker import mind as m
from tests.broker.mind import Ear, Mind

#: How an attempt ends without a result, in a worker's hands.
WAYS = {"fail": m.FAIL, "exception": m.EXCEPTION}


def minded(policy: Policy, name: bytes = b"f", **rules: Any) -> Mind:
    policies = Policies()
    policies.set(name, policy)
    return Mind(policies=policies, **rules)


def attempt(mind: Mind, way: str) -> Ear:
    """Somebody gets the one job, and it does not come to an end."""
    worker = mind.worker(b"f", seconds=5.0)
    job = worker.grab()
    assert job is not None
    if way == "worker-lost":
        worker.leave()
    elif way == "timeout":
        mind.pass_time(6)
    else:
        assert worker.finish(job.handle, b"why", kind=WAYS[way])
    return worker


ways = pytest.mark.parametrize("way", ["worker-lost", "timeout", "fail", "exception"])


@ways
def test_every_outcome_may_be_tried_again_and_clients_do_not_hear_of_it(way: str) -> None:
    mind = minded(Policy(attempts=3))
    client = mind.join()
    handle = client.submit()

    attempt(mind, way)
    attempt(mind, way)

    assert client.heard() == []
    assert mind.status(handle) == (True, False, 0, 0, 1)
    worker = mind.worker()
    assert worker.grab_workload() == b"w"
    worker.finish(handle, b"at last")
    assert client.heard() == [("update", m.COMPLETE, handle, b"at last")]


@ways
def test_after_the_last_attempt_clients_hear_what_happened(way: str) -> None:
    mind = minded(Policy(attempts=2))
    client = mind.join()
    handle = client.submit()

    attempt(mind, way)
    attempt(mind, way)

    said = {
        "fail": ("update", m.FAIL, handle, b"why"),
        "exception": ("update", m.EXCEPTION, handle, b"why"),
    }
    assert client.heard() == [said.get(way, ("fail", handle))]
    assert mind.broker.idle
    assert mind.broker.counters.failed == 1
    assert not mind.broker.state.graveyard.burials


@ways
@pytest.mark.parametrize("covered", [True, False])
def test_what_a_policy_does_not_cover_goes_as_without_it(way: str, covered: bool) -> None:
    bit = {"worker-lost": WORKER_LOST, "timeout": TIMEOUT, "fail": FAIL, "exception": EXCEPTION}
    covers = bit[way] if covered else ALL_OUTCOMES - bit[way]
    mind = minded(Policy(attempts=2, covers=covers))
    client = mind.join()
    client.submit()

    attempt(mind, way)
    again = covered or way in ("worker-lost", "timeout")

    assert mind.broker.idle is not again
    if again:
        # Without a policy a lost worker's job is given out for ever.
        attempt(mind, way)
        assert mind.broker.idle is covered


def test_the_policy_of_a_time_limit_goes_before_fail_on_timeout() -> None:
    mind = minded(Policy(attempts=2), fail_on_timeout=True)
    client = mind.join()
    client.submit()

    attempt(mind, "timeout")

    assert client.heard() == []
    assert mind.worker().grab_workload() == b"w"


@ways
def test_a_background_job_that_is_given_up_is_buried_with_all_that_is_known(way: str) -> None:
    mind = minded(Policy(attempts=2, dead=True))
    handle = mind.join().submit(b"f", b"key", b"body", background=True, reducer=b"red")

    attempt(mind, way)
    worker = attempt(mind, way)

    burial = mind.broker.state.graveyard.burials[handle]
    assert (burial.function, burial.unique, burial.body) == (b"f", b"key", b"body")
    assert (burial.reducer, burial.attempts, burial.died) == (b"red", 2, mind.wall)
    assert burial.worker == worker.address + b" " + worker.client_id
    reasons = {"fail": b"failed", "exception": b"exception: why", "timeout": b"timed out"}
    assert burial.reason == reasons.get(way, b"worker lost")
    assert mind.broker.counters.died == 1
    assert mind.broker.idle


def test_a_foreground_job_is_not_buried_for_its_client_knows() -> None:
    mind = minded(Policy(attempts=1, dead=True))
    client = mind.join()
    handle = client.submit()

    attempt(mind, "fail")

    assert client.heard() == [("update", m.FAIL, handle, b"why")]
    assert not mind.broker.state.graveyard.burials


def test_what_a_worker_says_of_an_exception_is_cut() -> None:
    mind = minded(Policy(attempts=1, dead=True))
    handle = mind.join().submit(background=True)
    worker = mind.worker()
    worker.grab()

    worker.finish(handle, b"x" * 2000, kind=m.EXCEPTION)

    reason = mind.broker.state.graveyard.burials[handle].reason
    assert len(reason) == len(b"exception: ") + MAX_REASON_BYTES


def test_the_second_end_of_a_perl_worker_is_passed_over() -> None:
    mind = minded(Policy(attempts=3))
    client = mind.join()
    handle = client.submit()
    worker = mind.worker()
    worker.grab()

    assert worker.finish(handle, b"oops", kind=m.EXCEPTION)
    assert worker.finish(handle, b"", kind=m.FAIL)

    assert mind.broker.job_row(handle).attempts == 1  # type: ignore[union-attr]
    assert client.heard() == []


def test_a_pause_comes_between_attempts_and_doubles() -> None:
    mind = minded(Policy(attempts=-1, backoff=2.0, backoff_max=5.0))
    client = mind.join()
    handle = client.submit()
    waited = []

    for _ in range(4):
        attempt(mind, "fail")
        assert mind.counts() == (1, 0, mind.counts()[2])
        seconds = 0.0
        worker = mind.worker()
        while worker.grab() is None:
            mind.pass_time(0.25)
            seconds += 0.25
        waited.append(seconds)
        worker.leave()
        while mind.broker.state.epochs.next_due() >= 0:
            mind.pass_time(0.25)
        # Looking was an attempt too.
        mind.broker.state.jobs[handle].attempts -= 1

    # Chance stands in the middle here.
    assert waited == [2.0, 4.0, 5.0, 5.0]


def test_a_sleeper_is_woken_when_the_pause_is_over() -> None:
    mind = minded(Policy(attempts=2, backoff=2.0))
    mind.join().submit()
    attempt(mind, "fail").leave()
    sleeper = mind.sleeper()

    mind.pass_time(1.9)
    assert not sleeper.was_woken
    assert 0 < mind.broker.next_deadline() <= 0.11
    mind.pass_time(0.2)

    assert sleeper.was_woken


def test_a_job_that_pauses_goes_with_the_client_that_alone_wanted_it() -> None:
    mind = minded(Policy(attempts=2, backoff=2.0))
    client = mind.join()
    client.submit()
    attempt(mind, "fail")

    client.leave()

    assert mind.broker.idle
    mind.pass_time(10)


def test_a_job_that_pauses_can_be_cancelled_and_joined() -> None:
    mind = minded(Policy(attempts=2, backoff=2.0))
    first, second = mind.join(), mind.join()
    handle = first.submit(unique=b"u")
    attempt(mind, "fail")

    assert second.submit(unique=b"u") == handle
    assert mind.cancel(handle)

    assert first.heard() == second.heard() == [("fail", handle)]
    assert mind.broker.idle


def test_a_cancelled_job_is_not_tried_again_whatever_becomes_of_it() -> None:
    mind = minded(Policy(attempts=5, dead=True))
    handle = mind.join().submit(background=True)
    worker = mind.worker()
    worker.grab()
    mind.cancel(handle)

    worker.finish(handle, b"", kind=m.FAIL)

    assert mind.broker.idle
    assert not mind.broker.state.graveyard.burials


def test_jobs_of_one_failure_do_not_come_back_together() -> None:
    policies = Policies()
    policies.set(b"f", Policy(attempts=2, backoff=8.0))
    mind = Mind(policies=policies)
    chances = iter([0.0, 0.99])
    mind.broker.state.chance = lambda: next(chances)
    client = mind.join()
    worker = mind.worker()
    for _ in range(2):
        handle = client.submit()
        worker.grab()
        worker.finish(handle, b"", kind=m.FAIL)

    mind.pass_time(4.1)
    assert len(worker.grab_all()) == 1
    mind.pass_time(8.0)
    assert len(worker.grab_all()) == 1


# ── the dead set in memory ───────────────────────────────────────────────────


def test_a_dead_job_is_done_again_as_if_it_were_new() -> None:
    mind = minded(Policy(attempts=1, dead=True))
    handle = mind.join().submit(unique=b"u", workload=b"body", background=True, priority=m.HIGH)
    attempt(mind, "fail")

    assert mind.broker.revive(handle)
    mind.agree()

    worker = mind.worker()
    job = worker.grab()
    assert job is not None
    assert (job.handle, job.workload, job.attempts, job.priority) == (handle, b"body", 0, m.HIGH)
    assert not mind.broker.revive(handle)


@pytest.mark.parametrize("unique", [b"u", b"-"])
def test_a_dead_job_stays_dead_while_another_has_its_key(unique: bytes) -> None:
    mind = minded(Policy(attempts=1, dead=True))
    client = mind.join()
    handle = client.submit(unique=unique, background=True)
    attempt(mind, "fail")
    other = client.submit(unique=unique, background=True)

    assert other != handle
    assert not mind.broker.revive(handle)
    assert handle in mind.broker.state.graveyard.burials


def _burial(name: str, size: int) -> Burial:
    burial = Burial(name.encode(), b"f", b"", 1, b"", 1, b"failed", b"-", 0.0)
    burial.body = bytes(size)
    return burial


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=30))
def test_the_dead_in_memory_are_bounded_and_the_last_one_is_there(dead: list[tuple[str, int]]) -> None:  # fmt: skip
    yard = Graveyard(most=4, most_bytes=20)
    for name, size in dead:
        yard.add(_burial(name, size))

        assert name.encode() in yard.burials
        assert len(yard.burials) <= 4
        assert yard.size == sum(len(one.body) for one in yard.burials.values()) <= 20


# ── which policy ─────────────────────────────────────────────────────────────


def test_an_exact_name_goes_before_a_pattern_and_patterns_in_their_order() -> None:
    policies = Policies()
    some, exact, rest = Policy(1), Policy(2), Policy(3)
    policies.set(b"mail.*", some)
    policies.set(b"mail.urgent", exact)
    policies.set(b"*", rest)

    assert policies.of(b"mail.urgent") is exact
    assert policies.of(b"mail.news\xff\n") is some
    assert policies.of(b"mail") is rest
    assert Policies().of(b"mail") is None


@given(
    st.integers(1, 60), st.floats(0.001, 100), st.floats(0.001, 1000), st.floats(0, 1, exclude_max=True)
)  # fmt: skip
def test_a_pause_is_never_longer_than_its_bound_nor_shorter_than_half(
    attempts: int, backoff: float, most: float, chance: float
) -> None:
    policy = Policy(attempts=-1, backoff=backoff, backoff_max=most)

    pause = policy.pause(attempts, chance)

    whole = min(most, backoff * 2.0 ** (attempts - 1))
    assert whole * 0.499 <= pause <= min(most, whole * 1.5) * 1.001


@given(st.data())
def test_no_job_is_lost_or_done_more_often_than_its_policy_says(data: st.DataObject) -> None:
    attempts = data.draw(st.integers(1, 4))
    policy = Policy(attempts=attempts, backoff=data.draw(st.sampled_from([0.0, 1.0])), dead=True)
    mind = minded(policy)
    client = mind.join()
    handles = [client.submit(workload=b"%d" % n, background=True) for n in range(3)]
    given_out = dict.fromkeys(handles, 0)
    completed = set()

    while not mind.broker.idle:
        worker = mind.worker(b"f", seconds=5.0)
        job = worker.grab()
        if job is None:
            mind.pass_time(1)
            worker.leave()
            continue
        given_out[job.handle] += 1
        end = data.draw(st.sampled_from(["done", "worker-lost", "timeout", "fail", "exception"]))
        if end == "done":
            worker.finish(job.handle)
            completed.add(job.handle)
        elif end == "timeout":
            mind.pass_time(6)
        elif end != "worker-lost":
            worker.finish(job.handle, b"", kind=WAYS[end])
        worker.leave()

    buried = set(mind.broker.state.graveyard.burials)
    assert completed | buried == set(handles)
    assert not completed & buried
    assert all(1 <= count <= attempts for count in given_out.values())
    assert all(given_out[handle] == attempts for handle in buried)


# ── changed while the server runs ────────────────────────────────────────────


def decided(name: bytes, policy: Policy) -> Policies:
    policies = Policies()
    policies.set(name, policy)
    return policies


def test_a_policy_is_for_attempts_that_end_from_then_on() -> None:
    mind = minded(Policy(attempts=3))
    handle = mind.join().submit()
    attempt(mind, "fail")

    assert mind.broker.decide_anew(decided(b"f*", Policy(attempts=2, dead=True))) == b""

    attempt(mind, "fail")
    assert not mind.status(handle)[0]


def test_a_policy_that_is_gone_leaves_the_way_of_the_c_server() -> None:
    mind = minded(Policy(attempts=3))
    handle = mind.join().submit()

    mind.broker.decide_anew(Policies())

    attempt(mind, "fail")
    assert not mind.status(handle)[0]


def test_functions_that_come_later_have_the_new_policies() -> None:
    mind = Mind()
    mind.broker.decide_anew(decided(b"f", Policy(attempts=2)))

    handle = mind.join().submit(b"f")
    attempt(mind, "fail")

    assert mind.status(handle)[0]
