"""Who can do what: crews, the rings in which they look for work, and how one is found.

The order of work: high before normal before low, over all functions of the crew;
inside a priority the functions take turns. In strict order the first registered
function that has any job wins instead.

Source: protocol reference, 2.4; why it is done so is told at the head of ``tables``.
"""

from __future__ import annotations

from heapq import heappop, heappush

from geartrain.broker.state import State
from geartrain.broker.tables import HOPE, Crew, Function, Job, Peer, Ring
from geartrain.terms import HIGH, LOW, NORMAL

# ── work for a crew ──────────────────────────────────────────────────────────


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


# ── a crew for a worker ──────────────────────────────────────────────────────


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
        add_function(state, crew, state.functions[name])
    return crew


def add_function(state: State, crew: Crew, function: Function) -> None:
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
