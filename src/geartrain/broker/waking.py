"""Workers fall asleep and are woken.

The promise: as long as a job waits in a function, at least one worker that can do
it is awake, or was woken for it and has not answered yet, or none is asleep. One
job wakes ``worker_wakeup`` sleepers, not all of them; a woken worker hands the duty
on when it grabs something else, goes back to sleep, leaves, or does nothing for
``wakeup_seconds``.

Source: protocol reference, 2.5; why it is cheap is told at the head of ``tables``.
"""

from __future__ import annotations

from geartrain.broker.state import State
from geartrain.broker.tables import HOPE, Crew, Function, Peer


def wake(state: State, function: Function) -> None:
    """Wake as many sleepers as the jobs that wait in this function call for."""
    each = state.rules.worker_wakeup
    while each == 0 or function.roused < function.queued * each:
        peer = _next_sleeper(function)
        if peer is None:
            return
        rouse(state, peer, function)


def _next_sleeper(function: Function) -> Peer | None:
    hopeful = function.hopeful
    while hopeful:
        turn = function.turn
        if turn >= len(hopeful):
            turn = 0
        crew = hopeful[turn]
        held = crew.retired.get(function, -1) if crew.retired else -1
        peer = crew.sleepers.pop() if held < 0 else None
        if peer is not None:
            # The next job wakes somebody of the next crew.
            function.turn = turn + 1
            return peer
        # Nobody asleep here: the crew tells us when that changes.
        last = hopeful.pop()
        if turn < len(hopeful):
            hopeful[turn] = last
        function.turn = turn
        if held < 0:
            crew.hopeless.append(function)
        else:
            crew.retired[function] = held & ~HOPE
    return None


def rouse(state: State, peer: Peer, function: Function) -> None:
    """Tell a worker that there is work in this function."""
    peer.roused_for = function
    function.roused += 1
    peer.rousals += 1
    if state.rules.wakeup_seconds > 0.0:
        state.roused.push(peer, state.steady + state.rules.wakeup_seconds)
    state.counters.wakeups += 1
    peer.noop()


def pass_over(state: State, peer: Peer) -> None:
    """A woken worker has not answered: somebody else's turn."""
    function = peer.roused_for
    if function is None:
        return
    peer.roused_for = None
    function.roused -= 1
    if function.queued > function.roused:
        wake(state, function)


def lie_down(peer: Peer, crew: Crew) -> None:
    """Count this peer among the sleepers of its crew."""
    if crew.sleepers.live == 0 and crew.hopeless:
        for function in crew.hopeless:
            function.hopeful.append(crew)
        crew.hopeless.clear()
    crew.sleepers.push(peer)


def rest(state: State, peer: Peer) -> Function | None:
    """End what sleep or a wake-up began; the function it was woken for, if any."""
    if peer.asleep:
        crew = peer.crew
        if crew is not None:
            crew.sleepers.leave(peer)
        else:
            peer.asleep = False
    was_for = peer.roused_for
    if was_for is not None:
        was_for.roused -= 1
        peer.roused_for = None
    return was_for
