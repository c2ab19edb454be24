"""Jobs and workers find each other: a job lines up, a worker asks, sleeps, learns.

Which job is the best for a worker is decided in ``crews``; whom a job wakes, in
``waking``.

Source: protocol reference, 2.4 and 2.5.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.crews import (
    add_function,
    call_back,
    leave_crew,
    may_change_alone,
    peek,
    settle,
    take,
)
from geartrain.broker.state import State
from geartrain.broker.tables import KEPT, QUEUED, RUNNING, STORING, Function, Job, Peer
from geartrain.broker.waking import lie_down, rest, rouse, wake
from geartrain.broker.windows import expects, look, look_all
from geartrain.broker.wishes import Grabber
from geartrain.terms import HIGH

#: A worker waits so long for a job that is on its way, before it hears NO_JOB.
HELD_SECONDS: Final = 5.0

# ── a job lines up ───────────────────────────────────────────────────────────


def enqueue(state: State, job: Job) -> None:
    """Put a job at the end of its line, and wake who should do it."""
    function = job.function
    job.state = QUEUED
    priority = job.priority
    function.line(priority).push(job)
    function.queued += 1
    tails = function.tails
    if tails is not None:
        tails[priority].bytes += len(job.workload)
    if state.rules.strict_order:
        priority = HIGH
    parked = function.parked(priority)
    if parked:
        for crew in parked:
            call_back(state, crew, function, priority)
        parked.clear()
    if function.hopeful:
        wake(state, function)
    if state.grabbers:
        state.fresh = True


def line_up(state: State, job: Job) -> None:
    """As ``enqueue``, for a job that may be stored: while we may not do those, it stands aside."""
    if state.fenced and job.kept == KEPT:
        job.state = STORING
        job.function.storing += 1
        state.aside.append(job)
        return
    enqueue(state, job)


# ── a worker asks ────────────────────────────────────────────────────────────


def grab(state: State, peer: Peer) -> Job | None:
    """Give this worker the best job it can do; None when there is none."""
    was_for = rest(state, peer)
    if peer.restless:
        settle(state, peer)
    crew = peer.crew
    job = take(state, crew) if crew is not None else None
    if job is not None:
        job.state = RUNNING
        job.worker = peer
        job.started = state.steady
        function = job.function
        function.running += 1
        tails = function.tails
        if tails is not None:
            tail = tails[job.priority]
            tail.bytes -= len(job.workload)
            tail.taken += 1
            if tail.ready:
                look(state, tail)
        peer.running[job.handle] = job
        seconds = peer.abilities[function.name]
        if seconds > 0.0:
            job.limit = state.limits.set(state.steady + seconds, job)
        state.counters.assigned += 1
    if was_for is not None and was_for.queued > was_for.roused:
        wake(state, was_for)
    return job


def hold_out(state: State, peer: Peer) -> bool:
    """A worker has found nothing: promise it an answer if a job is on its way from the store.

    So NO_JOB means that there is none, for those who ask and go away again. It is given
    any job that comes meanwhile; and does not wait long for a store that says nothing.

    Returns:
        False when nothing is on its way.
    """
    if not expects(state, peer):
        return False
    due = state.steady + HELD_SECONDS
    state.grabbers.append(Grabber(peer, peer.promise(), due))
    return True


def serve_grabbers(state: State, alive: bool) -> None:
    """Answer those who wait for jobs from the store, as far as there are any.

    Args:
        alive: the store has just answered, so that the others may wait on.
    """
    state.fresh = False
    waiting, state.grabbers = state.grabbers, []
    for grabber in waiting:
        peer = grabber.peer
        if peer.gone:
            continue
        crew = peer.crew
        if crew is not None and peek(state, crew) is not None:
            job = grab(state, peer)
            if job is not None and job.away:
                state.fetch(peer, grabber.ticket, job)
            else:
                peer.assign(grabber.ticket, job)
        elif (alive or grabber.due > state.steady) and expects(state, peer):
            if alive:
                grabber.due = state.steady + HELD_SECONDS
            state.grabbers.append(grabber)
        else:
            peer.assign(grabber.ticket, None)


def sleep(state: State, peer: Peer) -> None:
    """PRE_SLEEP: wake it at once if there is work, else let it sleep."""
    was_for = rest(state, peer)
    if peer.restless:
        settle(state, peer)
    crew = peer.crew
    if crew is None:
        peer.asleep = True
    else:
        function = peek(state, crew)
        if function is not None:
            rouse(state, peer, function)
        else:
            lie_down(peer, crew)
    if was_for is not None and was_for.queued > was_for.roused:
        wake(state, was_for)


# ── a worker learns ──────────────────────────────────────────────────────────


def learn(state: State, peer: Peer, function: Function, seconds: float) -> None:
    """One ability more."""
    alone = may_change_alone(state, peer)
    if not alone:
        asleep = peer.asleep
        if peer.crew is not None:
            leave_crew(state, peer)
            peer.asleep = asleep
            peer.restless = False
        if not peer.restless:
            peer.restless = True
            if asleep:
                state.restless.append(peer)
    # The function's own name: one copy for all workers, and its hash is known.
    peer.abilities[function.name] = seconds
    function.workers += 1
    if function.paged:
        look_all(state, function)
    crew = peer.crew
    if alone and crew is not None:
        add_function(state, crew, function)
        if peer.asleep and function.queued:
            wake(state, function)


def see_to_restless(state: State) -> None:
    """Sleepers that learned or unlearned a function: wake them or let them sleep on.

    Gathered and done once a turn, because a worker that registers a thousand
    functions after PRE_SLEEP should not change its crew a thousand times.
    """
    restless = state.restless
    if not restless:
        return
    state.restless = []
    for peer in restless:
        if peer.asleep and peer.restless:
            sleep(state, peer)
