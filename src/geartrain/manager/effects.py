"""What the supervisor wants done. Plain values, carried out by ``manager.py`` in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

#: What a child can be told.
GO: Final = "go"  # load is done, nobody is in your seat: begin to work
LEAVE: Final = "leave"  # finish the jobs that run, then end
QUIET: Final = "quiet"  # finish the jobs that run, then wait

DEBUG: Final = "debug"
INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process; it loads its targets and then waits for ``GO``.

    Attributes:
        number: how the supervisor calls it from now on; never used twice.
        group: whose functions it offers.
        seat: its place in the group, from 1.
    """

    number: int
    group: str
    seat: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a process ``GO``, ``LEAVE`` or ``QUIET``."""

    number: int
    word: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End a process at once: SIGKILL. Servers give its jobs to other workers."""

    number: int


@dataclass(frozen=True, slots=True)
class Say:
    """Something for the log."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left: end with this exit status."""

    status: int


Effect: TypeAlias = Spawn | Tell | Kill | Say | Finish
