"""Stories of a line whose tail is in a store: whatever happens, the books of both agree.

The store is a dictionary. After each step the tables agree with themselves and with it;
nobody who was submitted after a job had been answered for is given out before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from geartrain.broker.invariants import check
from geartrain.broker.tables import FORGOTTEN, POOLING, RUNNING, Job
from geartrain.broker.windows import tail_of
from geartrain.terms import HIGH, LOW, NORMAL
from tests.broker.mind import Ear, Mind

POOL, MINE, DELAYED = "pool", "mine", "delayed"

names = st.sampled_from([b"f", b"f", b"g"])
keys = st.sampled_from([b"", b"", b"", b"u", b"v", b"-"])
workloads = st.sampled_from([b"w", b"x" * 30, b"y" * 120])
priorities = st.sampled_from([NORMAL, NORMAL, NORMAL, HIGH, LOW])
picks = st.integers(0, 7)


@dataclass
class Row:
    name: bytes
    unique: bytes
    workload: bytes
    priority: int
    where: str
    when: int


@dataclass
class Known:
    """When a job was asked for and answered for, in steps; and whether its place is its own."""

    asked: int
    answered: int | None
    plain: bool = True


class PagingLife(RuleBasedStateMachine):
    """Clients, workers, and a store that commits and is claimed from."""

    def __init__(self) -> None:
        super().__init__()
        self.mind = Mind()
        self.rows: dict[bytes, Row] = {}
        self.keyed: dict[tuple[bytes, bytes], bytes] = {}
        self.known: dict[bytes, Known] = {}
        self.given: dict[tuple[bytes, int], list[bytes]] = {}
        self.step = 0

    @initialize(
        window=st.sampled_from([1, 2, 4, 8]), idle=st.sampled_from([0, 1, 3]),
        size=st.sampled_from([100, 10_000]), big=st.sampled_from([100, 10_000]),
        strict=st.booleans(), spills=st.booleans(),
    )  # fmt: skip
    def begin(
        self, window: int, idle: int, size: int, big: int, strict: bool, spills: bool
    ) -> None:
        self.mind = Mind(
            checked=False, durable=True, spills=spills, strict_order=strict, idle_window=idle,
            least_window=window, most_window=window, window_bytes=size, big_bytes=big,
        )  # fmt: skip
        self.broker = self.mind.broker
        self.clients = [self.mind.join() for _ in range(2)]
        self.workers: list[Ear] = []

    # ── what the store does ──────────────────────────────────────────────────

    def key(self, job: Job) -> tuple[bytes, bytes] | None:
        if not job.unique:
            return None
        return job.function.name, b"\0" + job.workload if job.unique == b"-" else job.unique

    def end_rows(self) -> None:
        for job in self.broker.take_ends():
            self.rows.pop(job.handle, None)
        self.keyed = {key: handle for key, handle in self.keyed.items() if handle in self.rows}

    @rule(most=st.integers(1, 5), fails=st.sampled_from([False, False, False, True]))
    def commit(self, most: int, fails: bool) -> None:
        batch = self.broker.take_adds(most, 1 << 20)
        if fails:
            for job in batch:
                self.broker.not_stored(job, b"disk full")
            self.settle()
            return
        self.end_rows()
        for job in batch:
            key = self.key(job)
            holder = self.keyed.get(key) if key is not None else None
            if holder is not None and holder != job.handle:
                self.broker.merged(job, holder)
                continue
            mine = job.kept != POOLING
            where = DELAYED if job.when else MINE if mine else POOL
            if job.kept != FORGOTTEN:
                self.rows[job.handle] = Row(
                    job.function.name, job.unique, job.workload, job.priority, where, job.when
                )
                if key is not None:
                    self.keyed[key] = job.handle
            self.broker.stored(job, mine)
            self.known[job.handle].answered = self.step
        self.settle()

    @rule()
    def claim(self) -> None:
        self.end_rows()
        for wish in self.broker.take_claims():
            ready = sorted(
                handle
                for handle, row in self.rows.items()
                if row.where == POOL and (row.name, row.priority) == (wish.function, wish.priority)
            )[: wish.jobs]
            for handle in ready:
                row = self.rows[handle]
                row.where = MINE
                away = len(row.workload) > self.mind.rules.big_bytes
                assert self.broker.restore(
                    handle, row.name, row.unique, b"" if away else row.workload, row.priority,
                    b"", 0, away,
                )  # fmt: skip
            self.broker.claimed(wish.function, wish.priority, len(ready))
        for fetch in self.broker.take_fetches():
            found = self.rows.get(fetch.job.handle)
            self.broker.fetched(fetch, found.workload if found is not None else None)
        self.settle()

    @rule(seconds=st.sampled_from([1, 5]))
    def time_passes(self, seconds: int) -> None:
        self.mind.steady += seconds
        self.mind.wall += seconds
        self.broker.tick(self.mind.wall, self.mind.steady)
        for handle, row in self.rows.items():
            if row.where == DELAYED and row.when <= self.mind.wall:
                row.where = POOL
                self.known[handle].plain = False
                self.broker.pooled(row.name, row.priority, 1, True)
        self.settle()

    @rule()
    def find_twins(self) -> None:
        self.end_rows()
        for ask in self.broker.take_asks():
            key = b"\0" + ask.workload if ask.unique == b"-" else ask.unique
            handle = self.keyed.get((ask.function, key), b"")
            priority = self.rows[handle].priority if handle else 0
            self.broker.found(ask, handle, priority)
            self.note_new_jobs(True)
        self.settle()

    # ── what clients and workers do ──────────────────────────────────────────

    def note_new_jobs(self, answered: bool) -> None:
        for handle in self.broker.job_handles():
            if handle not in self.known:
                self.known[handle] = Known(self.step, self.step if answered else None)

    @rule(
        client=st.integers(0, 1), name=names, unique=keys, workload=workloads,
        priority=priorities, background=st.booleans(), delay=st.sampled_from([0, 0, 0, 2]),
    )  # fmt: skip
    def submit(
        self, client: int, name: bytes, unique: bytes, workload: bytes, priority: int,
        background: bool, delay: int,
    ) -> None:  # fmt: skip
        when = int(self.mind.wall) + delay if delay and background else 0
        self.broker.submit(
            self.clients[client], name, unique, workload, priority, background, when, b""
        )
        self.note_new_jobs(not background)
        self.settle()

    @rule(name=names)
    def worker_comes(self, name: bytes) -> None:
        if len(self.workers) < 3:
            self.workers.append(self.mind.join().can_do(name))
        self.settle()

    @rule(pick=picks)
    def worker_sleeps(self, pick: int) -> None:
        if self.workers:
            self.broker.pre_sleep(self.workers[pick % len(self.workers)])
        self.settle()

    @rule(pick=picks, held=st.booleans())
    def grab(self, pick: int, held: bool) -> None:
        if not self.workers:
            return
        worker = self.workers[pick % len(self.workers)]
        job = self.broker.grab(worker)
        if job is None:
            if held:
                self.broker.hold_out(worker)
        else:
            if job.away:
                self.broker.await_workload(worker, job)
            self.given_out(job)
        self.settle()

    def given_out(self, job: Job) -> None:
        known = self.known[job.handle]
        line = self.given.setdefault((job.function.name, job.priority), [])
        if known.plain and known.answered is not None:
            for handle in line:
                other = self.known[handle]
                assert not (other.plain and known.answered < other.asked), (
                    f"{handle!r} was given out before {job.handle!r}, which is older"
                )
        line.append(job.handle)

    @rule(pick=picks)
    def finish(self, pick: int) -> None:
        for worker in self.workers[pick % 3 :]:
            for handle in list(worker.running)[:1]:
                self.broker.finish(worker, 3, handle, handle + b"\0", len(handle) + 1)
        self.settle()

    @rule(pick=picks)
    def worker_leaves(self, pick: int) -> None:
        if self.workers:
            worker = self.workers.pop(pick % len(self.workers))
            for handle in worker.running:
                self.known[handle].plain = False
            self.broker.leave(worker)
        self.settle()

    @rule(client=st.integers(0, 1))
    def client_leaves(self, client: int) -> None:
        self.broker.leave(self.clients[client])
        self.clients[client] = self.mind.join()
        self.settle()

    @rule(pick=st.integers(0, 100))
    def cancel(self, pick: int) -> None:
        handles = sorted(self.known)
        if not handles:
            return
        handle = handles[pick % len(handles)]
        if not self.broker.cancel(handle) and self.broker.is_stored_somewhere(handle):
            self.end_rows()
            row = self.rows.get(handle)
            if row is not None and row.where != MINE:
                del self.rows[handle]
                delayed = row.where == DELAYED
                self.broker.cancelled(handle, row.name, row.priority, delayed)
        self.settle()

    # ── after each step ──────────────────────────────────────────────────────

    def settle(self) -> None:
        self.step += 1
        self.broker.end_turn()
        state = self.broker.state
        check(state)
        # Who waited for a job from the store may have one by now.
        for worker in self.workers:
            for handle, job in worker.running.items():
                assert job.state == RUNNING
                line = self.given.setdefault((job.function.name, job.priority), [])
                if handle not in line:
                    self.given_out(job)
        over = {job.handle for job in state.ends}
        for name, function in state.functions.items():
            for priority in (HIGH, NORMAL, LOW):
                tail = tail_of(function, priority)
                for where, counted in ((POOL, tail.ready), (DELAYED, tail.dormant)):
                    rows = [
                        handle
                        for handle, row in self.rows.items()
                        if (row.name, row.priority, row.where) == (name, priority, where)
                        and handle not in over
                    ]
                    assert counted == len(rows), (name, priority, where, counted, rows)
        for handle, row in self.rows.items():
            if row.where == MINE and handle not in over:
                assert handle in state.jobs, f"{handle!r} is ours, and nobody knows it"

    def teardown(self) -> None:
        """Everything that was answered for is done, when there is somebody to do it."""
        if not hasattr(self, "broker"):
            return
        worker = self.mind.join().can_do(b"f", b"g")
        self.workers.append(worker)
        self.time_passes(5)
        for _ in range(200):
            if not self.broker.state.jobs and not self.rows:
                break
            self.find_twins()
            self.commit(5, False)
            self.claim()
            self.grab(len(self.workers) - 1, False)
            self.finish(0)
            for handle in list(worker.running):
                self.broker.finish(worker, 3, handle, handle + b"\0", len(handle) + 1)
            for other in self.workers[:-1]:
                for handle in list(other.running):
                    self.broker.finish(other, 3, handle, handle + b"\0", len(handle) + 1)
        self.end_rows()
        assert self.rows == {}
        assert self.broker.state.jobs == {}
        assert self.broker.state.memory == 0


@pytest.mark.timeout(180)
def test_books_of_the_broker_and_of_the_store_agree_in_any_story() -> None:
    run_state_machine_as_test(
        PagingLife,
        settings=settings(
            max_examples=settings().max_examples // 2,
            stateful_step_count=40,
            suppress_health_check=(HealthCheck.too_slow,),
        ),
    )
