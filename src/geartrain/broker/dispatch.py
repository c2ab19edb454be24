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

from geartrain.broker.state import State
from geartrain.broker.tables import QUEUED, RUNNING, Crew, Function, Job, Peer, Ring
from geartrain.terms import HIGH, LOW, NORMAL

# ── work for a crew ──────────────────────────────────────────────────────────


def enqueue(state: State, job: Job) -> None:
    """Put a job at the end of its line, and wake who should do it."""
    function = job.function
    job.state = QUEUED
    priority = job.priority
    function.line(priority).push(job)
    function.queued += 1
    if state.rules.strict_order:
        priority = HIGH
    parked = function.parked(priority)
    if parked:
        for crew in parked:
            call_back(state, crew, function, priority)
        parked.clear()
    if function.hopeful:
        wake(state, function)


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
        if function.line(priority).live:
            return function
        ring.pop()
        function.parked(priority).append(crew)
    return None


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
        function = job.function
        function.running += 1
        peer.running[job.handle] = job
        seconds = peer.abilities[function.name]
        if seconds > 0.0:
            job.limit = state.limits.set(state.steady + seconds, job)
        state.counters.assigned += 1
    if was_for is not None and was_for.queued > was_for.roused:
        wake(state, was_for)
    return job


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
        peer = crew.sleepers.pop()
        if peer is not None:
            # The next job wakes somebody of the next crew.
            function.turn = turn + 1
            return peer
        # Nobody asleep here: the crew tells us when that changes.
        last = hopeful.pop()
        if turn < len(hopeful):
            hopeful[turn] = last
        function.turn = turn
        crew.hopeless.append(function)
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
    peer.restless = False
    if not peer.abilities:
        return
    key: object
    if state.rules.strict_order:
        key = tuple(peer.abilities)
    else:
        key = frozenset(peer.abilities)
    crew = state.crews.get(key)
    if crew is None:
        crew = _found_crew(state, key, peer)
    crew.members += 1
    peer.crew = crew


def _found_crew(state: State, key: object, peer: Peer) -> Crew:
    names = list(peer.abilities)
    if not state.rules.strict_order:
        names.reverse()
    functions = [state.functions[name] for name in names]
    crew = Crew(key, functions)
    state.crews[key] = crew
    place = 0
    for function in functions:
        function.crews.append(crew)
        if state.rules.strict_order:
            crew.places[function.name] = place
            place += 1
            if function.queued:
                heappush(crew.ready, place - 1)
            else:
                function.parked_high.append(crew)
            continue
        if function.high.live:
            crew.high.push(function)
        else:
            function.parked_high.append(crew)
        if function.normal.live:
            crew.normal.push(function)
        else:
            function.parked_normal.append(crew)
        if function.low.live:
            crew.low.push(function)
        else:
            function.parked_low.append(crew)
    crew.hopeless.extend(functions)
    return crew


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
    del state.crews[crew.key]
    hopeless = set(crew.hopeless)
    for function in crew.functions:
        function.crews.remove(crew)
        if function not in hopeless:
            function.hopeful.remove(crew)
        for parked in (function.parked_high, function.parked_normal, function.parked_low):
            if crew in parked:
                parked.remove(crew)
    crew.hopeless.clear()


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
