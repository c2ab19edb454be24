"""The broker once more, as simple as can be: lists, and no thought of cost.

It knows nothing of crews, rings and wake-ups; what it knows is what must become of
each job, and what each client must hear. Written from the protocol reference
(2.2 to 2.13), not from the broker.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.broker.mind import COMPLETE, HIGH, LOW, NORMAL, STATUS, Said

JOB_OVERHEAD = 480
PRIORITIES = (HIGH, NORMAL, LOW)


@dataclass
class ModelJob:
    """A job that is not over."""

    handle: bytes
    function: bytes
    unique: bytes
    workload: bytes
    priority: int
    background: bool
    serial: int
    key: tuple[bytes, bytes, bytes] | None
    entries: list[int] = field(default_factory=list)
    worker: int | None = None
    attempts: int = 0
    when: int = 0
    overdue: float | None = None
    overdue_serial: int = 0
    numerator: int = 0
    denominator: int = 0

    @property
    def wanted(self) -> bool:
        return self.background or bool(self.entries)


@dataclass
class ModelPeer:
    """A connection."""

    abilities: dict[bytes, float] = field(default_factory=dict)
    asleep: bool = False
    running: list[bytes] = field(default_factory=list)
    last_ended: bytes = b""


@dataclass
class Model:
    """What must be so."""

    job_retries: int = -1
    strict_order: bool = False
    fail_on_timeout: bool = False
    max_functions: int = 0
    max_memory_bytes: int = 0
    accept_new_work: bool = True
    wall: float = 0.0
    steady: float = 0.0
    functions: dict[bytes, list[int]] = field(default_factory=dict)
    jobs: dict[bytes, ModelJob] = field(default_factory=dict)
    lines: dict[tuple[bytes, int], list[bytes]] = field(default_factory=dict)
    peers: dict[int, ModelPeer] = field(default_factory=dict)
    #: What each peer must have heard since the last look, wake-ups left out.
    heard: dict[int, list[Said]] = field(default_factory=dict)
    serial: int = 0
    #: How often a function with jobs was passed over by a group of equals.
    passed_over: dict[tuple[frozenset[bytes], int, bytes], int] = field(default_factory=dict)

    # ── clients ──────────────────────────────────────────────────────────────

    def make_function(self, name: bytes) -> bool:
        """False when there are too many."""
        if name not in self.functions:
            if self.max_functions and len(self.functions) >= self.max_functions:
                return False
            self.functions[name] = [0, 0, 0]
        return True

    def total(self, name: bytes) -> int:
        return sum(1 for job in self.jobs.values() if job.function == name)

    def answer_to_submit(
        self, name: bytes, unique: bytes, workload: bytes, priority: int
    ) -> tuple[str, bytes]:
        """What a submission must be answered: ("refused", code), ("joined", handle) or new."""
        if len(unique) > 64:
            return "refused", b"ARGUMENT_TOO_LARGE"
        if not self.make_function(name):
            return "refused", b"QUEUE_ERROR"
        twin = self.by_key(_key(name, unique, workload))
        if twin is not None:
            return "joined", twin.handle
        limit = self.functions[name][priority]
        memory = sum(
            len(job.workload) + len(job.unique) + JOB_OVERHEAD for job in self.jobs.values()
        )
        memory += len(workload) + len(unique) + JOB_OVERHEAD
        if not self.accept_new_work or (limit and self.total(name) >= limit):
            return "refused", b"QUEUE_ERROR"
        if self.max_memory_bytes and memory > 0.95 * self.max_memory_bytes:
            return "refused", b"QUEUE_FULL"
        return "new", b""

    def by_key(self, key: tuple[bytes, bytes, bytes] | None) -> ModelJob | None:
        if key is not None:
            for job in self.jobs.values():
                if job.key == key:
                    return job
        return None

    def join_job(self, number: int, handle: bytes, background: bool) -> None:
        job = self.jobs[handle]
        if background:
            job.background = True
        else:
            job.entries.append(number)

    def new_job(
        self,
        number: int,
        handle: bytes,
        name: bytes,
        unique: bytes,
        workload: bytes,
        priority: int,
        background: bool,
        when: int,
    ) -> None:
        self.serial += 1
        job = ModelJob(
            handle, name, unique, workload, priority, background, self.serial,
            _key(name, unique, workload),
        )  # fmt: skip
        if not background:
            job.entries.append(number)
        self.jobs[handle] = job
        if when > self.wall:
            job.when = when
        else:
            self.enqueue(job)

    def enqueue(self, job: ModelJob) -> None:
        job.when = 0
        self.lines.setdefault((job.function, job.priority), []).append(job.handle)

    def is_queued(self, job: ModelJob) -> bool:
        return job.worker is None and not job.when

    def end(self, job: ModelJob) -> None:
        del self.jobs[job.handle]
        line = self.lines.get((job.function, job.priority), [])
        if job.handle in line:
            line.remove(job.handle)

    def fail(self, job: ModelJob) -> None:
        for number in job.entries:
            self.tell(number, ("fail", job.handle))
        self.end(job)

    def tell(self, number: int, said: Said) -> None:
        self.heard.setdefault(number, []).append(said)

    def cancel(self, handle: bytes) -> bool:
        job = self.jobs.get(handle)
        if job is None:
            return False
        if job.worker is None:
            self.fail(job)
            return True
        for number in job.entries:
            self.tell(number, ("fail", handle))
        job.entries = []
        job.background = False
        job.key = None
        return True

    # ── workers ──────────────────────────────────────────────────────────────

    def lose(self, job: ModelJob) -> None:
        assert job.worker is not None
        self.peers[job.worker].running.remove(job.handle)
        job.worker = None
        job.overdue = None
        job.numerator = job.denominator = 0
        job.attempts += 1
        if not job.wanted:
            self.end(job)
        elif self.job_retries >= 0 and job.attempts >= max(1, self.job_retries):
            self.fail(job)
        else:
            self.enqueue(job)

    def leave(self, number: int) -> None:
        peer = self.peers[number]
        for handle in list(peer.running):
            self.lose(self.jobs[handle])
        del self.peers[number]
        for job in list(self.jobs.values()):
            if number in job.entries:
                job.entries = [entry for entry in job.entries if entry != number]
                if not job.wanted and job.worker is None:
                    self.end(job)
        # Whoever has gone hears nothing any more.
        self.heard.pop(number, None)
        self.passed_over.clear()

    def cant_do(self, number: int, names: list[bytes]) -> None:
        peer = self.peers[number]
        lost = [h for h in peer.running if self.jobs[h].function in names]
        for name in names:
            peer.abilities.pop(name, None)
        for handle in lost:
            self.lose(self.jobs[handle])
        self.passed_over.clear()

    def may_be_grabbed(self, number: int) -> list[bytes]:
        """Handles of which a grab must give one; empty for NO_JOB."""
        abilities = list(self.peers[number].abilities)
        if self.strict_order:
            for name in abilities:
                for priority in PRIORITIES:
                    if line := self.lines.get((name, priority)):
                        return [line[0]]
            return []
        for priority in PRIORITIES:
            found = [line[0] for name in abilities if (line := self.lines.get((name, priority)))]
            if found:
                return found
        return []

    def grab(self, number: int, handle: bytes) -> int:
        """Note that this was grabbed; how often any function has been passed over at most."""
        job = self.jobs[handle]
        peer = self.peers[number]
        equals = frozenset(peer.abilities)
        worst = 0
        for name in peer.abilities:
            place = (equals, job.priority, name)
            if name == job.function:
                self.passed_over.pop(place, None)
            elif self.lines.get((name, job.priority)):
                self.passed_over[place] = self.passed_over.get(place, 0) + 1
                worst = max(worst, self.passed_over[place])
            else:
                self.passed_over.pop(place, None)
        self.lines[job.function, job.priority].remove(handle)
        job.worker = number
        peer.running.append(handle)
        seconds = peer.abilities[job.function]
        if seconds:
            self.serial += 1
            job.overdue = self.steady + seconds
            job.overdue_serial = self.serial
        return worst

    def report(self, number: int, handle: bytes, kind: int, data: bytes) -> bool:
        if handle not in self.peers[number].running:
            return False
        job = self.jobs[handle]
        if kind == STATUS:
            first, _, second = data.partition(b"\0")
            job.numerator, job.denominator = int(first), int(second)
        for entry in job.entries:
            self.tell(entry, ("update", kind, handle, data))
        return True

    def finish(self, number: int, handle: bytes, kind: int, data: bytes) -> bool:
        peer = self.peers[number]
        if handle not in peer.running:
            return bool(handle) and handle == peer.last_ended
        peer.running.remove(handle)
        peer.last_ended = handle
        job = self.jobs[handle]
        for entry in job.entries:
            self.tell(entry, ("update", kind, handle, data))
        self.end(job)
        return True

    # ── time ─────────────────────────────────────────────────────────────────

    def pass_time(self, wall: float, steady: float) -> None:
        self.wall, self.steady = wall, steady
        due = [job for job in self.jobs.values() if job.when and job.when <= wall]
        for job in sorted(due, key=lambda job: (job.when, job.serial)):
            self.enqueue(job)
        late = [
            (job.overdue, job.overdue_serial, job)
            for job in self.jobs.values()
            if job.overdue is not None and job.overdue <= steady
        ]
        for _, _, job in sorted(late, key=lambda one: one[:2]):
            if self.fail_on_timeout:
                assert job.worker is not None
                self.peers[job.worker].running.remove(job.handle)
                self.fail(job)
            else:
                self.lose(job)

    # ── functions ────────────────────────────────────────────────────────────

    def drop_function(self, name: bytes) -> bool | None:
        if name not in self.functions:
            return None
        if self.total(name) or any(name in peer.abilities for peer in self.peers.values()):
            return False
        del self.functions[name]
        return True

    def work_for(self, number: int) -> bool:
        """There is something to grab for this peer."""
        return bool(self.may_be_grabbed(number))

    def status(self, handle: bytes) -> tuple[bool, bool, int, int, int]:
        job = self.jobs.get(handle)
        if job is None:
            return False, False, 0, 0, 0
        return True, job.worker is not None, job.numerator, job.denominator, len(job.entries)


def _key(name: bytes, unique: bytes, workload: bytes) -> tuple[bytes, bytes, bytes] | None:
    if not unique:
        return None
    if unique == b"-":
        return (name, b"by workload", workload) if workload else None
    return name, b"by unique", unique


#: A job's end as its client hears it, for counting.
ENDS = {COMPLETE, 4, 5}
