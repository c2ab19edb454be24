"""What must hold between any two calls of the broker, in plain code.

``check(state)`` counts everything again the slow way and compares. Tests call it
after each step; it costs as much as there is, so a server does not.

In the middle of a turn a sleeper whose abilities have changed may still be without
a crew (``state.restless``); ``end_turn`` sees to it. All else holds always.
"""

from __future__ import annotations

from collections.abc import Iterator

from geartrain.broker.crew_invariants import crew_faults
from geartrain.broker.job_invariants import job_faults
from geartrain.broker.state import State


class BrokenInvariant(AssertionError):
    """The broker's tables contradict each other; the text lists how."""


def check(state: State) -> None:
    """Look at everything.

    Raises:
        BrokenInvariant: something does not agree.
    """
    found = list(faults(state))
    if found:
        raise BrokenInvariant("\n".join(found))


def faults(state: State) -> Iterator[str]:
    """Everything that does not agree, a sentence each."""
    yield from job_faults(state)
    yield from crew_faults(state)
