"""A supervisor, and a world that does what it says: processes that load, work, crash, obey."""

from __future__ import annotations

from collections.abc import Sequence

from geartrain.manager.effects import GO, LEAVE, QUIET, Finish, Kill, Say, Spawn, Tell
from geartrain.manager.plan import Group
from geartrain.manager.supervisor import CANNOT_LOAD, Supervisor

GRACE = 30.0
LOAD_TIMEOUT = 60.0


class World:
    """Plays all processes, and checks on the way what must never happen.

    Attributes:
        alive: ``{number: (group, seat)}`` of the processes there are.
        loaded, working, told, killed: numbers of processes.
        said: every line of the log.
        finished: the exit status, once there is one.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.now = 1000.0
        self.mind = Supervisor(groups, GRACE, LOAD_TIMEOUT)
        self.alive: dict[int, tuple[str, int]] = {}
        self.began: dict[int, float] = {}
        self.loaded: set[int] = set()
        self.working: set[int] = set()
        self.told: dict[int, float] = {}
        self.quiet: set[int] = set()
        self.killed: set[int] = set()
        self.said: list[str] = []
        self.spawned: list[int] = []
        self.finished: int | None = None
        self.mind.start(self.now)
        self.obey()

    # ── the supervisor's words ───────────────────────────────────────────────

    def obey(self) -> None:
        """Carry out what it wants."""
        for effect in self.mind.take_effects():
            assert self.finished is None, f"{effect} after the end"
            if isinstance(effect, Spawn):
                assert effect.number not in self.spawned
                assert not self.mind.stopping
                assert not self.mind.quiet
                self.spawned.append(effect.number)
                self.alive[effect.number] = effect.group, effect.seat
                self.began[effect.number] = self.now
            elif isinstance(effect, Tell):
                self._told(effect)
            elif isinstance(effect, Kill):
                assert effect.number in self.alive
                self.killed.add(effect.number)
            elif isinstance(effect, Say):
                self.said.append(effect.text)
            else:
                assert isinstance(effect, Finish)
                assert not self.alive
                self.finished = effect.status

    def _told(self, effect: Tell) -> None:
        number = effect.number
        assert number in self.alive
        if effect.word == GO:
            assert number in self.loaded
            assert number not in self.told
            seat = self.alive[number]
            others = [n for n in self.alive if n in self.working and self.alive[n] == seat]
            assert not others, f"two processes work in {seat}"
            self.working.add(number)
        elif effect.word == LEAVE:
            assert number not in self.told
            self.told[number] = self.now
        else:
            assert effect.word == QUIET
            assert number in self.working
            self.quiet.add(number)

    # ── what happens to it ───────────────────────────────────────────────────

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.mind.tick(self.now)
        self.obey()

    def load(self, *numbers: int) -> None:
        for number in numbers:
            self.loaded.add(number)
            self.mind.loaded(number, self.now)
            self.obey()

    def exit(self, number: int, code: int = 0, reason: str = "", chance: float = 1.0) -> None:
        del self.alive[number]
        self.working.discard(number)
        self.mind.exited(number, code, reason, self.now, chance)
        self.obey()

    def cannot_load(self, number: int) -> None:
        self.exit(number, CANNOT_LOAD, "no module named 'imagess'")

    def stop(self) -> None:
        self.mind.stop(self.now)
        self.obey()

    def reload(self, groups: Sequence[Group]) -> None:
        self.mind.reload(groups, self.now)
        self.obey()

    def more(self) -> None:
        self.mind.more(self.now)
        self.obey()

    def fewer(self) -> None:
        self.mind.fewer(self.now)
        self.obey()

    def hush(self) -> None:
        self.mind.hush(self.now)
        self.obey()

    # ── looking ──────────────────────────────────────────────────────────────

    @property
    def waiting(self) -> list[int]:
        """Alive, and neither told to leave nor loaded yet."""
        return [n for n in self.alive if n not in self.loaded and n not in self.told]

    @property
    def seats_working(self) -> list[tuple[str, int]]:
        return sorted(self.alive[n] for n in self.working if n not in self.told)
