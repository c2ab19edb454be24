"""Stored jobs that another server may have: none is handed out when the tenure is over."""

from __future__ import annotations

from typing import Any

import pytest

from geartrain.broker.policies import FAIL, Policies, Policy
from geartrain.broker.tables import KEPT, UNKEPT, Job
from tests.broker import mind as m
from tests.broker.mind import NORMAL, Ear
from tests.broker.test_keeping import Keeper, answers


class Holder(Keeper):
    """A mind whose tenure ends ten seconds from now."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.broker.hold_until(self.mind.steady + 10.0)
        self.client = self.mind.join()
        self.worker = self.mind.worker(b"f")

    def expire(self) -> None:
        """The tenure runs out."""
        self.mind.pass_time(10.0)

    def prolong(self) -> None:
        self.broker.hold_until(self.mind.steady + 10.0)
        self.mind.agree()

    def keep(self, workload: bytes, unique: bytes = b"") -> Job:
        self.ask(self.client, unique=unique, workload=workload)
        [job] = self.store_all()
        return job

    def grab(self) -> bytes | None:
        return self.worker.grab_workload()

    def join(self, peer: Ear, background: bool = True) -> None:
        self.ask(peer, unique=b"u", workload=b"joined", background=background)

    def lose(self, job: Job) -> None:
        self.broker.elsewhere(job)
        self.mind.agree()


@pytest.fixture
def holder() -> Holder:
    return Holder()


# ── handing out ──────────────────────────────────────────────────────────────


def test_stored_jobs_are_handed_out_before_the_tenure_ends_and_not_after(holder: Holder) -> None:
    for workload in (b"a", b"b", b"c"):
        holder.keep(workload)
    holder.mind.pass_time(9.9)
    assert holder.grab() == b"a"
    holder.mind.pass_time(0.1)
    assert holder.grab() is None
    holder.prolong()
    assert holder.grab() == b"b"
    assert holder.grab() == b"c"


def test_foreground_jobs_go_on_when_the_tenure_is_over(holder: Holder) -> None:
    holder.keep(b"stored")
    holder.ask(holder.client, workload=b"waited for", background=False)
    holder.expire()
    assert holder.grab() == b"waited for"
    assert holder.grab() is None


def test_worker_sleeps_until_the_tenure_is_prolonged(holder: Holder) -> None:
    holder.keep(b"a")
    holder.expire()
    holder.worker.sleep()
    assert not holder.worker.was_woken
    holder.prolong()
    assert holder.worker.was_woken


def test_job_that_is_stored_after_the_end_waits(holder: Holder) -> None:
    holder.expire()
    holder.keep(b"a")
    assert holder.grab() is None
    assert [kind for kind, *_ in answers(holder.client)] == ["redeemed"]
    holder.prolong()
    assert holder.grab() == b"a"


def test_job_whose_worker_is_lost_after_the_end_waits(holder: Holder) -> None:
    holder.keep(b"a")
    assert holder.grab() == b"a"
    holder.expire()
    holder.worker.leave()
    holder.worker = holder.mind.worker(b"f")
    assert holder.grab() is None
    holder.prolong()
    assert holder.grab() == b"a"


def test_job_that_is_cancelled_after_the_end_does_not_come_back(holder: Holder) -> None:
    job = holder.keep(b"a")
    holder.expire()
    assert holder.mind.cancel(job.handle)
    assert holder.ends() == [job.handle]
    holder.prolong()
    assert holder.grab() is None


# ── joining a job that another server may have ───────────────────────────────


def test_who_joins_a_doubtful_job_is_answered_when_it_is_ours_again(holder: Holder) -> None:
    job = holder.keep(b"a", b"u")
    holder.expire()
    late = holder.mind.join()
    holder.join(late)
    assert answers(late) == []
    holder.prolong()
    assert answers(late) == [("redeemed", 0, job.handle)]


def test_who_joined_a_job_that_another_server_did_gets_it_stored_again(holder: Holder) -> None:
    job = holder.keep(b"a", b"u")
    holder.expire()
    late = holder.mind.join()
    holder.join(late)
    holder.lose(job)
    holder.prolong()
    assert answers(late) == []
    assert holder.store_all() == [job]
    assert answers(late) == [("redeemed", 0, job.handle)]
    assert holder.grab() == b"a"


def test_who_joins_a_doubtful_job_for_too_long_is_refused(holder: Holder) -> None:
    holder.keep(b"a", b"u")
    holder.expire()
    late = holder.mind.join()
    holder.join(late)
    holder.broker.refuse_doubted(b"no database")
    assert answers(late) == [("reneged", 0, b"QUEUE_ERROR", b"no database")]
    holder.prolong()
    assert answers(late) == []
    assert holder.grab() == b"a"


# ── what another server has ──────────────────────────────────────────────────


def test_queued_job_that_another_server_has_is_forgotten_and_not_ended(holder: Holder) -> None:
    first, second = holder.keep(b"a"), holder.keep(b"b")
    holder.expire()
    holder.lose(first)
    assert holder.mind.status(first.handle) == (False, False, 0, 0, 0)
    holder.prolong()
    assert holder.grab() == b"b"
    assert holder.grab() is None
    assert holder.ends() == []
    assert second.kept == KEPT


def test_client_that_waits_for_a_job_of_another_server_gets_it_done_here(holder: Holder) -> None:
    job = holder.keep(b"a", b"u")
    waiter = holder.mind.join()
    holder.join(waiter, background=False)
    holder.expire()
    holder.lose(job)
    assert holder.grab() == b"a"
    assert job.kept == UNKEPT
    assert holder.ends() == []


def test_running_job_that_another_server_has_goes_on_but_is_not_repeated(holder: Holder) -> None:
    job = holder.keep(b"a", b"u")
    assert holder.grab() == b"a"
    holder.expire()
    holder.lose(job)
    # It may be over elsewhere: a new one of its key is a job of its own.
    holder.join(holder.client)
    assert [fresh.workload for fresh in holder.store_all()] == [b"joined"]
    holder.worker.leave()
    # It was not done here, so it must not be ended there.
    assert holder.ends() == []


def test_result_of_a_job_that_another_server_has_ends_it_there_if_it_can(holder: Holder) -> None:
    job = holder.keep(b"a")
    assert holder.grab() == b"a"
    holder.expire()
    holder.lose(job)
    holder.worker.finish(job.handle)
    assert holder.ends() == [job.handle]


def test_running_job_that_comes_back_from_another_server_is_repeated(holder: Holder) -> None:
    job = holder.keep(b"a")
    assert holder.grab() == b"a"
    holder.expire()
    holder.lose(job)
    holder.prolong()
    assert not holder.broker.restore(job.handle, b"f", b"", b"a", NORMAL, b"", 0)
    holder.worker.leave()
    holder.worker = holder.mind.worker(b"f")
    assert holder.grab() == b"a"
    assert holder.ends() == []


def test_job_that_an_earlier_try_stored_may_be_elsewhere(holder: Holder) -> None:
    holder.ask(holder.client, workload=b"a")
    [job] = holder.take()
    holder.broker.stored_elsewhere(job)
    holder.mind.agree()
    assert [kind for kind, *_ in answers(holder.client)] == ["redeemed"]
    assert holder.grab() is None
    assert holder.ends() == []


# ── workloads that are only in the store ─────────────────────────────────────

LARGE = b"x" * 100_000


def test_workload_that_comes_after_the_end_is_not_handed_out(holder: Holder) -> None:
    job = holder.keep(LARGE)
    assert holder.worker.grab() is job
    holder.broker.await_workload(holder.worker, job)
    [fetch] = holder.broker.take_fetches()
    holder.expire()
    holder.broker.fetched(fetch, LARGE)
    holder.mind.agree()
    assert holder.worker.heard() == [("promised", 0), ("assigned", 0, None)]
    holder.prolong()
    assert holder.worker.grab() is job


def test_workload_of_a_job_that_another_server_has_is_not_handed_out(holder: Holder) -> None:
    job = holder.keep(LARGE)
    assert holder.worker.grab() is job
    holder.broker.await_workload(holder.worker, job)
    [fetch] = holder.broker.take_fetches()
    holder.expire()
    holder.lose(job)
    holder.prolong()
    holder.broker.fetched(fetch, LARGE)
    holder.mind.agree()
    assert holder.worker.heard() == [("promised", 0), ("assigned", 0, None)]
    assert holder.ends() == []
    assert not holder.mind.status(job.handle)[0]


def test_who_joined_a_large_job_that_another_server_got_has_to_submit_it(holder: Holder) -> None:
    job = holder.keep(LARGE, b"u")
    holder.expire()
    late = holder.mind.join()
    holder.join(late)
    holder.lose(job)
    [(said, _, code, text)] = answers(late)
    assert (said, code) == ("reneged", b"QUEUE_ERROR")
    assert b"submit it again" in text  # type: ignore[operator]
    assert holder.take() == []


def test_job_that_becomes_a_stored_one_after_the_end_waits(holder: Holder) -> None:
    holder.ask(holder.client, unique=b"u", background=False)
    holder.join(holder.mind.join())
    holder.take()
    holder.expire()
    holder.answer()

    assert holder.grab() is None
    holder.prolong()
    assert holder.grab() == b"w"


def test_job_that_stepped_aside_stands_in_its_line_once_when_it_comes_back(
    holder: Holder,
) -> None:
    holder.ask(holder.client, unique=b"u", background=False)
    holder.ask(holder.client, background=False, workload=b"another")
    holder.join(holder.mind.join())
    holder.take()
    holder.expire()
    holder.answer()
    holder.prolong()

    assert holder.grab() == b"another"
    assert holder.grab() == b"w"
    assert holder.grab() is None


def test_row_that_comes_for_a_waiting_job_after_the_end_holds_it_back(holder: Holder) -> None:
    holder.ask(holder.client, unique=b"u", background=False)
    [handle] = holder.broker.job_handles()
    holder.expire()

    assert holder.broker.restore(handle, b"f", b"u", b"w", NORMAL, b"", 0)
    holder.mind.agree()

    assert holder.grab() is None
    holder.prolong()
    assert holder.grab() == b"w"


def test_lines_that_others_have_emptied_are_filled_again_when_the_tenure_goes_on(
    holder: Holder,
) -> None:
    job = holder.keep(b"mine")
    holder.broker.page(b"f", NORMAL, 5, 0)
    holder.broker.take_claims()
    holder.broker.claimed(b"f", NORMAL, 1)
    holder.expire()
    holder.lose(job)
    holder.prolong()

    assert [wish.function for wish in holder.broker.take_claims()] == [b"f"]


def test_job_that_another_server_has_is_not_over_there_when_it_fails_for_good_here() -> None:
    policies = Policies()
    policies.set(b"f", Policy(attempts=1, covers=FAIL))
    holder = Holder(policies=policies)
    job = holder.keep(b"a")
    assert holder.grab() == b"a"
    holder.expire()
    holder.lose(job)

    holder.worker.finish(job.handle, kind=m.FAIL)

    assert holder.ends() == []
    assert holder.broker.idle
