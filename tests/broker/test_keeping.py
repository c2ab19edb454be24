"""Jobs that are stored before they are answered for: a store that answers late, fails, or never does."""

from __future__ import annotations

from typing import Any

import pytest

from geartrain.broker.tables import KEPT, WRITING, Job
from tests.broker.mind import NORMAL, Ear, Mind, Said


class Keeper:
    """A mind, and a store that answers when it is told to."""

    def __init__(self, **rules: Any) -> None:
        self.mind = Mind(durable=True, **rules)
        self.broker = self.mind.broker
        self.batch: list[Job] = []

    def ask(
        self, peer: Ear, function: bytes = b"f", unique: bytes = b"", workload: bytes = b"w",
        background: bool = True, when: int = 0,
    ) -> None:  # fmt: skip
        """Submit, whatever the answer is and whenever it comes."""
        self.broker.submit(peer, function, unique, workload, NORMAL, background, when, b"")
        self.mind.agree()

    def take(self) -> list[Job]:
        """The store begins to write."""
        self.batch = self.broker.take_adds(1000, 1 << 20)
        self.mind.agree()
        return self.batch

    def answer(self, *jobs: Job) -> None:
        """The store has written."""
        for job in jobs or self.batch:
            self.broker.stored(job, job.kept == WRITING)
        self.mind.agree()

    def fail(self, *jobs: Job) -> None:
        """The store has not written."""
        for job in jobs or self.batch:
            self.broker.not_stored(job, b"disk full")
        self.mind.agree()

    def store_all(self) -> list[Job]:
        """The store writes what waits."""
        batch = self.take()
        if batch:
            self.answer()
        return batch

    def ends(self) -> list[bytes]:
        """Handles that the store is to forget."""
        return [job.handle for job in self.broker.take_ends()]


def answers(ear: Ear) -> list[Said]:
    return [one for one in ear.heard() if one[0] in ("redeemed", "reneged", "created", "refused")]


REFUSED = (b"QUEUE_ERROR", b"disk full")


def test_job_is_nobodys_until_it_is_stored() -> None:
    keeper = Keeper()
    client, worker = keeper.mind.join(), keeper.mind.sleeper()
    keeper.ask(client)

    assert worker.grab() is None
    assert not worker.was_woken
    worker.sleep()
    [job] = keeper.take()
    assert worker.heard() == []
    assert answers(client) == []

    keeper.answer()

    assert ("noop",) in worker.heard()
    assert answers(client) == [("redeemed", 0, job.handle)]
    assert worker.grab() is job


def test_job_that_waits_to_be_stored_is_known_and_counted() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    [job] = keeper.take()

    assert keeper.mind.status(job.handle) == (True, False, 0, 0, 0)
    assert keeper.mind.counts() == (1, 0, 0)


def test_foreground_job_is_not_stored() -> None:
    keeper = Keeper()
    client = keeper.mind.join()
    handle = client.submit()
    worker = keeper.mind.worker()
    worker.grab()
    worker.finish(handle)

    assert keeper.take() == []
    assert keeper.ends() == []
    assert not keeper.broker.state.wishes


def test_job_that_cannot_be_stored_is_refused_and_gone() -> None:
    keeper = Keeper()
    client, worker = keeper.mind.join(), keeper.mind.worker()
    keeper.ask(client, unique=b"u")
    keeper.take()

    keeper.fail()

    assert answers(client) == [("reneged", 0, *REFUSED)]
    assert worker.grab() is None
    assert keeper.broker.idle
    assert keeper.ends() == []


def test_stored_job_that_is_done_is_forgotten() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    [job] = keeper.store_all()
    worker = keeper.mind.worker()
    worker.grab()
    assert keeper.ends() == []

    worker.finish(job.handle)

    assert keeper.ends() == [job.handle]
    assert keeper.ends() == []


def test_twin_of_a_job_that_is_being_stored_is_answered_with_it() -> None:
    keeper = Keeper()
    first, second, waiter = (keeper.mind.join() for _ in range(3))
    keeper.ask(first, unique=b"u")
    [job] = keeper.take()
    keeper.ask(second, unique=b"u")
    keeper.ask(waiter, unique=b"u", background=False)
    assert answers(second) == []
    assert answers(waiter) == [("created", job.handle)]

    keeper.answer()

    assert answers(first) == [("redeemed", 0, job.handle)]
    assert answers(second) == [("redeemed", 0, job.handle)]
    keeper.ask(second, unique=b"u")
    assert answers(second) == [("created", job.handle)]
    assert keeper.take() == []


def test_foreground_job_lives_on_when_its_background_twin_cannot_be_stored() -> None:
    keeper = Keeper()
    client, waiter = keeper.mind.join(), keeper.mind.join()
    keeper.ask(client, unique=b"u")
    keeper.take()
    keeper.ask(waiter, unique=b"u", background=False)

    keeper.fail()
    worker = keeper.mind.worker()
    job = worker.grab()

    assert answers(client) == [("reneged", 0, *REFUSED)]
    assert job is not None
    worker.finish(job.handle, b"result")
    assert ("update", 3, job.handle, b"result") in waiter.heard()
    assert keeper.ends() == []


@pytest.mark.parametrize("running", [False, True])
def test_foreground_job_joined_in_the_background_is_stored_from_then_on(running: bool) -> None:
    keeper = Keeper()
    waiter, client, worker = keeper.mind.join(), keeper.mind.join(), keeper.mind.worker()
    handle = waiter.submit(unique=b"u")
    if running:
        worker.grab()
    keeper.ask(client, unique=b"u")
    [job] = keeper.take()
    assert job.handle == handle
    assert answers(client) == []
    keeper.answer()
    assert answers(client) == [("redeemed", 0, handle)]

    waiter.leave()
    if not running:
        assert worker.grab() is job
    worker.finish(handle)

    assert keeper.ends() == [handle]


@pytest.mark.parametrize("running", [False, True])
def test_joined_job_that_cannot_be_stored_belongs_to_its_client_again(running: bool) -> None:
    keeper = Keeper()
    waiter, client, worker = keeper.mind.join(), keeper.mind.join(), keeper.mind.worker()
    waiter.submit(unique=b"u")
    if running:
        worker.grab()
    keeper.ask(client, unique=b"u")
    keeper.take()
    waiter.leave()

    keeper.fail()

    assert answers(client) == [("reneged", 0, *REFUSED)]
    if running:
        worker.leave()
    assert keeper.broker.idle
    assert keeper.ends() == []


def test_joined_job_that_is_done_before_its_row_was_begun_needs_none() -> None:
    keeper = Keeper()
    waiter, client, worker = keeper.mind.join(), keeper.mind.join(), keeper.mind.worker()
    handle = waiter.submit(unique=b"u")
    worker.grab()
    keeper.ask(client, unique=b"u")
    worker.finish(handle)

    assert keeper.take() == []
    assert keeper.ends() == []
    assert answers(client) == [("redeemed", 0, handle)]


@pytest.mark.parametrize("well", [True, False])
def test_joined_job_that_is_done_while_its_row_is_written_is_forgotten(well: bool) -> None:
    keeper = Keeper()
    waiter, client, worker = keeper.mind.join(), keeper.mind.join(), keeper.mind.worker()
    handle = waiter.submit(unique=b"u")
    worker.grab()
    keeper.ask(client, unique=b"u")
    keeper.take()
    worker.finish(handle)
    assert answers(client) == []

    if well:
        keeper.answer()
    else:
        keeper.fail()

    assert keeper.ends() == [handle]
    # It was done, which is all that was asked for.
    assert answers(client) == [("redeemed", 0, handle)]


@pytest.mark.parametrize("begun", [False, True])
def test_job_that_is_cancelled_while_it_is_stored_never_runs(begun: bool) -> None:
    keeper = Keeper()
    client, worker = keeper.mind.join(), keeper.mind.worker()
    keeper.ask(client, unique=b"u")
    [handle] = keeper.broker.job_handles()
    if begun:
        keeper.take()
    keeper.mind.cancel(handle)
    again = keeper.mind.join()
    keeper.ask(again, unique=b"u")

    if begun:
        keeper.answer()
    fresh = keeper.store_all()

    assert answers(client) == [("redeemed", 0, handle)]
    assert [job.handle for job in fresh] != [handle]
    assert worker.grab() is fresh[0]
    assert keeper.ends() == ([handle] if begun else [])


def test_running_job_that_is_cancelled_is_forgotten_at_once_and_once() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    [job] = keeper.store_all()
    worker = keeper.mind.worker()
    worker.grab()

    keeper.mind.cancel(job.handle)
    assert keeper.ends() == [job.handle]
    worker.finish(job.handle)

    assert keeper.ends() == []


def test_client_that_leaves_does_not_take_its_job_along() -> None:
    keeper = Keeper()
    client, worker = keeper.mind.join(), keeper.mind.worker()
    keeper.ask(client)
    keeper.take()

    client.leave()
    keeper.answer()

    assert worker.grab() is not None


def test_epoch_job_is_stored_before_it_waits_for_its_time() -> None:
    keeper = Keeper()
    client, worker = keeper.mind.join(), keeper.mind.worker()
    keeper.ask(client, when=int(keeper.mind.wall) + 10)
    [job] = keeper.take()
    assert job.when == int(keeper.mind.wall) + 10
    keeper.answer()
    assert answers(client) == [("redeemed", 0, job.handle)]
    assert worker.grab() is None

    assert keeper.mind.counts() == (1, 0, 1)

    keeper.mind.pass_time(11)
    assert worker.grab() is None
    keeper.broker.pooled(b"f", NORMAL, 1, True)

    assert [claim.jobs for claim in keeper.broker.take_claims()] == [100]
    keeper.broker.restore(job.handle, b"f", b"", b"w", NORMAL, b"", 0)
    keeper.broker.claimed(b"f", NORMAL, 1)
    keeper.mind.agree()
    assert worker.grab_workload() == b"w"
    assert keeper.mind.counts() == (1, 1, 1)


def test_epoch_job_whose_time_has_come_before_it_is_stored_waits_for_nothing() -> None:
    keeper = Keeper()
    worker = keeper.mind.worker()
    keeper.ask(keeper.mind.join(), when=int(keeper.mind.wall) + 2)
    keeper.mind.pass_time(5)
    [job] = keeper.take()
    assert worker.grab() is None

    keeper.answer()

    assert worker.grab() is job
    assert job.when == 0


def test_job_that_runs_out_of_attempts_is_forgotten() -> None:
    keeper = Keeper(job_retries=2)
    keeper.ask(keeper.mind.join())
    [job] = keeper.store_all()

    for _ in range(2):
        worker = keeper.mind.worker()
        assert worker.grab() is job
        worker.leave()

    assert [one.attempts for one in keeper.broker.take_retried()] == [2]
    assert keeper.ends() == [job.handle]
    assert keeper.broker.idle


def test_attempts_are_not_written_where_they_do_not_count() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    keeper.store_all()
    worker = keeper.mind.worker()
    worker.grab()
    worker.leave()

    assert keeper.broker.take_retried() == []


def test_merged_job_answers_with_the_other_handle_and_is_gone() -> None:
    keeper = Keeper()
    client, worker = keeper.mind.join(), keeper.mind.worker()
    keeper.ask(client, unique=b"u")
    [job] = keeper.take()

    keeper.broker.merged(job, b"H:other")
    keeper.mind.agree()

    assert answers(client) == [("redeemed", 0, b"H:other")]
    assert worker.grab() is None
    assert keeper.broker.idle
    assert keeper.ends() == []


def test_batch_is_bounded_by_jobs_and_by_bytes() -> None:
    keeper = Keeper()
    client = keeper.mind.join()
    for size in (10, 10, 100, 10):
        keeper.ask(client, workload=b"x" * size)

    def sizes(most: int, most_bytes: int) -> list[int]:
        return [len(job.workload) for job in keeper.broker.take_adds(most, most_bytes)]

    assert sizes(1, 1000) == [10]
    assert sizes(9, 50) == [10]
    assert sizes(9, 50) == [100]
    assert sizes(9, 50) == [10]
    assert sizes(9, 50) == []


def test_limit_counts_jobs_that_are_being_stored() -> None:
    keeper = Keeper()
    client = keeper.mind.join()
    keeper.broker.limit_function(b"f", 1, 1, 1)
    keeper.ask(client)

    keeper.ask(client)

    assert answers(client) == [("refused", b"QUEUE_ERROR", b"Job queue is full")]


def test_job_comes_back_as_it_was() -> None:
    keeper = Keeper()
    worker = keeper.mind.sleeper()
    keeper.broker.page(b"f", 0, 2, 0)
    assert keeper.mind.counts() == (2, 0, 1)

    back = keeper.broker.restore(b"H:test:x", b"f", b"u", b"w", 0, b"r", 3)
    keeper.mind.agree()

    assert back
    assert keeper.mind.counts() == (2, 0, 1)
    assert worker.was_woken
    job = worker.grab()
    assert job is not None
    assert (job.handle, job.unique, job.workload, job.priority) == (b"H:test:x", b"u", b"w", 0)
    assert (job.reducer, job.attempts, job.background, job.kept) == (b"r", 3, True, KEPT)
    keeper.ask(client := keeper.mind.join(), unique=b"u")
    assert answers(client) == [("created", b"H:test:x")]
    worker.finish(b"H:test:x")
    assert keeper.ends() == [b"H:test:x"]


def test_job_that_is_here_does_not_come_back_twice() -> None:
    keeper = Keeper()
    keeper.ask(keeper.mind.join())
    [job] = keeper.store_all()

    assert not keeper.broker.restore(job.handle, b"f", b"", b"w", 1, b"", 0)
    assert keeper.mind.counts() == (1, 0, 0)


@pytest.mark.parametrize("unique", [b"u", b"-"])
def test_job_that_comes_back_leaves_its_key_to_whoever_took_it(unique: bytes) -> None:
    keeper = Keeper()
    waiter, worker = keeper.mind.join(), keeper.mind.worker()
    handle = waiter.submit(unique=unique)

    keeper.broker.restore(b"H:test:x", b"f", unique, b"w", 1, b"", 0)
    keeper.mind.agree()

    for _ in range(2):
        job = worker.grab()
        assert job is not None
        worker.finish(job.handle)
    assert ("update", 3, handle, b"") in waiter.heard()
    assert keeper.ends() == [b"H:test:x"]


def test_ids_go_up_from_the_floor_of_the_lease() -> None:
    handles = Keeper().broker.state.handles
    now = 1_700_000_000.0
    floor = ((int(now * 1000) - 1_577_836_800_000 + 5000) << 22) | 77
    handles.rebase(7, floor)

    ids = [int(handles.next(now)[-16:], 16) for _ in range(5000)]

    assert ids[0] > floor
    assert ids == sorted(set(ids))
    assert {id >> 12 & 1023 for id in ids} == {7}


def test_ids_tell_the_time() -> None:
    handles = Keeper().broker.state.handles
    found = []
    for ms in (0, 0, 1, 5):
        now = 1_700_000_000.0 + ms / 1000 + 0.0001
        handles.keep_pace(now)
        found.append((int(handles.next(now)[-16:], 16) >> 22) + 1_577_836_800_000)

    assert found == [1_700_000_000_000 + ms for ms in (0, 0, 1, 5)]


def test_delayed_job_whose_client_has_left_is_gone_when_its_twin_cannot_be_stored() -> None:
    keeper = Keeper()
    waiting, joining = keeper.mind.join(), keeper.mind.join()
    later = int(keeper.mind.wall) + 10
    keeper.ask(waiting, unique=b"u", background=False, when=later)
    keeper.ask(joining, unique=b"u")
    waiting.leave()
    keeper.take()
    keeper.fail()

    assert [one[0] for one in answers(joining)] == ["reneged"]
    assert keeper.broker.idle
