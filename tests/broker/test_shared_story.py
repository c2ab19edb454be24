"""Stories told by chance of servers that share a store, lose sight of it, and fall over.

Each server is a mind; the store is a dictionary with leases, as ``stores/port.py`` says
it. Whatever happens: a stored job is handed out only by the server that holds its row,
no row comes back once its job is over, and in the end every job that was answered for
has been done.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

from geartrain.broker.tables import KEPT, PAGED, POOLING, WRITING, Job
from geartrain.terms import HIGH, LOW, NORMAL
from tests.broker.mind import Ear, Mind

STORIES = settings().max_examples * 3 // 5
STEPS = 250

NAMES = (b"f", b"g")
#: Seconds that a lease lives without a heartbeat; the tenure ends a second before.
TTL = 4.0
SAFE = 3.0


class Lost(Exception):
    """The lease was taken away."""


@dataclass
class Row:
    """A job in the store."""

    name: bytes
    unique: bytes
    workload: bytes
    priority: int
    attempts: int
    run_at: float | None
    holder: int | None


@dataclass
class Batch:
    """What one server is about to write."""

    adds: list[tuple[Job, bool]] = field(default_factory=list)
    ends: list[bytes] = field(default_factory=list)
    #: Handle, whether it goes to the pool, not before when, and attempts.
    gives: list[tuple[bytes, bool, float | None, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.adds or self.ends or self.gives)


class Store:
    """Rows, and who may hold them until when."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.over: set[bytes] = set()
        self.expires: dict[int, float] = {}
        self.leases = 0

    def lease(self, now: float) -> int:
        self.leases += 1
        self.expires[self.leases] = now + TTL
        return self.leases

    def heartbeat(self, lease: int, now: float) -> float:
        if lease not in self.expires:
            raise Lost
        self.expires[lease] = now + TTL
        return now + SAFE

    def adopt(self, now: float) -> None:
        for lease in [one for one, expires in self.expires.items() if expires <= now]:
            self.release(lease)

    def release(self, lease: int) -> None:
        self.expires.pop(lease, None)
        for row in self.rows.values():
            if row.holder == lease:
                row.holder = None

    def renew(self, old: int, keep: list[bytes], ended: list[bytes], now: float) -> int:
        new = self.lease(now)
        for handle in [*keep, *ended]:
            row = self.rows.get(handle)
            if row is not None and row.holder in (None, old):
                row.holder, row.run_at = new, None
        self.release(old)
        for handle in ended:
            self.end(handle, new)
        return new

    def end(self, handle: bytes, lease: int) -> None:
        row = self.rows.get(handle)
        if row is not None and row.holder in (None, lease):
            del self.rows[handle]
            self.over.add(handle)

    def commit(self, lease: int, batch: Batch) -> list[tuple[bytes, bool]]:
        """For each add the handle that has its key, and whether the row is the asker's."""
        if lease not in self.expires:
            raise Lost
        given = {handle: (pool, at, n) for handle, pool, at, n in batch.gives}
        for handle in batch.ends:
            self.end(handle, lease)
        for handle, (pool, at, attempts) in given.items():
            row = self.rows.get(handle)
            if row is not None and row.holder == lease:
                row.attempts, row.run_at = attempts, at
                row.holder = None if pool else lease
        answers = []
        for job, pool in batch.adds:
            row = self.rows.get(job.handle)
            if row is None and job.handle not in batch.ends and job.handle not in self.over:
                twin = self.twin(job.function.name, job.unique, job.workload)
                if twin:
                    answers.append((twin, False))
                    continue
                when = float(job.when) if job.when else None
                holder = None if pool or when else lease
                row = Row(job.function.name, job.unique, job.workload, job.priority,
                          job.attempts, when, holder)  # fmt: skip
                if job.handle in given:
                    to_pool, row.run_at, row.attempts = given[job.handle]
                    row.holder = None if to_pool else lease
                self.rows[job.handle] = row
            answers.append((job.handle, row is not None and row.holder == lease))
        return answers

    def twin(self, name: bytes, unique: bytes, workload: bytes) -> bytes:
        for handle, row in self.rows.items():
            if unique and (row.name, row.unique) == (name, unique):
                if unique != b"-" or row.workload == workload:
                    return handle
        return b""


class Server:
    """A mind, and what talks to the store for it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.store = story.store
        self.chance = story.chance
        self.mind = Mind(
            durable=True, shared=True, idle_window=0, least_window=0, most_window=3, big_bytes=40
        )
        self.mind.steady, self.mind.wall = story.steady, story.wall
        self.broker = self.mind.broker
        self.broker.tick(self.mind.wall, self.mind.steady)
        self.linked = True
        self.in_doubt = False
        self.batch = Batch()
        self.ending: set[bytes] = set()
        self.lease = self.store.lease(story.steady)
        self.broker.state.handles.rebase(self.lease % 1024, 0)
        self.clients = [self.mind.join() for _ in range(2)]
        self.workers: list[Ear] = []
        self.beat()
        self.count()

    # ── the store ────────────────────────────────────────────────────────────

    def beat(self) -> None:
        if not self.linked or self.in_doubt:
            return
        try:
            self.broker.hold_until(self.store.heartbeat(self.lease, self.story.steady))
        except Lost:
            self.doubt()

    def doubt(self) -> None:
        self.in_doubt = True
        self.broker.fence()

    def take(self) -> Batch:
        batch, broker = self.batch, self.broker
        if not batch.adds:
            batch.adds = [(job, job.kept == POOLING) for job in broker.take_adds(5, 1 << 20)]
        self.gather_ends()
        batch.gives += [
            (job.handle, False, None, job.attempts)
            for job in broker.take_retried()
            if job.kept == KEPT
        ]
        batch.gives += [
            (one.handle, True, one.until, one.attempts) for one in broker.take_postponed()
        ]
        batch.gives += [(gift.handle, True, None, gift.attempts) for gift in broker.take_gifts()]
        return batch

    def gather_ends(self) -> None:
        ends = [job.handle for job in self.broker.take_ends()]
        self.batch.ends += ends
        self.ending.update(ends)

    def renew(self) -> None:
        if not self.linked or not self.in_doubt:
            return
        batch = self.take()
        held = {
            handle: job
            for handle, job in self.broker.state.jobs.items()
            if job.kept in (KEPT, WRITING) and job.state != PAGED
        }
        giving = [handle for handle, *_ in batch.gives]
        self.lease = self.store.renew(self.lease, [*held, *giving], batch.ends, self.story.steady)
        self.broker.state.handles.rebase(self.lease % 1024, 0)
        for handle, job in held.items():
            row = self.store.rows.get(handle)
            if job.kept == KEPT and (row is None or row.holder != self.lease):
                self.broker.elsewhere(job)
        writing = {job.handle for job, _ in batch.adds}
        self.ending.difference_update(set(batch.ends) - writing)
        batch.ends = [handle for handle in batch.ends if handle in writing]
        self.in_doubt = False
        self.beat()

    def commit(self) -> None:
        """Write a batch; it may fail, and whether it has may be unknown."""
        self.renew()
        batch = self.take()
        if not batch or self.in_doubt:
            return
        if not self.linked:
            if self.chance.random() < 0.3:
                refused, batch.adds = batch.adds, []
                for job, _ in refused:
                    self.broker.not_stored(job, b"the store is down")
                self.broker.refuse_doubted(b"the store is down")
            return
        luck = self.chance.random() * self.story.trouble
        if luck > 0.95:
            self.doubt()  # it was not written
            return
        try:
            answers = self.store.commit(self.lease, batch)
        except Lost:
            self.doubt()
            return
        if luck > 0.9:
            self.doubt()  # it was written, and the answer lost
            return
        self.batch = Batch()
        self.ending.difference_update(batch.ends)
        for (job, pool), (handle, mine) in zip(batch.adds, answers, strict=True):
            if handle != job.handle:
                self.broker.merged(job, handle)
            elif mine or pool:
                self.broker.stored(job, mine)
            else:
                self.broker.stored_elsewhere(job)

    def read(self) -> None:
        """Claims, workloads, and rows whose time has come."""
        broker, store = self.broker, self.store
        claims = broker.take_claims()
        self.gather_ends()
        well = self.linked and not self.in_doubt and self.lease in store.expires
        for wish in claims:
            found = 0
            for handle, row in sorted(store.rows.items()) if well else ():
                if (row.name, row.priority) != (wish.function, wish.priority):
                    continue
                if row.holder is not None or row.run_at is not None or wish.jobs == 0:
                    continue
                wish.jobs -= 1
                row.holder = self.lease
                if handle not in self.ending:
                    away = len(row.workload) > 40 and row.unique != b"-"
                    found += broker.restore(
                        handle, row.name, row.unique, b"" if away else row.workload,
                        row.priority, b"", row.attempts, away,
                    )  # fmt: skip
            broker.claimed(wish.function, wish.priority, found)
        if well:
            for fetch in broker.take_fetches():
                found_row = store.rows.get(fetch.job.handle)
                broker.fetched(fetch, found_row.workload if found_row is not None else None)
            for row in store.rows.values():
                if row.run_at is not None and row.run_at <= self.story.wall:
                    row.run_at = None
                    broker.pooled(row.name, row.priority, 1, True)
        self.note()

    def count(self) -> None:
        """Look into the pools."""
        if not self.linked or self.in_doubt:
            return
        counts = dict.fromkeys(self.broker.paged_lines(), (0, 0))
        for row in self.store.rows.values():
            if row.holder is None:
                ready, dormant = counts.get((row.name, row.priority), (0, 0))
                late = row.run_at is not None
                counts[row.name, row.priority] = (ready + (not late), dormant + late)
        for (name, priority), (ready, dormant) in counts.items():
            self.broker.page(name, priority, ready, dormant)

    # ── clients and workers ──────────────────────────────────────────────────

    def submit(self) -> None:
        chance = self.chance
        client, background = chance.choice(self.clients), chance.random() < 0.8
        self.broker.submit(
            client, chance.choice(NAMES), chance.choice([b"", b"", b"", b"u", b"v", b"-"]),
            chance.choice([b"w", b"x" * 60]), chance.choice([HIGH, NORMAL, NORMAL, LOW]),
            background, int(self.story.wall) + 3 if chance.random() < 0.1 else 0, b"",
        )  # fmt: skip
        if background:
            self.hear(client, "created")

    def hear(self, client: Ear, *words: str) -> None:
        """Note what was answered for."""
        for one in client.heard():
            if one[0] in ("redeemed", *words):
                handle = one[-1]
                assert isinstance(handle, bytes)
                self.story.answered.add(handle)

    def come(self) -> None:
        if len(self.workers) < 2:
            limit = self.chance.choice([0.0, 2.0])
            self.workers.append(self.mind.worker(*self.chance.sample(NAMES, 2), seconds=limit))

    def go(self) -> None:
        if self.workers:
            self.workers.pop().leave()
            self.broker.give_back(False)

    def client_leaves(self) -> None:
        self.clients.pop(0).leave()
        self.clients.append(self.mind.join())

    def grab(self) -> None:
        if not self.workers:
            return
        worker = self.chance.choice(self.workers)
        job = self.broker.grab(worker)
        if job is None:
            self.broker.hold_out(worker)
        elif job.away:
            self.broker.await_workload(worker, job)

    def finish(self) -> None:
        for worker in self.workers:
            for handle in list(worker.running)[:1]:
                if not any(fetch.job.handle == handle for fetch in self.broker.state.fetches):
                    worker.finish(handle)
                    self.story.done.add(handle)

    def cancel(self) -> None:
        handles = self.broker.job_handles()
        if handles:
            handle = self.chance.choice(handles)
            if self.mind.cancel(handle):
                self.story.excused.add(handle)

    # ── the books ────────────────────────────────────────────────────────────

    def note(self) -> None:
        """The turn ends; who has got a job may have it."""
        self.mind.agree()
        for worker in self.workers:
            for handle, job in worker.running.items():
                if job.started == self.story.steady and job.kept == KEPT and job.wanted:
                    row = self.store.rows.get(handle)
                    assert row is not None, f"{handle!r} is handed out, and is over"
                    assert row.holder == self.lease, f"{handle!r} is another server's"
        for client in self.clients:
            self.hear(client)


class Story:
    """Some servers, one store, and what was promised."""

    def __init__(self, seed: int, servers: int) -> None:
        self.chance = random.Random(seed)
        self.steady, self.wall = 1_000.0, 1_700_000_000.0
        self.trouble = self.chance.choice([0.5, 1.0, 1.0])
        self.store = Store()
        self.answered: set[bytes] = set()
        self.done: set[bytes] = set()
        self.excused: set[bytes] = set()
        self.servers = [Server(self) for _ in range(servers)]

    def pass_time(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds
        for server in self.servers:
            server.mind.pass_time(seconds)
            server.note()

    def crash(self, at: int) -> None:
        """All that a server had in memory is gone, with those it was told by."""
        for job in self.servers[at].broker.state.jobs.values():
            if not job.background:
                self.excused.add(job.handle)
        self.servers[at] = Server(self)

    def tell(self) -> None:
        weights = {
            "submit": 6, "come": 2, "go": 1, "client_leaves": 1, "grab": 6, "finish": 3,
            "cancel": 1, "commit": 8, "read": 5, "count": 2, "beat": 6, "renew": 1,
        }  # fmt: skip
        for _ in range(STEPS):
            at = self.chance.randrange(len(self.servers))
            server = self.servers[at]
            luck = self.chance.random()
            if luck < 0.1:
                self.pass_time(self.chance.choice([0.2, 0.5, 1.0, 3.5]))
            elif luck < 0.15:
                server.linked = not server.linked or self.chance.random() > self.trouble * 0.7
            elif luck < 0.2:
                self.store.adopt(self.steady)
            elif luck < 0.2 + 0.01 * self.trouble:
                self.crash(at)
            else:
                [word] = self.chance.choices(list(weights), list(weights.values()))
                getattr(server, word)()
            self.servers[at].note()
        self.end()

    def end(self) -> None:
        """The store is well, and everything that is left is done."""
        self.trouble = 0.0
        for server in self.servers:
            server.linked = True
            server.workers.append(server.mind.worker(*NAMES))
        for _ in range(200):
            self.pass_time(0.5)
            self.store.adopt(self.steady)
            for server in self.servers:
                for word in ("beat", "renew", "commit", "count", "read", "grab", "finish"):
                    getattr(server, word)()
                    server.note()
            if not self.store.rows and all(server.broker.idle for server in self.servers):
                break

        assert self.store.rows == {}
        for server in self.servers:
            assert server.broker.idle, list(server.broker.state.jobs)
            assert server.broker.state.memory == 0
        assert self.answered - self.done - self.excused == set()


@pytest.mark.parametrize("seed", range(STORIES))
def test_servers_that_share_a_store_lose_no_job_and_hand_out_only_their_own(seed: int) -> None:
    Story(seed, servers=1 + seed % 3).tell()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_long_stories_of_shared_stores_end_well_too(seconds: float) -> None:
    chance = random.Random(os.environ.get("GEARTRAIN_SEED"))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seed, servers = chance.randrange(2**32), chance.randrange(1, 4)
        try:
            Story(seed, servers).tell()
        except Exception as error:
            error.add_note(f"told by Story({seed}, {servers}).tell()")
            raise
