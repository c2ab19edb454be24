"""Which processes there shall be, and what each of them offers. Pure.

A *group* is a number of processes that offer the same functions: one for each
dedicated function, and the *common* one for all the rest. A function with a number but
not dedicated is offered by so many of the common processes and no more; so one seat
of them may offer less than the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from geartrain.errors import ConfigurationError

#: Name of the group of all that is not dedicated. No function is called so by people.
COMMON: Final = "*"


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """``[function.NAME]`` of the configuration.

    Attributes:
        processes: how many offer it; 0: all of the common ones, or one dedicated.
        dedicated: they do nothing else, and nobody else does it.
    """

    processes: int = 0
    dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Processes that belong together.

    Attributes:
        name: ``*`` (the common one), or the dedicated function.
        processes: how many.
        only: the one function they offer; empty: all.
        exclude: functions that none of them offers.
        capped: ``{function: (first, count)}``: offered by ``count`` seats alone,
            beginning with seat ``first`` (from 0) and going around.
    """

    name: str
    processes: int
    only: str = ""
    exclude: frozenset[str] = frozenset()
    capped: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def withheld(self, seat: int) -> frozenset[str]:
        """Functions that this seat (from 1) does not offer.

        Seats beyond ``processes`` (added while running) offer nothing capped.
        """
        held = set(self.exclude)
        for function, (first, count) in self.capped.items():
            if seat > self.processes or (seat - 1 - first) % self.processes >= count:
                held.add(function)
        return frozenset(held)


def plan(processes: int, functions: Mapping[str, FunctionPlan]) -> tuple[Group, ...]:
    """The groups, the common one first; it is left out where it would have no process.

    Args:
        processes: of the common group; 0 if every function is dedicated.

    Raises:
        ConfigurationError: a function wants more processes than there are.
    """
    dedicated = {name: one for name, one in functions.items() if one.dedicated}
    capped: dict[str, tuple[int, int]] = {}
    first = 0
    for name, one in functions.items():
        if one.dedicated or not one.processes:
            continue
        if one.processes > processes:
            raise ConfigurationError(
                f"function.{name}.processes = {one.processes}, but there are {processes} processes "
                f"to choose from; raise worker.processes, or set function.{name}.dedicated = true"
            )
        # One after another, so that not all of them fall to the first seats.
        capped[name] = (first % processes, one.processes)
        first += one.processes
    groups = []
    if processes:
        groups.append(Group(COMMON, processes, exclude=frozenset(dedicated), capped=capped))
    for name, one in dedicated.items():
        groups.append(Group(name, one.processes or 1, only=name))
    if not groups:
        raise ConfigurationError("no processes: set worker.processes to 1 or more")
    return tuple(groups)
