"""How much of a line is in memory, and when the rest is fetched.

Of each line (function and priority) whose jobs are stored a bounded *head* is in
memory; the rest, its *tail*, is only counted here. The head's *window* is what its
workers did in the last two seconds, as far as that is known, within bounds: so a
function that does ten jobs a minute keeps few of them from other servers, and one
that does thousands a second never waits for the store. When three quarters of the
window are done, the next jobs are asked for, before anybody misses them.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.budget import is_tight
from geartrain.broker.state import State
from geartrain.broker.tables import Function, Job, Peer, Tail
from geartrain.broker.wishes import Claim

#: A window is what was done in so many seconds.
WINDOW_SECONDS: Final = 2.0
#: Of a pool that others look into as well, one server takes at most a part like this.
SHARE: Final = 8
#: ... measured no more often than this.
MEASURE_SECONDS: Final = 0.01
#: Claims on their way that a worker without a job is compared with.
MOST_LOOKED_AT: Final = 100


def tail_of(function: Function, priority: int) -> Tail:
    """What is known of a line's tail; from the first time on, its head is measured."""
    tails = function.tails
    if tails is None:
        tails = [Tail(function, 0), Tail(function, 1), Tail(function, 2)]
        for tail in tails:
            for entry in function.line(tail.priority).waiting():
                assert isinstance(entry, Job)
                tail.bytes += len(entry.workload)
        function.tails = tails
    return tails[priority]


def window(state: State, tail: Tail) -> int:
    """How many jobs of this line may be in memory."""
    rules = state.rules
    workers = tail.function.workers
    if is_tight(state):
        return 2 * workers
    if workers == 0:
        return rules.idle_window
    size = int(tail.rate * WINDOW_SECONDS)
    if rules.shared:
        # Of a short queue the other servers' workers want their part.
        size = min(size, tail.ready // SHARE)
    return min(max(size, 2 * workers, rules.least_window), rules.most_window)


def has_room(state: State, tail: Tail) -> bool:
    """One job more of this line may stay in memory."""
    line = tail.function.line(tail.priority)
    held = line.live + tail.mining + tail.ready + tail.coming
    if tail.behind is not None:
        held += tail.behind.live
    return held < window(state, tail) and tail.bytes < state.rules.window_bytes


def look(state: State, tail: Tail) -> None:
    """Ask for more of this line, if there is more and the head runs low."""
    if tail.asked or tail.ready == 0:
        return
    if not state.rules.accept_new_work and not state.rules.spills:
        return
    live = tail.function.line(tail.priority).live
    size = window(state, tail)
    if live * 4 > size or size == 0:
        return
    if live and tail.bytes * 4 > state.rules.window_bytes:
        return
    measure(state, tail)
    tail.asked = True
    state.asking[tail] = None
    state.hungry[tail] = None
    state.wishes = True


def measure(state: State, tail: Tail) -> None:
    """Note how fast jobs left the head since this was looked at last."""
    passed = state.steady - tail.measured_at
    if passed < MEASURE_SECONDS:
        return
    rate = tail.taken / passed
    # Up at once, down by halves: a worker that pauses is no reason to starve it.
    tail.rate = rate if rate > tail.rate else (rate + tail.rate) / 2.0
    tail.taken = 0
    tail.measured_at = state.steady


def take_claims(state: State) -> list[Claim]:
    """What is asked for, the high priorities first; each is answered by ``claimed``."""
    hungry, state.hungry = state.hungry, {}
    claims: list[Claim] = []
    for priority in range(3):
        for tail in hungry:
            if tail.priority != priority:
                continue
            line = tail.function.line(priority)
            jobs = max(window(state, tail) - line.live, 1)
            size = max(state.rules.window_bytes - tail.bytes, 1)
            claims.append(Claim(tail.function.name, priority, jobs, size))
    return claims


def answered(state: State, tail: Tail) -> None:
    """What was asked for has come, or will not."""
    state.asking.pop(tail, None)


def expects(state: State, peer: Peer) -> bool:
    """More of some line that this worker can do is on its way from the store."""
    left = MOST_LOOKED_AT
    for tail in state.asking:
        if tail.function.name in peer.abilities:
            return True
        left -= 1
        if left == 0:
            break
    return False


def look_all(state: State, function: Function) -> None:
    """A worker has come, or some reason not to ask is gone."""
    tails = function.tails
    if tails is not None:
        for tail in tails:
            look(state, tail)
