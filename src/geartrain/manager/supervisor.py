"""The supervisor's mind: which process lives in which seat. Pure: events in, effects out.

Each group has *seats*, and each seat one process that works (and, while the code is
reloaded, a successor that has loaded and waits). The life of a process::

                 loaded            GO                       LEAVE
      LOADING ----------> WAITING ------> WORKING ---------------------> LEAVING
         |                   |               | QUIET                        |
         |                   |               v                              |
         '-------------------'--------->   (QUIET) ------------------------ '
                    LEAVE                                                   |  grace over
                                     exited, from anywhere: gone     KILLED <'

* Nobody is told to work while somebody else works in the same seat. So a function with
  one dedicated process has one also while the code is reloaded.
* A reload starts one successor first. Only if that one can load the new code do the
  others follow; if not, all stays as it was.
* A process that ends as agreed is replaced at once; one that crashes after a pause,
  which doubles as long as its successors crash too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from geartrain.manager.effects import (
    ERROR,
    GO,
    INFO,
    LEAVE,
    QUIET,
    WARNING,
    Effect,
    Finish,
    Kill,
    Say,
    Spawn,
    Tell,
)
from geartrain.manager.plan import COMMON, Group
from geartrain.manager.seats import (
    KILLED,
    LEAVING,
    LOADING,
    QUIETED,
    WAITING,
    WORKING,
    Child,
    Seat,
)

#: Exit status of a process that could not load its targets.
CANNOT_LOAD: Final = 78
#: A process that worked for so long is healthy: the next crash is its first.
HEALTHY_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 30.0


class Supervisor:
    """Keeps every seat taken.

    Call an event's method with the time, then carry out ``take_effects()``; call
    ``tick`` when ``next_deadline()`` has come.

    Args:
        groups: see ``plan.py``.
        grace: seconds that a process has to end after ``LEAVE``.
        load_timeout: seconds that it has to load.
        name: what the common processes are called in the log.
    """

    def __init__(
        self, groups: Sequence[Group], grace: float, load_timeout: float, name: str = "worker"
    ) -> None:
        self._name = name
        self._grace = grace
        self._load_timeout = load_timeout
        self._effects: list[Effect] = []
        self._seats = [Seat(group, n + 1) for group in groups for n in range(group.processes)]
        self._numbers = 0
        self._generation = 1
        #: A process of this generation has loaded: the code is good.
        self._proven = False
        self._ever_proven = False
        self._finished = False
        self._status = 0
        #: How many have crashed, from the beginning.
        self.crashes = 0
        self.stopping = False
        self.quiet = False
        #: Processes with old code are being replaced.
        self.renewing = False

    # ── what happens ─────────────────────────────────────────────────────────

    def start(self, now: float) -> None:
        """Begin."""
        self._settle(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for seat in self._seats:
            for child in seat.children():
                if child.deadline is not None and child.deadline <= now:
                    late = "load" if child.state == LOADING else "end"
                    self._say(ERROR, f"{self.name_of(seat)} did not {late} in time, and is killed")
                    self._kill(child, now)
        self._settle(now)

    def loaded(self, number: int, now: float) -> None:
        """A process has loaded its targets, and waits for ``GO``."""
        found = self._find(number)
        if found is None:
            return
        seat, child = found
        if child.state != LOADING:
            return
        child.moves(WAITING, now)
        if child.generation == self._generation:
            self._proven = self._ever_proven = True
        if child is seat.successor and seat.child is not None:
            self._leave(seat.child, now)
        self._settle(now)

    def exited(self, number: int, code: int, reason: str, now: float, chance: float) -> None:
        """A process has gone.

        Args:
            code: exit status, or the negative number of the signal that ended it.
            reason: what it said, if it could not load.
            chance: uniform in [0, 1), for the length of a pause.
        """
        found = self._find(number)
        if found is None:
            return
        seat, child = found
        if child is seat.child:
            seat.child, seat.successor = seat.successor, None
        else:
            seat.successor = None
        if self.stopping or child.told or (child.state in (WORKING, QUIETED) and code == 0):
            pass
        elif code == CANNOT_LOAD and not self._ever_proven:
            self._say(ERROR, reason)
            self._status = 1
            self._stop(now)
        elif self.renewing and not self._proven and child.generation == self._generation:
            self._say(
                ERROR, f"the new code cannot be loaded, the old one works on: {reason or code}"
            )
            self.renewing = False
            if seat.child is None:
                self._pause(seat, now, chance)
        else:
            self._crashed(seat, child, code, reason, now, chance)
        self._settle(now)

    def stop(self, now: float) -> None:
        """TERM or INT: let everybody finish; the second time, do not."""
        if self._finished:
            return
        if not self.stopping:
            self._say(INFO, f"stopping: jobs that run have {self._grace:g} seconds to end")
            self._stop(now)
        else:
            self._say(WARNING, "stopping at once: jobs that run go to other workers")
            for seat in self._seats:
                for child in seat.children():
                    self._kill(child, now)
        self._settle(now)

    def reload(self, groups: Sequence[Group], now: float) -> None:
        """HUP: the same seats with new code, as many as the groups say."""
        if self.stopping:
            return
        self._say(INFO, "reloading")
        self.quiet = False
        self._generation += 1
        self.renewing = True
        self._proven = False
        self._arrange(groups)
        for seat in self._seats:
            seat.failures = 0
            seat.due = now
            # A successor of the generation before has code that is no longer new.
            if seat.successor is not None:
                self._leave(seat.successor, now)
            if seat.retired and seat.child is not None:
                self._leave(seat.child, now)
        self._settle(now)

    def more(self, now: float) -> None:
        """TTIN: one common process more."""
        seats = self._common()
        if self.stopping:
            return
        if not seats:
            self._say(WARNING, "every process is dedicated: there is no common one to add to")
            return
        number = seats[-1].number + 1
        for seat in self._seats:
            if seat.group.name == COMMON and seat.number == number:
                seat.retired = False  # who was told to leave is still here
                break
        else:
            seat = Seat(seats[0].group, number)
            self._seats.append(seat)
        self._say(INFO, f"one process more: {self.name_of(seat)}")
        self._settle(now)

    def fewer(self, now: float) -> None:
        """TTOU: one common process less."""
        seats = self._common()
        if self.stopping:
            return
        if len(seats) < 2:
            self._say(WARNING, "the last common process stays; to stop altogether, send TERM")
            return
        seat = seats[-1]
        self._say(INFO, f"one process less: {self.name_of(seat)}")
        seat.retired = True
        for child in seat.children():
            self._leave(child, now)
        self._settle(now)

    def hush(self, now: float) -> None:
        """USR1: take no more jobs, and stay. TERM ends it, HUP begins anew."""
        if self.stopping or self.quiet:
            return
        self._say(INFO, "quiet: no more jobs are taken")
        self.quiet = True
        self.renewing = False
        for seat in self._seats:
            if seat.child is not None and seat.child.state == WORKING:
                seat.child.moves(QUIETED, now)
                self._effects.append(Tell(seat.child.number, QUIET))
        self._settle(now)

    # ── what follows ─────────────────────────────────────────────────────────

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order; each effect is given once."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When ``tick`` is due; None: not before something happens."""
        times = [
            child.deadline
            for seat in self._seats
            for child in seat.children()
            if child.deadline is not None
        ]
        if not self.stopping and not self.quiet:
            times += [seat.due for seat in self._seats if seat.child is None and not seat.retired]
            times += [seat.due for seat in self._seats if self._wants_successor(seat)]
        return min(times, default=None)

    @property
    def seats(self) -> Sequence[Seat]:
        """All seats, to look at."""
        return self._seats

    def name_of(self, seat: Seat) -> str:
        """As people read it: ``images/3``, ``invoice/1``."""
        common = seat.group.name == COMMON
        return f"{self._name if common else seat.group.name}/{seat.number}"

    # ── inside ───────────────────────────────────────────────────────────────

    def _settle(self, now: float) -> None:
        """Do whatever has become possible."""
        self._seats = [
            seat for seat in self._seats if not (seat.retired and not any(seat.children()))
        ]
        for seat in self._seats:
            child = seat.child
            if child is not None and child.state == WAITING and not self.quiet:
                child.moves(WORKING, now)
                self._effects.append(Tell(child.number, GO))
        if self.stopping:
            if not self._seats_taken() and not self._finished:
                self._finished = True
                self._effects.append(Finish(self._status))
            return
        if self.quiet:
            return
        for seat in self._seats:
            if seat.child is None and not seat.retired and seat.due <= now:
                seat.child = self._spawn(seat, now)
        for seat in self._seats:
            if self._wants_successor(seat) and seat.due <= now:
                seat.successor = self._spawn(seat, now)
        if self.renewing and not any(self._is_old(seat) for seat in self._seats):
            self.renewing = False
            self._say(INFO, "reloaded")

    def _is_old(self, seat: Seat) -> bool:
        return not seat.retired and any(
            child.generation < self._generation for child in seat.children()
        )

    def _wants_successor(self, seat: Seat) -> bool:
        """Whether a reload is to start one here now."""
        if not self.renewing or seat.successor is not None or seat.child is None:
            return False
        if seat.retired or seat.child.generation == self._generation:
            return False
        if self._proven:
            return True
        # One goes first: if it cannot load the new code, nothing has been lost.
        return not any(
            child.generation == self._generation and child.state == LOADING
            for other in self._seats
            for child in other.children()
        )

    def _spawn(self, seat: Seat, now: float) -> Child:
        self._numbers += 1
        child = Child(self._numbers, self._generation, now, now + self._load_timeout)
        self._effects.append(Spawn(child.number, seat.group.name, seat.number))
        return child

    def _leave(self, child: Child, now: float) -> None:
        if child.state not in (LEAVING, KILLED):
            child.moves(LEAVING, now, now + self._grace)
            child.told = True
            self._effects.append(Tell(child.number, LEAVE))

    def _kill(self, child: Child, now: float) -> None:
        if child.state != KILLED:
            child.moves(KILLED, now)
            self._effects.append(Kill(child.number))

    def _stop(self, now: float) -> None:
        self.stopping = True
        for seat in self._seats:
            for child in seat.children():
                self._leave(child, now)

    def _crashed(
        self, seat: Seat, child: Child, code: int, reason: str, now: float, chance: float
    ) -> None:
        self.crashes += 1
        if child.state in (WORKING, QUIETED) and now - child.since >= HEALTHY_SECONDS:
            seat.failures = 0
        pause = self._pause(seat, now, chance)
        what = reason or (f"exit status {code}" if code >= 0 else f"signal {-code}")
        self._say(
            ERROR, f"{self.name_of(seat)} has gone: {what}; another one follows in {pause:.1f} s"
        )

    def _pause(self, seat: Seat, now: float, chance: float) -> float:
        seat.failures += 1
        whole = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(seat.failures - 1, 20))
        pause = whole * (0.5 + chance / 2)
        seat.due = now + pause
        return pause

    def _arrange(self, groups: Sequence[Group]) -> None:
        """Make the seats those of new groups; seats that go are retired."""
        wanted = {(group.name, n + 1): group for group in groups for n in range(group.processes)}
        for seat in self._seats:
            group = wanted.pop((seat.group.name, seat.number), None)
            seat.retired = group is None
            if group is not None:
                # Who was told to leave cannot be called back; somebody else
                # takes the seat, but not before.
                seat.group = group
        self._seats += [Seat(group, number) for (_, number), group in wanted.items()]

    def _common(self) -> list[Seat]:
        found = [s for s in self._seats if s.group.name == COMMON and not s.retired]
        return sorted(found, key=lambda seat: seat.number)

    def _seats_taken(self) -> bool:
        return any(any(seat.children()) for seat in self._seats)

    def _find(self, number: int) -> tuple[Seat, Child] | None:
        for seat in self._seats:
            for child in seat.children():
                if child.number == number:
                    return seat, child
        return None

    def _say(self, level: str, text: str) -> None:
        self._effects.append(Say(level, text))
