"""The supervisor's mind, without a process."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from geartrain.manager.plan import COMMON, Group
from geartrain.manager.supervisor import HEALTHY_SECONDS, LONGEST_PAUSE_SECONDS
from tests.manager.story import GRACE, LOAD_TIMEOUT, World

TWO = (Group(COMMON, 2),)
MIXED = (Group(COMMON, 2), Group("invoice", 1, only="invoice"))


@pytest.fixture
def world() -> World:
    """Two processes that work."""
    world = World(TWO)
    world.load(1, 2)
    return world


def test_every_seat_gets_a_process_and_works_once_it_has_loaded() -> None:
    world = World(MIXED)

    assert sorted(world.alive.values()) == [(COMMON, 1), (COMMON, 2), ("invoice", 1)]
    assert world.seats_working == []

    world.load(1, 2, 3)

    assert world.seats_working == [(COMMON, 1), (COMMON, 2), ("invoice", 1)]


def test_a_process_that_ends_as_agreed_is_replaced_at_once(world: World) -> None:
    world.exit(1, 0)

    assert world.alive == {2: (COMMON, 2), 3: (COMMON, 1)}
    assert world.said == []


def test_a_crash_is_followed_by_a_pause_that_doubles_while_the_successors_crash_too(
    world: World,
) -> None:
    pauses = []
    number = 1
    for _ in range(12):
        world.exit(number, -11, chance=1.0)
        due = world.mind.next_deadline()
        assert due is not None
        pauses.append(due - world.now)
        world.pass_time(due - world.now)
        number = max(world.alive)
        world.load(number)

    assert pauses[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert "signal 11" in world.said[0]


def test_a_process_that_was_healthy_for_long_crashes_for_the_first_time_again(world: World) -> None:
    world.exit(1, 1)
    world.pass_time(0.2)
    world.load(3)
    world.pass_time(HEALTHY_SECONDS)

    world.exit(3, 1)

    assert "0.2 s" in world.said[-1]


def test_a_target_that_cannot_be_loaded_at_the_start_ends_everything_with_its_reason() -> None:
    world = World(TWO)

    world.cannot_load(2)

    assert world.said == ["no module named 'imagess'"]
    assert list(world.told) == [1]
    world.exit(1)
    assert world.finished == 1


def test_a_process_that_does_not_load_in_time_is_killed_and_replaced() -> None:
    world = World(TWO)
    world.load(1)

    world.pass_time(LOAD_TIMEOUT)

    assert world.killed == {2}
    world.exit(2, -9)
    world.pass_time(1.0)
    assert 3 in world.alive


def test_stopping_waits_for_the_grace_and_then_kills(world: World) -> None:
    world.stop()

    assert set(world.told) == {1, 2}
    world.exit(1)
    world.pass_time(GRACE - 0.1)
    assert not world.killed
    world.pass_time(0.1)
    assert world.killed == {2}
    world.exit(2, -9)
    assert world.finished == 0


def test_the_second_signal_does_not_wait(world: World) -> None:
    world.stop()
    world.stop()

    assert world.killed == {1, 2}


def test_a_reload_tries_the_new_code_in_one_process_first(world: World) -> None:
    world.reload(TWO)

    assert world.waiting == [3]
    assert not world.told

    world.load(3)

    assert list(world.told) == [1]
    assert world.waiting == [4]
    world.exit(1)
    world.load(4)
    world.exit(2)
    assert world.working == {3, 4}
    assert world.said[-1] == "reloaded"


def test_code_that_cannot_be_loaded_leaves_the_old_one_at_work(world: World) -> None:
    world.reload(TWO)

    world.cannot_load(3)

    assert world.working == {1, 2}
    assert not world.told
    assert not world.waiting
    assert "the old one works on: no module" in world.said[-1]
    assert world.mind.next_deadline() is None


def test_a_successor_waits_while_its_predecessor_finishes_its_job(world: World) -> None:
    world.reload(TWO)
    world.load(3)

    assert 3 not in world.working
    world.pass_time(GRACE / 2)
    assert 3 not in world.working

    world.exit(1)

    assert 3 in world.working


def test_a_second_reload_during_the_first_wins(world: World) -> None:
    world.reload(TWO)
    world.reload(TWO)

    assert list(world.told) == [3]
    world.exit(3)
    assert world.waiting == [4]
    world.load(4)
    world.load(*world.waiting)
    world.exit(1)
    world.exit(2)
    assert len(world.seats_working) == 2


def test_a_reload_takes_the_numbers_of_the_new_configuration(world: World) -> None:
    world.reload((Group(COMMON, 1), Group("invoice", 2, only="invoice")))
    world.load(*world.waiting)
    world.exit(1)
    world.exit(2)
    world.load(*world.waiting)

    assert world.seats_working == [(COMMON, 1), ("invoice", 1), ("invoice", 2)]


def test_one_process_more_and_one_less(world: World) -> None:
    world.more()
    world.load(3)
    assert world.seats_working == [(COMMON, 1), (COMMON, 2), (COMMON, 3)]

    world.fewer()
    assert list(world.told) == [3]
    world.exit(3)
    assert world.seats_working == [(COMMON, 1), (COMMON, 2)]


def test_the_last_common_process_stays(world: World) -> None:
    world.fewer()
    world.exit(2)

    world.fewer()

    assert world.seats_working == [(COMMON, 1)]
    assert "to stop altogether, send TERM" in world.said[-1]


def test_one_more_before_the_one_less_has_gone_waits_for_the_seat(world: World) -> None:
    world.fewer()
    world.more()

    assert list(world.alive) == [1, 2]
    world.exit(2)
    assert world.alive[3] == (COMMON, 2)


def test_quiet_processes_stay_and_are_not_replaced_until_a_reload(world: World) -> None:
    world.hush()
    assert world.quiet == {1, 2}
    world.exit(1)
    world.pass_time(100)
    assert list(world.alive) == [2]

    world.reload(TWO)
    world.load(*world.waiting)
    world.load(*world.waiting)
    world.exit(2)

    assert world.seats_working == [(COMMON, 1), (COMMON, 2)]


def test_a_process_that_loads_while_all_are_quiet_does_not_begin(world: World) -> None:
    world.exit(1)
    world.hush()

    world.load(3)

    assert world.working == {2}


def test_an_old_process_that_crashes_during_a_bad_reload_is_tried_again_with_pauses(
    world: World,
) -> None:
    world.reload(TWO)
    world.exit(1, 1)
    world.cannot_load(3)

    assert not world.waiting
    for _ in range(5):
        due = world.mind.next_deadline()
        assert due is not None
        assert due > world.now
        world.pass_time(due - world.now)
        world.cannot_load(world.waiting[0])


class Lifetime(RuleBasedStateMachine):
    """Processes load, crash, obey or do not; people press every button; time passes."""

    @initialize(groups=st.sampled_from([TWO, MIXED, (Group("invoice", 1, only="invoice"),)]))
    def begin(self, groups: tuple[Group, ...]) -> None:
        self.groups = groups
        self.world = World(groups)

    def one(self, data: st.DataObject, numbers: list[int]) -> int:
        return data.draw(st.sampled_from(sorted(numbers)))

    @precondition(lambda self: self.world.waiting)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        self.world.load(self.one(data, self.world.waiting))

    @precondition(lambda self: self.world.waiting)
    @rule(data=st.data())
    def cannot_load(self, data: st.DataObject) -> None:
        self.world.cannot_load(self.one(data, self.world.waiting))

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), code=st.sampled_from([0, 1, -9, -11]), chance=st.floats(0, 0.99))
    def exit(self, data: st.DataObject, code: int, chance: float) -> None:
        self.world.exit(self.one(data, list(self.world.alive)), code, chance=chance)

    @precondition(lambda self: set(self.world.told) & self.world.alive.keys())
    @rule(data=st.data())
    def obey(self, data: st.DataObject) -> None:
        self.world.exit(self.one(data, list(set(self.world.told) & self.world.alive.keys())))

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 10.0, 31.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(groups=st.sampled_from([TWO, MIXED]))
    def reload(self, groups: tuple[Group, ...]) -> None:
        if not self.world.mind.stopping:
            self.groups = groups
        self.world.reload(groups)

    @rule()
    def more(self) -> None:
        self.world.more()

    @rule()
    def fewer(self) -> None:
        self.world.fewer()

    @rule()
    def hush(self) -> None:
        self.world.hush()

    @rule(odds=st.integers(0, 5))
    def stop(self, odds: int) -> None:
        if not odds:
            self.world.stop()

    @invariant()
    def nobody_outstays_the_grace(self) -> None:
        world = self.world
        for number, told in world.told.items():
            if number in world.alive and number not in world.killed:
                assert world.now - told < GRACE

    @invariant()
    def nobody_loads_for_ever(self) -> None:
        world = self.world
        for number in world.waiting:
            assert number in world.killed or world.now - world.began[number] < LOAD_TIMEOUT

    @invariant()
    def the_next_deadline_lies_ahead(self) -> None:
        due = self.world.mind.next_deadline()
        assert due is None or due > self.world.now or self.world.finished is not None

    @invariant()
    def no_seat_has_more_than_a_process_and_its_successor(self) -> None:
        seats = list(self.world.alive.values())
        assert all(seats.count(seat) <= 2 for seat in seats)

    def teardown(self) -> None:
        """When all obey, all seats are taken; and when it is told to stop, it ends."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if not world.mind.stopping:
            world.reload(self.groups)
            for _ in range(70):
                world.load(*world.waiting)
                for number in [n for n in world.alive if n in world.told or n in world.killed]:
                    world.exit(number, -9 if number in world.killed else 0)
                world.pass_time(1.0)
            wanted = [(g.name, n + 1) for g in self.groups for n in range(g.processes)]
            assert world.seats_working == sorted(wanted)
            world.stop()
        for number in list(world.alive):
            world.exit(number)
        assert world.finished is not None
        assert world.mind.next_deadline() is None


TestLifetime = Lifetime.TestCase
