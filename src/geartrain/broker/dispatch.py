"""Jobs and workers find each other: wake, sleep, grab, requeue.

The order: high before normal before low, over all functions of the worker; inside
a priority the functions take turns. In strict order the first registered function
that has any job wins instead.

The promise about sleep: as long as a job waits in a function, at least one worker
that can do it is awake, or was woken for it and has not answered yet, or none is
asleep. One job wakes ``worker_wakeup`` sleepers, not all of them; a woken worker
hands the duty on when it grabs something else, goes back to sleep, leaves, or
does nothing for ``wakeup_seconds``.

Source: protocol reference, 2.4 and 2.5; the scheme is explained in ``tables``.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from geartrain.broker.state import State
from geartrain.broker.tables import (
    HOPE,
    KEPT,
    QUEUED,
    RUNNING,
    STORING,
    Crew,
    Function,
    Grabber,
    Job,
    Peer,
    Ring,
)
from geartrain.broker.windows import expects, look, look_all
from geartrain.terms import HIGH, LOW, NORMAL

#: A worker waits so long for a job that is on its way, before it hears NO_JOB.
HELD_SECONDS: Final = 5.0

# ── work for a crew ──────────────────────────────────────────────────────────


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


def call_back(state: State, crew: Crew, function: Function, priority: int) -> None:
    """A crew that was parked at a function has work there again."""
    if state.rules.strict_order:
        heappush(crew.ready, crew.places[function.name])
    elif priority == NORMAL:
        crew.normal.push(function)
    elif priority == HIGH:
        crew.high.push(function)
    else:
        crew.low.push(function)


def take(state: State, crew: Crew) -> Job | None:
    """The best job for this crew, out of its line; None when there is none."""
    if state.rules.strict_order:
        return _take_in_order(crew)
    job = _take_from(crew, crew.high, HIGH)
    if job is None:
        job = _take_from(crew, crew.normal, NORMAL)
        if job is None:
            job = _take_from(crew, crew.low, LOW)
    return job


def _take_from(crew: Crew, ring: Ring, priority: int) -> Job | None:
    while True:
        function = ring.pop()
        if function is None:
            return None
        if crew.retired and _is_retired(crew, function, priority):
            continue
        line = function.line(priority)
        entry = line.pop()
        if entry is None:
            function.parked(priority).append(crew)
            continue
        assert isinstance(entry, Job)
        function.queued -= 1
        if line.live:
            ring.push(function)
        else:
            function.parked(priority).append(crew)
        return entry


def _take_in_order(crew: Crew) -> Job | None:
    while crew.ready:
        function = crew.functions[crew.ready[0]]
        if crew.key is None and crew.places.get(function.name, -1) != crew.ready[0]:
            heappop(crew.ready)
            continue
        for priority in (HIGH, NORMAL, LOW):
            entry = function.line(priority).pop()
            if entry is not None:
                assert isinstance(entry, Job)
                function.queued -= 1
                return entry
        heappop(crew.ready)
        function.parked_high.append(crew)
    return None


def peek(state: State, crew: Crew) -> Function | None:
    """The function whose job ``take`` would give, without taking it."""
    if state.rules.strict_order:
        while crew.ready:
            function = crew.functions[crew.ready[0]]
            if crew.key is None and crew.places.get(function.name, -1) != crew.ready[0]:
                heappop(crew.ready)
                continue
            if function.queued:
                return function
            heappop(crew.ready)
            function.parked_high.append(crew)
        return None
    found = _peek_in(crew, crew.high, HIGH)
    if found is None:
        found = _peek_in(crew, crew.normal, NORMAL)
        if found is None:
            found = _peek_in(crew, crew.low, LOW)
    return found


def _peek_in(crew: Crew, ring: Ring, priority: int) -> Function | None:
    while len(ring):
        function = ring.items[ring.head]
        if crew.retired and _is_retired(crew, function, priority):
            ring.pop()
            continue
        if function.line(priority).live:
            return function
        ring.pop()
        function.parked(priority).append(crew)
    return None


def _is_retired(crew: Crew, function: Function, priority: int) -> bool:
    """A function out of a ring: whether it is done no longer, and so stands there no more."""
    held = crew.retired.get(function, -1)
    if held < 0:
        return False
    crew.retired[function] = held & ~(1 << priority)
    return True


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


# ── waking ───────────────────────────────────────────────────────────────────


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


# ── crews ────────────────────────────────────────────────────────────────────


def settle(state: State, peer: Peer) -> None:
    """Find the crew for this peer's abilities, or make it."""
    if peer.crew is not None:
        # It is alone, and has looked for work once more.
        peer.patience -= 1
        if peer.patience > 0:
            return
        leave_crew(state, peer)
    peer.restless = False
    if not peer.abilities:
        return
    if peer.patience > 0:
        crew = _found_crew(state, None, peer)
        peer.restless = True
    else:
        key: object
        if state.rules.strict_order:
            key = tuple(peer.abilities)
        else:
            key = frozenset(peer.abilities)
        found = state.crews.get(key)
        crew = found if found is not None else _found_crew(state, key, peer)
    crew.members += 1
    peer.crew = crew


def _found_crew(state: State, key: object, peer: Peer) -> Crew:
    names = list(peer.abilities)
    if not state.rules.strict_order:
        names.reverse()
    crew = Crew(key, [])
    if key is not None:
        state.crews[key] = crew
    for name in names:
        _add(state, crew, state.functions[name])
    return crew


def _add(state: State, crew: Crew, function: Function) -> None:
    """The crew can do one function more."""
    held = crew.retired.pop(function, -1) if crew.retired else -1
    if held < 0:
        held = 0
        function.crews.append(crew)
        crew.functions.append(function)
    elif state.rules.strict_order:
        # It stands in the order where it was registered last.
        crew.functions.append(function)
    if state.rules.strict_order:
        place = len(crew.functions) - 1
        crew.places[function.name] = place
        if function.queued:
            heappush(crew.ready, place)
        else:
            function.parked_high.append(crew)
    else:
        if not held & (1 << HIGH):
            if function.high.live:
                crew.high.push(function)
            else:
                function.parked_high.append(crew)
        if not held & (1 << NORMAL):
            if function.normal.live:
                crew.normal.push(function)
            else:
                function.parked_normal.append(crew)
        if not held & (1 << LOW):
            if function.low.live:
                crew.low.push(function)
            else:
                function.parked_low.append(crew)
    if not held & HOPE:
        if crew.sleepers.live:
            function.hopeful.append(crew)
        else:
            crew.hopeless.append(function)


def may_change_alone(state: State, peer: Peer) -> bool:
    """Whether this peer's abilities are changed in place; if so, it is alone from now on.

    Where they are not, it leaves its crew: if it has many abilities, for one of its own.
    """
    crew = peer.crew
    if crew is None:
        return False
    size = len(peer.abilities)
    # A crew costs as much as it has abilities: so many looks pay for it.
    peer.patience = size if size >= state.alone_from else 0
    if peer.patience == 0 or crew.members > 1:
        return False
    if len(crew.functions) > 2 * size:
        return False  # more of it is stale than not
    if crew.key is not None:
        del state.crews[crew.key]
        crew.key = None
        peer.restless = True
    return True


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
        _add(state, crew, function)
        if peer.asleep and function.queued:
            wake(state, function)


def retire(state: State, peer: Peer, function: Function) -> None:
    """One ability less, for one who is alone: what is not at hand goes when it turns up."""
    crew = peer.crew
    assert crew is not None
    crew.retired[function] = HOPE | 1 << HIGH | 1 << NORMAL | 1 << LOW
    if state.rules.strict_order:
        del crew.places[function.name]
        if crew in function.parked_high:
            function.parked_high.remove(crew)


def leave_crew(state: State, peer: Peer) -> None:
    """The abilities change, or the peer goes: it is no longer one of its crew."""
    crew = peer.crew
    if crew is None:
        return
    if peer.asleep:
        crew.sleepers.leave(peer)
    peer.crew = None
    crew.members -= 1
    if crew.members == 0:
        _disband(state, crew)


def _disband(state: State, crew: Crew) -> None:
    if crew.key is not None:
        del state.crews[crew.key]
    retired = crew.retired
    hopeless = set(crew.hopeless)
    # In strict order, what one alone has unlearned and learned again is in it twice.
    for function in dict.fromkeys(crew.functions):
        function.crews.remove(crew)
        if function not in hopeless and retired.get(function, HOPE) & HOPE:
            function.hopeful.remove(crew)
        for parked in (function.parked_high, function.parked_normal, function.parked_low):
            if crew in parked:
                parked.remove(crew)
    crew.hopeless.clear()
    retired.clear()


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
