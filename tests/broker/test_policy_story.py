"""Stories told by chance of policies, a store that fails now and then, and lines longer than memory.

After each step the tables agree (``Mind.agree``). In the end every job that was
answered for has been done, has failed for good, or is in the dead set; and the store
has forgotten all others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import settings

from geartrain.broker.policies import EXCEPTION, FAIL, INTERVAL, OFF, Policies, Policy
from geartrain.broker.tables import POOLING, Job
from geartrain.terms import HIGH, LOW, NORMAL
from tests.broker import mind as m
from tests.broker.mind import Ear, Mind

STORIES = settings().max_examples * 2 // 5
STEPS = 150

NAMES = (b"always", b"interval", b"off", b"plain")


def policies() -> Policies:
    found = Policies()
    found.set(b"always", Policy(attempts=3, backoff=2.0, dead=True))
    found.set(
        b"interval", Policy(attempts=2, covers=FAIL, dead=True, durability=INTERVAL, interval=1.0)
    )
    found.set(b"off", Policy(attempts=2, covers=EXCEPTION | FAIL, dead=True, durability=OFF))
    return found


@dataclass
class Row:
    """A job in the store."""

    name: bytes
    unique: bytes
    workload: bytes
    priority: int
    attempts: int
    pool: bool
    run_at: float | None


class Story:
    """A mind, its store, and what was promised to whom."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.mind = Mind(
            durable=True, buries=True, policies=policies(),
            idle_window=2, least_window=3, most_window=4,
        )  # fmt: skip
        self.broker = self.mind.broker
        self.broker.state.chance = self.chance.random
        self.rows: dict[bytes, Row] = {}
        self.ending: set[bytes] = set()
        self.dead: set[bytes] = set()
        self.over: set[bytes] = set()
        self.owed: set[bytes] = set()
        self.clients = [self.mind.join() for _ in range(3)]
        self.workers: list[Ear] = []
        self.running: list[tuple[Ear, Job]] = []

    # ── steps ────────────────────────────────────────────────────────────────

    def submit(self) -> None:
        chance = self.chance
        name = chance.choice(NAMES)
        unique = chance.choice([b"", b"", b"k1", b"k2"]) if name in (b"always", b"plain") else b""
        when = int(self.mind.wall) + 5 if chance.random() < 0.1 else 0
        background = chance.random() < 0.8 or when > 0
        self.broker.submit(
            chance.choice(self.clients), name, unique, b"w%d" % chance.randrange(100),
            chance.choice([HIGH, NORMAL, LOW]), background, when, b"",
        )  # fmt: skip

    def come(self) -> None:
        if len(self.workers) < 4:
            names = self.chance.sample(NAMES, self.chance.randint(1, 4))
            self.workers.append(self.mind.worker(*names, seconds=self.chance.choice([0.0, 3.0])))

    def go(self) -> None:
        if self.workers:
            worker = self.workers.pop(self.chance.randrange(len(self.workers)))
            self.running = [one for one in self.running if one[0] is not worker]
            worker.leave()

    def grab(self) -> None:
        if self.workers:
            worker = self.chance.choice(self.workers)
            job = worker.grab()
            if job is not None:
                assert job.handle not in self.over | self.dead, "given out again"
                self.running.append((worker, job))

    def finish(self) -> None:
        if not self.running:
            return
        worker, job = self.running.pop(self.chance.randrange(len(self.running)))
        if job.handle not in worker.running:
            return  # its time was up
        kind = self.chance.choice([m.COMPLETE, m.FAIL, m.FAIL, m.EXCEPTION])
        handle = job.handle
        burials = len(self.broker.state.burials)
        worker.finish(handle, b"", kind=kind)
        if handle not in self.broker.state.jobs and len(self.broker.state.burials) == burials:
            if not any(one.handle == handle for one in self.broker.state.postponed):
                self.over.add(handle)

    def pass_time(self) -> None:
        self.mind.pass_time(self.chance.choice([0.1, 0.5, 2.0]))
        self.running = [(w, j) for w, j in self.running if j.handle in w.running]

    def cancel(self) -> None:
        handles = self.broker.job_handles()
        if handles:
            handle = self.chance.choice(handles)
            if self.mind.cancel(handle):
                self.over.add(handle)

    # ── the store ────────────────────────────────────────────────────────────

    def commit(self, well: bool = True) -> None:
        broker = self.broker
        jobs = broker.take_adds(1000, 1 << 20)
        if not well:
            for job in jobs:
                broker.not_stored(job, b"disk full")
            return
        for ended in broker.take_ends():
            self.rows.pop(ended.handle, None)
            self.ending.add(ended.handle)
        for burial in broker.take_burials():
            row = self.rows.pop(burial.handle, None)
            assert (row is not None) == burial.stored, "buried without a row, or with one unknown"
            assert burial.stored or burial.body, "buried without its workload"
            self.dead.add(burial.handle)
        for job in broker.take_retried():
            if job.handle in self.rows:
                self.rows[job.handle].attempts = job.attempts
        for one in broker.take_postponed():
            row = self.rows[one.handle]
            row.run_at, row.attempts, row.pool = one.until, one.attempts, True
        for job in jobs:
            twin = next(
                (
                    handle
                    for handle, row in self.rows.items()
                    if job.unique and (row.name, row.unique) == (job.function.name, job.unique)
                ),
                b"",
            )
            if twin:
                broker.merged(job, twin)
                continue
            if job.handle in self.ending:
                continue
            pool = job.kept == POOLING
            self.rows[job.handle] = Row(
                job.function.name, job.unique, job.workload, job.priority, job.attempts, pool,
                float(job.when) if job.when else None,
            )  # fmt: skip
            broker.stored(job, not pool)
        self.ending.clear()

    def fail_to_commit(self) -> None:
        self.commit(well=False)

    def read(self) -> None:
        """Claims, questions, and rows whose time has come."""
        broker = self.broker
        for row in self.rows.values():
            if row.run_at is not None and row.run_at <= self.mind.wall:
                row.run_at, row.pool = None, True
                broker.pooled(row.name, row.priority, 1, True)
        over = {job.handle for job in broker.state.ends}
        over |= {burial.handle for burial in broker.state.burials}
        for ask in broker.take_asks():
            found = next(
                (
                    (handle, row.priority)
                    for handle, row in self.rows.items()
                    if (row.name, row.unique) == (ask.function, ask.unique) and handle not in over
                ),
                (b"", 0),
            )
            broker.found(ask, *found)
        for wish in broker.take_claims():
            ready = [
                handle
                for handle, row in sorted(self.rows.items())
                if (row.name, row.priority) == (wish.function, wish.priority)
                and row.pool
                and row.run_at is None
            ][: wish.jobs]
            for handle in ready:
                row = self.rows[handle]
                row.pool = False
                broker.restore(
                    handle, row.name, row.unique, row.workload, row.priority, b"", row.attempts
                )
            broker.claimed(wish.function, wish.priority, len(ready))

    # ── the books ────────────────────────────────────────────────────────────

    def note(self) -> None:
        """Write down what clients were promised."""
        self.mind.agree()
        for client in self.clients:
            for one in client.heard():
                if one[0] in ("created", "redeemed"):
                    handle = one[-1]
                    assert isinstance(handle, bytes)
                    self.owed.add(handle)
                elif one[0] == "update" and one[1] in (m.COMPLETE, m.FAIL, m.EXCEPTION):
                    assert isinstance(one[2], bytes)
                    self.over.add(one[2])
                elif one[0] == "fail":
                    assert isinstance(one[1], bytes)
                    self.over.add(one[1])

    def tell(self) -> None:
        steps = [
            *[self.submit] * 6, *[self.come] * 2, self.go, *[self.grab] * 6, *[self.finish] * 6,
            self.pass_time, *[self.commit] * 3, self.fail_to_commit, *[self.read] * 3, self.cancel,
        ]  # fmt: skip
        for _ in range(STEPS):
            self.chance.choice(steps)()
            self.note()
        self.end()

    def end(self) -> None:
        """Everything that is left is done."""
        helper = self.mind.worker(*NAMES)
        for worker in self.workers:
            worker.leave()
        for _ in range(100):
            self.mind.pass_time(3.0)
            self.commit()
            self.read()
            self.note()
            while (job := helper.grab()) is not None:
                helper.finish(job.handle)
                self.over.add(job.handle)
                self.note()
        self.commit()

        assert self.broker.idle
        assert self.rows == {}
        assert self.owed - self.over - self.dead == set()
        assert self.broker.state.memory == 0


@pytest.mark.parametrize("seed", range(STORIES))
def test_every_job_that_was_answered_for_comes_to_an_end(seed: int) -> None:
    Story(seed).tell()
