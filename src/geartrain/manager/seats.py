"""Seats, and the processes that take them: plain records, which ``supervisor.py`` moves about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from geartrain.manager.plan import Group

#: The states of a process; the drawing in ``supervisor.py`` shows how it comes from one to
#: the other.
LOADING: Final = "loading"
WAITING: Final = "waiting"
WORKING: Final = "working"
QUIETED: Final = "quiet"
LEAVING: Final = "leaving"
KILLED: Final = "killed"


class Child:
    """One process.

    Attributes:
        number: ours, not the system's.
        generation: of the code that it loads.
        since: when it came into its state.
        deadline: when it is killed, if it has not moved on; None: never.
        told: it was told to leave; its end is no surprise.
    """

    def __init__(self, number: int, generation: int, now: float, deadline: float) -> None:
        self.number = number
        self.generation = generation
        self.state = LOADING
        self.since = now
        self.deadline: float | None = deadline
        self.told = False

    def moves(self, state: str, now: float, deadline: float | None = None) -> None:
        """Come into another state."""
        self.state = state
        self.since = now
        self.deadline = deadline


class Seat:
    """A place for one working process.

    Attributes:
        child: who works here, or will next.
        successor: who loads new code meanwhile.
        retired: nobody shall come after the one who is here.
        failures: crashes in a row.
        due: no process is started before.
    """

    def __init__(self, group: Group, number: int) -> None:
        self.group = group
        self.number = number
        self.child: Child | None = None
        self.successor: Child | None = None
        self.retired = False
        self.failures = 0
        self.due = 0.0

    def children(self) -> Iterator[Child]:
        """Who is here."""
        if self.child is not None:
            yield self.child
        if self.successor is not None:
            yield self.successor
