"""Where several servers share a queue: what nobody here will do goes back to it."""

from __future__ import annotations

import pytest

from geartrain.broker.policies import Policy
from geartrain.broker.tables import UNKEPT
from tests.broker.test_keeping import Keeper


class Sharer(Keeper):
    def __init__(self) -> None:
        super().__init__(shared=True)
        self.client = self.mind.join()
        self.worker = self.mind.worker(b"f", b"g")

    def keep(self, workload: bytes, function: bytes = b"f", when: int = 0) -> bytes:
        self.ask(self.client, function, workload=workload, when=when)
        [job] = self.store_all()
        return job.handle

    def give(self, everything: bool = False) -> list[bytes]:
        self.broker.give_back(everything)
        self.mind.agree()
        return [gift.handle for gift in self.broker.take_gifts()]


@pytest.fixture
def sharer() -> Sharer:
    return Sharer()


def test_jobs_without_a_worker_go_back(sharer: Sharer) -> None:
    first, second = sharer.keep(b"a"), sharer.keep(b"b")
    kept = sharer.keep(b"c", b"g")
    assert sharer.give() == []
    sharer.worker.cant_do(b"f")
    assert sharer.give() == [first, second]
    assert not sharer.mind.status(first)[0]
    assert sharer.mind.counts(b"f") == (2, 0, 0)
    assert sharer.mind.status(kept)[0]
    assert sharer.ends() == []
    assert sharer.give() == []


def test_job_that_somebody_waits_for_stays(sharer: Sharer) -> None:
    sharer.ask(sharer.client, unique=b"u")
    sharer.store_all()
    sharer.ask(sharer.mind.join(), unique=b"u", background=False)
    sharer.ask(sharer.client, workload=b"waited for", background=False)
    sharer.worker.leave()
    assert sharer.give() == []


def test_all_that_waits_goes_back_at_the_end_and_what_runs_stays(sharer: Sharer) -> None:
    running = sharer.keep(b"a")
    waiting = sharer.keep(b"b")
    assert sharer.worker.grab_workload() == b"a"
    assert sharer.give(everything=True) == [waiting]
    assert sharer.mind.status(running)[:2] == (True, True)


def test_note_of_its_attempts_does_not_make_a_given_job_ours_again(sharer: Sharer) -> None:
    handle = sharer.keep(b"a")
    sharer.broker.state.functions[b"f"].policy = Policy(5)
    assert sharer.worker.grab_workload() == b"a"
    sharer.worker.leave()
    sharer.broker.give_back(everything=False)
    sharer.mind.agree()
    [gift] = sharer.broker.take_gifts()
    assert (gift.handle, gift.attempts) == (handle, 1)
    assert [job.kept for job in sharer.broker.take_retried()] == [UNKEPT]


def test_nothing_is_given_while_nobody_knows_whose_it_is(sharer: Sharer) -> None:
    handle = sharer.keep(b"a")
    sharer.worker.leave()
    sharer.broker.fence()
    assert sharer.give(everything=True) == []
    sharer.broker.hold_until(sharer.mind.steady + 10.0)
    assert sharer.give() == [handle]
