"""The story-teller: peers come, go, submit, sleep, grab, report; time passes.

After each step the tables must agree (``geartrain.broker.invariants``), each peer
must have heard exactly what the model says, and nobody may have been woken for
nothing. ``test_lifetime.py`` runs it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from geartrain.broker.invariants import check
from tests.broker.mind import (
    COMPLETE,
    DATA,
    EXCEPTION,
    FAIL,
    HIGH,
    LOW,
    NORMAL,
    STATUS,
    WARNING,
    Ear,
    Mind,
    Said,
)
from tests.broker.model import ENDS, Model, ModelPeer

NAMES = (b"a", b"b", b"c", b"d")
#: Few names and few peers, so that their ways cross.
names = st.sampled_from([b"a", b"a", b"a", b"b", b"b", b"c", b"d"])
uniques = st.sampled_from([b"", b"", b"u", b"v", b"-", b"x" * 64, b"x" * 65])
workloads = st.sampled_from([b"", b"w", b"other", b"u"])
priorities = st.sampled_from([NORMAL, NORMAL, HIGH, LOW])
slots = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 3, 4, 5])
choices = st.integers(0, 7)


class BrokerLifetime(RuleBasedStateMachine):
    """Everything that may happen to a broker, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.mind = Mind()
        self.alone_from = 16
        self.model = Model()
        self.ears: dict[int, Ear] = {}
        self.slots: list[Ear | None] = [None] * 6
        self.handles: list[bytes] = [b"", b"H:test:nobody"]
        #: Foreground entries: how often each (peer, handle) has been promised an end.
        self.promised: dict[tuple[int, bytes], int] = {}

    @initialize(
        worker_wakeup=st.sampled_from([1, 1, 0, 2, 3]),
        wakeup_seconds=st.sampled_from([1.0, 0.0]),
        strict_order=st.booleans(),
        job_retries=st.sampled_from([-1, -1, 0, 1, 2]),
        fail_on_timeout=st.booleans(),
        max_functions=st.sampled_from([0, 0, 3]),
        max_memory_bytes=st.sampled_from([0, 0, 4000]),
        alone_from=st.sampled_from([16, 1, 2]),
    )
    def begin(self, **rules: Any) -> None:
        self.alone_from = int(rules.pop("alone_from"))
        self.mind = Mind(checked=False, **rules)
        self.mind.broker.state.alone_from = self.alone_from
        rules.pop("worker_wakeup")
        rules.pop("wakeup_seconds")
        self.model = Model(wall=self.mind.wall, steady=self.mind.steady, **rules)

    # ── who is meant ─────────────────────────────────────────────────────────

    def peer(self, slot: int) -> Ear:
        """Who sits here; somebody comes if nobody does."""
        ear = self.slots[slot]
        if ear is None:
            ear = self.mind.join()
            self.slots[slot] = ear
            self.ears[ear.number] = ear
            self.model.peers[ear.number] = ModelPeer()
        return ear

    def running_of(self, ear: Ear, choice: int) -> bytes:
        """A job it runs, if it runs any; else any handle that ever was."""
        running = self.model.peers[ear.number].running
        if running and choice < 6:
            return running[choice % len(running)]
        return self.any_handle(choice)

    def any_handle(self, choice: int) -> bytes:
        return self.handles[-1 - choice % len(self.handles)]

    # ── after each step ──────────────────────────────────────────────────────

    def settle(self) -> None:
        """Compare what everybody heard with what the model says."""
        model = self.model
        for number, ear in self.ears.items():
            said: list[Said] = []
            for one in ear.heard():
                if one == ("noop",):
                    peer = model.peers[number]
                    assert peer.asleep, f"peer {number} was woken, and did not sleep"
                    peer.asleep = False
                else:
                    said.append(one)
            wanted = model.heard.pop(number, [])
            assert said == wanted, f"peer {number} heard {said}, should have heard {wanted}"
            for one in said:
                if one[0] == "fail" or (one[0] == "update" and one[1] in ENDS):
                    handle = one[1] if one[0] == "fail" else one[2]
                    assert isinstance(handle, bytes)
                    self.promised[number, handle] -= 1
                    assert self.promised[number, handle] >= 0, f"{handle!r} has ended twice"
        assert not model.heard, f"nobody is there to hear {model.heard}"
        check(self.mind.broker.state)
        self.compare()

    def compare(self) -> None:
        """The tables say of each job what the model says."""
        model, broker = self.model, self.mind.broker
        assert set(broker.job_handles()) == set(model.jobs)
        for handle in self.handles:
            found = broker.status(handle)
            seen = (
                found.known, found.running, found.numerator, found.denominator, found.clients,
            )  # fmt: skip
            assert seen == model.status(handle), handle
        assert broker.function_names() == list(model.functions)
        for number, handle in self.promised:
            owed = self.promised[number, handle]
            if number in self.ears and handle in model.jobs:
                assert model.jobs[handle].entries.count(number) == owed
            elif number in self.ears:
                assert owed == 0, f"peer {number} never heard of the end of {handle!r}"

    def end_turn(self) -> None:
        """The end of a turn, when sleepers that have learned something are seen to."""
        self.mind.broker.end_turn()
        self.settle()
        for number, peer in self.model.peers.items():
            assert self.ears[number].asleep == peer.asleep

    def done(self, last: bool) -> None:
        """A step is done, and perhaps the turn."""
        if last:
            self.end_turn()
        else:
            self.settle()

    # ── clients ──────────────────────────────────────────────────────────────

    @rule(
        slot=slots, name=names, unique=uniques, workload=workloads, priority=priorities,
        background=st.booleans(), delay=st.sampled_from([0, 0, 0, 0, -5, 1, 3, 3, 10**15]),
        last=st.booleans(),
    )  # fmt: skip
    def submit(
        self, slot: int, name: bytes, unique: bytes, workload: bytes, priority: int,
        background: bool, delay: int, last: bool,
    ) -> None:  # fmt: skip
        ear, model = self.peer(slot), self.model
        when = int(self.mind.wall) + delay if delay else 0
        answer, detail = model.answer_to_submit(name, unique, workload, priority)

        self.mind.broker.submit(
            ear, name, unique, workload, priority, background, when, b"r" if delay else b""
        )

        told = next(one for one in ear.said if one[0] != "noop")
        ear.said.remove(told)
        if answer == "refused":
            assert told[:2] == ("refused", detail)
        else:
            assert told[0] == "created"
            handle = told[1]
            assert isinstance(handle, bytes)
            assert 0 < len(handle) < 64
            if answer == "joined":
                assert handle == detail
                model.join_job(ear.number, handle, background)
            else:
                assert handle not in self.handles, "a handle was given twice"
                self.handles.append(handle)
                model.new_job(
                    ear.number, handle, name, unique, workload, priority, background, when
                )
            if not background:
                place = (ear.number, handle)
                self.promised[place] = self.promised.get(place, 0) + 1
        self.done(last)

    @rule(name=names, priority=priorities, last=st.booleans())
    def submit_something_to_do(self, name: bytes, priority: int, last: bool) -> None:
        self.submit(5, name, b"", b"w", priority, False, 0, last)

    @rule(choice=choices)
    def cancel(self, choice: int) -> None:
        handle = self.any_handle(choice)
        known = self.model.cancel(handle)
        assert self.mind.broker.cancel(handle) == known
        self.done(True)

    # ── workers ──────────────────────────────────────────────────────────────

    @rule(slot=slots, name=names, seconds=st.sampled_from([0.0, 0.0, 1.5, 4.0]), last=st.booleans())
    def can_do(self, slot: int, name: bytes, seconds: float, last: bool) -> None:
        ear = self.peer(slot)
        peer = self.model.peers[ear.number]
        if not self.model.make_function(name):
            self.mind.broker.can_do(ear, name, seconds)
            assert ear.said[-1][:2] == ("refused", b"QUEUE_ERROR")
            ear.said.pop()
        else:
            if name not in peer.abilities:
                self.model.passed_over.clear()
            peer.abilities[name] = seconds
            self.mind.broker.can_do(ear, name, seconds)
        self.done(last)

    @rule(slot=slots, some=st.lists(names, min_size=1, max_size=3))
    def worker_learns_and_sleeps(self, slot: int, some: list[bytes]) -> None:
        for name in some:
            self.can_do(slot, name, 0.0, False)
        self.sleep(slot)

    @rule(slot=slots, name=names, last=st.booleans())
    def cant_do(self, slot: int, name: bytes, last: bool) -> None:
        ear = self.peer(slot)
        self.model.cant_do(ear.number, [name])
        self.mind.broker.cant_do(ear, name)
        self.done(last)

    @rule(slot=slots, last=st.booleans())
    def reset_abilities(self, slot: int, last: bool) -> None:
        ear = self.peer(slot)
        self.model.cant_do(ear.number, list(NAMES))
        self.mind.broker.reset_abilities(ear)
        self.done(last)

    @rule(slot=slots)
    def sleep(self, slot: int) -> None:
        ear = self.peer(slot)
        self.model.peers[ear.number].asleep = True
        work = self.model.work_for(ear.number)
        self.mind.broker.pre_sleep(ear)
        assert ear.said.count(("noop",)) == (1 if work else 0)
        self.done(True)

    @rule(slot=slots, often=st.integers(1, 4), last=st.booleans())
    def grab(self, slot: int, often: int, last: bool) -> None:
        ear, model = self.peer(slot), self.model
        for _ in range(often):
            model.peers[ear.number].asleep = False
            may = model.may_be_grabbed(ear.number)
            job = self.mind.broker.grab(ear)
            if job is None:
                assert not may, f"NO_JOB, although there are {may}"
                break
            assert job.handle in may, f"{job.handle!r} was given, and not one of {may}"
            twin = model.jobs[job.handle]
            assert (job.function.name, job.unique, job.workload, job.priority) == (
                twin.function, twin.unique, twin.workload, twin.priority,
            )  # fmt: skip
            worst = model.grab(ear.number, job.handle)
            if not model.strict_order:
                # Peers that are alone take turns each for itself.
                groups = 1 if self.alone_from > len(NAMES) else len(model.peers)
                assert worst < len(ear.abilities) * groups, "a function was not given its turn"
        self.done(last)

    @rule(slot=slots, choice=choices, kind=st.sampled_from([DATA, WARNING, STATUS]))
    def report(self, slot: int, choice: int, kind: int) -> None:
        ear = self.peer(slot)
        handle = self.running_of(ear, choice)
        data = b"%d\x0010" % choice if kind == STATUS else b"news\0"
        body, start = handle + b"\0" + data, len(handle) + 1
        known = self.model.report(ear.number, handle, kind, data)
        broker = self.mind.broker
        if kind == STATUS:
            assert broker.report_status(ear, handle, choice, 10, body, start) == known
        else:
            assert broker.report(ear, kind, handle, body, start) == known
        self.done(False)

    @rule(
        slot=slots, choice=choices, kind=st.sampled_from([COMPLETE, COMPLETE, FAIL, EXCEPTION]),
        twice=st.booleans(), last=st.booleans(),
    )  # fmt: skip
    def finish(self, slot: int, choice: int, kind: int, twice: bool, last: bool) -> None:
        ear = self.peer(slot)
        handle = self.running_of(ear, choice)
        body, start = handle + b"\0result", len(handle) + 1
        for one in (kind, FAIL) if twice else (kind,):
            known = self.model.finish(ear.number, handle, one, b"result")
            assert self.mind.broker.finish(ear, one, handle, body, start) == known
        self.done(last)

    @rule(slot=slots)
    def leave(self, slot: int) -> None:
        ear = self.slots[slot]
        if ear is None:
            return
        # What it was told while going it cannot hear.
        self.slots[slot] = None
        self.model.leave(ear.number)
        del self.ears[ear.number]
        self.mind.broker.leave(ear)
        self.done(True)

    # ── functions ────────────────────────────────────────────────────────────

    @rule(name=names, limits=st.tuples(*[st.integers(0, 3)] * 3))
    def limit(self, name: bytes, limits: tuple[int, int, int]) -> None:
        if self.model.make_function(name):
            self.model.functions[name] = list(limits)
        self.mind.broker.limit_function(name, *limits)
        self.done(True)

    @rule(name=names, create=st.booleans())
    def drop_or_create(self, name: bytes, create: bool) -> None:
        if create:
            self.model.make_function(name)
            self.mind.broker.create_function(name)
        else:
            wanted = self.model.drop_function(name)
            assert self.mind.broker.drop_function(name) == wanted
        self.done(True)

    # ── time ─────────────────────────────────────────────────────────────────

    @rule(
        seconds=st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 5.0]),
        jump=st.sampled_from([0, 0, 0, -60]),
    )
    def time_passes(self, seconds: float, jump: int) -> None:
        self.mind.steady += seconds
        self.mind.wall += seconds + jump
        self.model.pass_time(self.mind.wall, self.mind.steady)
        self.mind.broker.tick(self.mind.wall, self.mind.steady)
        self.done(True)

    @rule()
    def nothing_is_due_before_the_next_deadline(self) -> None:
        wait = self.mind.broker.next_deadline()
        dues = [job.when - self.mind.wall for job in self.model.jobs.values() if job.when]
        dues += [
            job.overdue - self.mind.steady
            for job in self.model.jobs.values()
            if job.overdue is not None
        ]
        assert not dues or 0.0 <= wait <= max(0.0, min(dues))

    @precondition(lambda self: self.model.accept_new_work)
    @rule(sure=st.integers(0, 9))
    def shut_down_gracefully(self, sure: int) -> None:
        if sure == 7:
            self.model.accept_new_work = False
            self.mind.rules.accept_new_work = False

    def teardown(self) -> None:
        """Everybody goes: nothing may be left but functions, and background jobs."""
        for slot in range(len(self.slots)):
            self.leave(slot)
        state = self.mind.broker.state
        assert not state.crews
        assert not state.peers
        assert all(job.background for job in state.jobs.values())
        for handle in list(state.jobs):
            assert self.mind.broker.cancel(handle)
        assert not state.jobs
        assert state.memory == 0
        assert not state.holders
        assert not state.namesakes
        check(state)
