"""The budget for jobs in memory (``max-memory``), and what is done as it is used up.

1. From 70 % on the heads of stored lines are as short as they can be. Where there is no
   store, what is not in the head of its line goes to a file from then on.
2. From 85 % on those who submit are not read from: what they send waits with them, as
   a full pipe does. Workers are read from always, and so is who only asks.
3. Whoever has waited so for ``press_seconds`` is read from again and refused; and from
   95 % on everybody is, with the limit in the text.

Those who were not read from are when it has gone down to 80 %.
"""

from __future__ import annotations

from geartrain.broker.state import State
from geartrain.broker.tables import Peer


def is_tight(state: State) -> bool:
    """The first step."""
    most = state.rules.max_memory_bytes
    return most > 0 and state.memory * 10 > most * 7


def admits(state: State, peer: Peer, cost: int) -> bool:
    """Whether a job of this cost may be taken from this peer; called for each, if there is a budget."""
    most = state.rules.max_memory_bytes
    after = state.memory + cost
    if after * 10 > most * 7 and state.rules.spills and not state.spilling:
        state.spilling = True
        state.wishes = True
    if after * 20 > most * 19:
        state.pressed = state.memory * 20 > most * 17
        return False
    if after * 20 <= most * 17:
        peer.impatient = False
        return True
    state.pressed = True
    return not peer.impatient


def refusal(state: State) -> bytes:
    """What the refused are told."""
    return (
        b"The server's memory budget for jobs (max-memory, %d bytes) is used up; submit later"
        % state.rules.max_memory_bytes
    )


def throttle(state: State, peer: Peer) -> bool:
    """Whether this peer, who has just submitted, is not to be read from for now."""
    if peer.abilities or peer.impatient or peer.gone:
        return False
    state.throttled.append(peer)
    state.throttled_until.append(state.steady + state.rules.press_seconds)
    return True


def relieved(state: State) -> list[Peer]:
    """Those who are to be read from again."""
    if state.memory * 10 <= state.rules.max_memory_bytes * 8:
        state.pressed = False
        peers = state.throttled
        state.throttled = []
        state.throttled_until = []
        return peers
    due = 0
    while due < len(state.throttled) and state.throttled_until[due] <= state.steady:
        state.throttled[due].impatient = True
        due += 1
    peers = state.throttled[:due]
    del state.throttled[:due]
    del state.throttled_until[:due]
    return peers
