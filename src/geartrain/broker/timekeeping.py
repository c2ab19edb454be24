"""Time passes: epoch jobs, time limits, workers that were woken and do not stir.

Two clocks, because an administrator may set one of them back: epoch jobs follow
the wall, everything else a clock that never jumps.

Source: protocol reference, 2.5, 2.11 and 2.12.
"""

from __future__ import annotations

from geartrain.broker import fencing
from geartrain.broker.dispatch import serve_grabbers
from geartrain.broker.paging import follow
from geartrain.broker.policies import TIMEOUT
from geartrain.broker.retrying import lose
from geartrain.broker.state import State
from geartrain.broker.tables import Job
from geartrain.broker.waking import pass_over


def tick(state: State, wall: float, steady: float) -> None:
    """Let time pass. What is due happens now, in the order in which it was due.

    Args:
        wall: seconds since 1970.
        steady: seconds of a clock that never jumps.
    """
    state.wall = wall
    state.steady = steady
    if steady >= state.later_due:
        state.hurry()
    if steady >= state.tenure:
        fencing.fence(state)
    if state.epochs.heap:
        while True:
            due = state.epochs.ring(wall)
            if due is None:
                break
            assert isinstance(due, Job)
            due.limit = None
            due.function.delayed -= 1
            follow(state, due)
    if state.limits.heap:
        while True:
            over = state.limits.ring(steady)
            if over is None:
                break
            assert isinstance(over, Job)
            over.limit = None
            _time_is_up(state, over)
    if state.grabbers and state.grabbers[0].due <= steady:
        serve_grabbers(state, False)
    if state.roused.head < len(state.roused.dues):
        while True:
            late = state.roused.late(steady)
            if late is None:
                break
            pass_over(state, late)


def _time_is_up(state: State, job: Job) -> None:
    state.counters.timed_out += 1
    lose(state, job, TIMEOUT)


def next_deadline(state: State) -> float:
    """Seconds until something is due, 0.0 if it is already, -1.0 when nothing is."""
    soonest = -1.0
    epoch = state.epochs.next_due()
    if epoch >= 0.0:
        soonest = max(0.0, epoch - state.wall)
    limit = state.limits.next_due()
    if limit >= 0.0:
        left = max(0.0, limit - state.steady)
        if soonest < 0.0 or left < soonest:
            soonest = left
    roused = state.roused.next_due()
    if roused >= 0.0:
        left = max(0.0, roused - state.steady)
        if soonest < 0.0 or left < soonest:
            soonest = left
    if state.later:
        left = max(0.0, state.later_due - state.steady)
        if soonest < 0.0 or left < soonest:
            soonest = left
    if state.throttled:
        left = max(0.0, state.throttled_until[0] - state.steady)
        if soonest < 0.0 or left < soonest:
            soonest = left
    if state.grabbers:
        left = max(0.0, state.grabbers[0].due - state.steady)
        if soonest < 0.0 or left < soonest:
            soonest = left
    return soonest
