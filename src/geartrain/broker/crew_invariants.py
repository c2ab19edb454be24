"""What must hold of peers and their crews: who sleeps, who looks where, who is woken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from geartrain.broker.invariant_words import crew_text, function_text, line_text, peer_text
from geartrain.broker.state import State
from geartrain.broker.tables import HOPE, Crew, Function, Peer, Ring
from geartrain.terms import HIGH, LOW, NORMAL


def crew_faults(state: State) -> Iterator[str]:
    """Everything that does not agree about peers and crews, a sentence each."""
    yield from _peers(state)
    yield from _roused(state)
    yield from _crews(state)
    yield from _places(state)
    yield from the_promise(state)


def _peers(state: State) -> Iterator[str]:
    """A peer is known by its number, and in the crew of its abilities once it has settled."""
    restless = {peer.number for peer in state.restless}
    for number, peer in state.peers.items():
        if peer.number != number or peer.gone:
            yield f"{peer_text(peer)} is in the table as {number}, gone = {peer.gone}"
        for name in peer.abilities:
            if name not in state.functions:
                yield f"{peer_text(peer)} can do {name!r}, which is no function"
        crew = peer.crew
        if crew is None:
            if peer.abilities and not peer.restless:
                yield f"{peer_text(peer)} has settled without a crew"
            if peer.asleep and peer.restless and number not in restless:
                yield f"{peer_text(peer)} sleeps without a crew, and nobody sees to it"
        else:
            if peer.restless != (crew.key is None):
                yield f"{peer_text(peer)}: restless = {peer.restless} in {crew_text(crew)}"
            if crew.key is None:
                if peer.patience <= 0 or crew.members != 1:
                    yield f"{peer_text(peer)} is alone with {crew.members}, patience {peer.patience}"
                if set(_able(crew)) != {state.functions[name] for name in peer.abilities}:
                    yield f"{peer_text(peer)} is alone, and its crew can do something else"
                if state.rules.strict_order and crew.places.keys() != peer.abilities.keys():
                    yield f"{peer_text(peer)} is alone, and has places for something else"
            elif crew.key != _key(state, peer) or state.crews.get(crew.key) is not crew:
                yield f"{peer_text(peer)} is in a crew of other abilities"
            beds = sum(1 for sleeper in crew.sleepers.sleepers() if sleeper is peer)
            if beds != (1 if peer.asleep else 0):
                yield f"{peer_text(peer)}: asleep = {peer.asleep}, {beds} times in its crew's line"
        if peer.asleep and peer.roused_for is not None:
            yield f"{peer_text(peer)} sleeps and was woken"


def _roused(state: State) -> Iterator[str]:
    """Who was woken can do what it was woken for, and has a time to answer."""
    line = state.roused
    entries = {
        (peer.number, serial): due
        for peer, serial, due in zip(
            line.peers[line.head :], line.serials[line.head :], line.dues[line.head :], strict=True
        )
    }
    for peer in state.peers.values():
        function = peer.roused_for
        if function is None:
            continue
        if function.name not in peer.abilities:
            yield f"{peer_text(peer)} was woken for {function_text(function)}, which it cannot do"
        if state.functions.get(function.name) is not function:
            yield f"{peer_text(peer)} was woken for {function_text(function)}, which was dropped"
        due = entries.get((peer.number, peer.rousals))
        if state.rules.wakeup_seconds > 0.0 and (due is None or due <= state.steady):
            yield f"{peer_text(peer)} was woken and has until {due} to answer, at {state.steady}"


def _crews(state: State) -> Iterator[str]:
    """A crew has the members it counts, and the sleepers that sleep."""
    members = Counter(id(peer.crew) for peer in state.peers.values() if peer.crew is not None)
    for key, crew in state.crews.items():
        if crew.key != key:
            yield f"{crew_text(crew)} is in the table by another key"
        if crew.retired:
            yield f"{crew_text(crew)} is in the table, and has given up functions"
    crews = _all_crews(state)
    for crew in crews:
        if crew.members != members[id(crew)] or crew.members == 0:
            yield f"{crew_text(crew)} counts {crew.members} members, has {members[id(crew)]}"
        sleepers = crew.sleepers.sleepers()
        for peer in sleepers:
            if state.peers.get(peer.number) is not peer or peer.crew is not crew:
                yield f"{peer_text(peer)} sleeps in {crew_text(crew)}, which is not its own"
        if crew.sleepers.live != len(sleepers):
            yield f"{crew_text(crew)}: live = {crew.sleepers.live}, {len(sleepers)} sleep"
        if sleepers and crew.hopeless:
            yield f"{crew_text(crew)} has sleepers and {len(crew.hopeless)} functions without hope"
        for function, held in crew.retired.items():
            if _times(function.crews, crew) != 1:
                yield f"{function_text(function)} has {crew_text(crew)}, retired, not exactly once"
            hopes = _times(function.hopeful, crew) + _times(crew.hopeless, function)
            if hopes != (1 if held & HOPE else 0):
                yield f"{function_text(function)}, retired, and {crew_text(crew)}: hopes {hopes} times"
        for function in _able(crew):
            if state.functions.get(function.name) is not function:
                yield f"{crew_text(crew)} can do {function_text(function)}, which was dropped"
            if _times(function.crews, crew) != 1:
                yield f"{function_text(function)} has {crew_text(crew)} not exactly once"
            hopes = _times(function.hopeful, crew) + _times(crew.hopeless, function)
            if hopes != 1:
                yield f"{function_text(function)} and {crew_text(crew)}: hopeful or hopeless {hopes} times"
        if len(crew.hopeless) > len(crew.functions):
            yield f"{crew_text(crew)} has {len(crew.hopeless)} functions without hope"
    for function in state.functions.values():
        for what, there in (
            ("crews", function.crews),
            ("parked_high", function.parked_high),
            ("parked_normal", function.parked_normal),
            ("parked_low", function.parked_low),
            ("hopeful", function.hopeful),
        ):
            for crew in there:
                if not any(one is crew for one in crews) or function not in crew.functions:
                    yield f"{function_text(function)}: {what} has {crew_text(crew)}, disbanded or unable"


def _places(state: State) -> Iterator[str]:
    """A function is in a crew's ring, or the crew is parked there; with jobs it is in the ring."""
    for crew in _all_crews(state):
        if state.rules.strict_order:
            yield from _places_in_order(crew)
            continue
        if crew.ready:
            yield f"{crew_text(crew)} keeps an order, but takes turns"
        for priority, ring in ((HIGH, crew.high), (NORMAL, crew.normal), (LOW, crew.low)):
            standing = _standing(ring)
            for function, held in crew.retired.items():
                stands = _times(standing, function) + _times(function.parked(priority), crew)
                if stands != (1 if held & (1 << priority) else 0):
                    yield f"{line_text(function, priority)}, retired, stands in {stands} places"
            for function in _able(crew):
                inside = _times(standing, function)
                parked = _times(function.parked(priority), crew)
                if inside + parked != 1:
                    yield (
                        f"{line_text(function, priority)} and {crew_text(crew)}: "
                        f"{inside} times in the ring, {parked} times parked"
                    )
                if function.line(priority).live and not inside:
                    yield f"{line_text(function, priority)} has jobs, {crew_text(crew)} does not look"
            if len(standing) > len(crew.functions):
                yield f"{crew_text(crew)} has strangers in its ring"


def _places_in_order(crew: Crew) -> Iterator[str]:
    if len(crew.high) or len(crew.normal) or len(crew.low):
        yield f"{crew_text(crew)} takes turns, but keeps an order"
    for place, function in enumerate(crew.functions):
        if crew.key is None and crew.places.get(function.name) != place:
            continue  # it has been registered again since, or has been given up
        if crew.places.get(function.name) != place:
            yield f"{crew_text(crew)}: {function_text(function)} is not at place {place}"
        inside = crew.ready.count(place)
        parked = _times(function.parked_high, crew)
        if inside + parked != 1:
            yield (
                f"{function_text(function)} and {crew_text(crew)}: "
                f"{inside} times ready, {parked} times parked"
            )
        if function.queued and not inside:
            yield f"{function_text(function)} has jobs, {crew_text(crew)} does not look"


def the_promise(state: State) -> Iterator[str]:
    """No job waits while an able worker sleeps, unless as many workers are roused for it.

    With ``worker_wakeup`` 0 all are woken, so that nobody who is able sleeps at all.
    """
    for function in state.functions.values():
        if not function.queued:
            continue
        if state.rules.worker_wakeup and function.roused >= function.queued:
            continue
        for peer in state.peers.values():
            # Somebody whose crew is to be found is seen to before the turn ends.
            settled = peer.crew is not None or not peer.restless
            if peer.asleep and settled and function.name in peer.abilities:
                yield (
                    f"{peer_text(peer)} sleeps while {function.queued} jobs wait in "
                    f"{function_text(function)}, for which {function.roused} are roused"
                )


def _key(state: State, peer: Peer) -> object:
    return tuple(peer.abilities) if state.rules.strict_order else frozenset(peer.abilities)


def _all_crews(state: State) -> list[Crew]:
    """Those in the table, and those of peers that are alone."""
    alone = [peer.crew for peer in state.peers.values() if peer.crew and peer.crew.key is None]
    return [*state.crews.values(), *alone]


def _able(crew: Crew) -> list[Function]:
    """What the crew can do."""
    return [one for one in dict.fromkeys(crew.functions) if one not in crew.retired]


def _standing(ring: Ring) -> list[Function]:
    return ring.items[ring.head :]


def _times(things: list[Crew] | list[Function], one: object) -> int:
    return sum(1 for thing in things if thing is one)
