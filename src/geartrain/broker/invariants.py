"""What must hold between any two calls of the broker, in plain code.

``check(state)`` counts everything again the slow way and compares. Tests call it
after each step; it costs as much as there is, so a server does not.

In the middle of a turn a sleeper whose abilities have changed may still be without
a crew (``state.restless``); ``end_turn`` sees to it. All else holds always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from geartrain.broker.queues import Alarm, AlarmClock
from geartrain.broker.state import State
from geartrain.broker.tables import (
    BEHIND,
    DELAYED,
    HOPE,
    KEPT,
    OVER,
    PAGED,
    POOLING,
    QUEUED,
    RUNNING,
    STATE_NAMES,
    STORING,
    WRITING,
    Crew,
    Function,
    Job,
    Peer,
    Ring,
)
from geartrain.broker.windows import window
from geartrain.terms import HIGH, LOW, NORMAL, PRIORITY_NAMES

PRIORITIES = (HIGH, NORMAL, LOW)


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
    yield from _jobs(state)
    yield from _lines(state)
    yield from _tails(state)
    yield from _counters(state)
    yield from _keys(state)
    yield from _attachments(state)
    yield from _alarms(state)
    yield from _peers(state)
    yield from _roused(state)
    yield from _crews(state)
    yield from _places(state)
    yield from the_promise(state)


# ── jobs ─────────────────────────────────────────────────────────────────────


def _jobs(state: State) -> Iterator[str]:
    """Every job is known by its handle, wanted by somebody, and where its state says."""
    runs_it: dict[bytes, list[Peer]] = {}
    for peer in state.peers.values():
        for handle, job in peer.running.items():
            runs_it.setdefault(handle, []).append(peer)
            if state.jobs.get(handle) is not job:
                yield f"{_peer(peer)} runs {_job(job)}, which is not in the table of jobs"
    for handle, job in state.jobs.items():
        if job.handle != handle:
            yield f"{_job(job)} is in the table of jobs as {handle!r}"
        if state.functions.get(job.function.name) is not job.function:
            yield f"{_job(job)} is of a function that is not in the table"
        workers = runs_it.get(handle, [])
        if job.state == RUNNING:
            if len(workers) != 1 or workers[0] is not job.worker:
                yield f"{_job(job)} is run by {[w.number for w in workers]}, it thinks otherwise"
            if job.waiting:
                yield f"{_job(job)} waits in a line while it runs"
            continue
        if workers or job.worker is not None:
            yield f"{_job(job)} does not run, but has a worker"
        if job.state == OVER:
            yield f"{_job(job)} is over, but still in the table of jobs"
        if not job.wanted:
            yield f"{_job(job)} waits although nobody wants it"
        if job.waiting != (job.state in (QUEUED, BEHIND)):
            yield f"{_job(job)} {'waits' if job.waiting else 'does not wait'} in a line"


def _lines(state: State) -> Iterator[str]:
    """A queued job stands in its line once; nothing else does."""
    seen: Counter[bytes] = Counter()
    for function in state.functions.values():
        for priority in PRIORITIES:
            line = function.line(priority)
            waiting = line.waiting()
            if len(waiting) != line.live:
                yield f"{_line(function, priority)}: live = {line.live}, in line {len(waiting)}"
            for entry in waiting:
                if not isinstance(entry, Job):
                    yield f"{_line(function, priority)} holds {entry!r}, which is no job"
                    continue
                seen[entry.handle] += 1
                if entry.state != QUEUED or state.jobs.get(entry.handle) is not entry:
                    yield f"{_line(function, priority)} holds {_job(entry)}"
                if state.fenced and entry.kept == KEPT:
                    yield f"{_line(function, priority)} holds {_job(entry)}, which is fenced"
                if entry.function is not function or entry.priority != priority:
                    yield f"{_line(function, priority)} holds {_job(entry)} of another line"
    for job in state.jobs.values():
        if seen[job.handle] != (1 if job.state == QUEUED else 0):
            yield f"{_job(job)} stands in lines {seen[job.handle]} times"


def _tails(state: State) -> Iterator[str]:
    """What is counted of the tails adds up; who waits behind one has somebody before him."""
    behind: Counter[bytes] = Counter()
    for function in state.functions.values():
        if function.tails is None:
            if function.paged or function.behind:
                yield f"{_function(function)} has no tails, but {function.paged} paged jobs"
            continue
        paged = 0
        for tail in function.tails:
            name = _line(function, tail.priority)
            if min(tail.ready, tail.dormant, tail.coming, tail.mining, tail.bytes) < 0:
                yield f"{name}: something is counted below 0"
            paged += tail.ready + tail.dormant
            waiting = [] if tail.behind is None else tail.behind.waiting()
            for entry in waiting:
                if not isinstance(entry, Job) or entry.state != BEHIND:
                    yield f"{name}: {entry!r} does not wait behind"
                    continue
                behind[entry.handle] += 1
            tail_lives = tail.ready or tail.coming or tail.asked
            if waiting and not tail_lives:
                yield f"{name}: {len(waiting)} wait behind nobody"
            line = function.line(tail.priority)
            size = sum(len(job.workload) for job in line.waiting() if isinstance(job, Job))
            if tail.bytes != size:
                yield f"{name}: bytes = {tail.bytes}, a recount says {size}"
            wanted = tail.ready and not line.live and window(state, tail)
            going = state.rules.accept_new_work or state.rules.spills
            if wanted and going and not tail.asked:
                yield f"{name} is empty, {tail.ready} are in the store, and nobody asks for them"
            for what, counted, kept in (
                ("coming", tail.coming, POOLING), ("mining", tail.mining, WRITING),
            ):  # fmt: skip
                recount = sum(
                    1
                    for job in state.jobs.values()
                    if job.function is function and job.priority == tail.priority
                    if job.state == STORING and job.kept == kept and not job.when
                )
                if counted != recount:
                    yield f"{name}: {what} = {counted}, a recount says {recount}"
        if function.paged != paged:
            yield f"{_function(function)}: paged = {function.paged}, its tails say {paged}"
    paged = sum(function.paged for function in state.functions.values())
    if state.paged != paged:
        yield f"paged = {state.paged}, the functions say {paged}"
    for job in state.jobs.values():
        if behind[job.handle] != (1 if job.state == BEHIND else 0):
            yield f"{_job(job)} stands behind a tail {behind[job.handle]} times"
        if job.state == PAGED and (job.client is None or job.workload or job.kept != KEPT):
            yield f"{_job(job)} is paged, and more of it is here than those who wait"


def _counters(state: State) -> Iterator[str]:
    """What is counted as it happens is what a recount finds."""
    memory = sum(job.cost for job in state.jobs.values())
    if state.memory != memory:
        yield f"memory = {state.memory}, a recount says {memory}"
    states = Counter((job.function.name, job.state) for job in state.jobs.values())
    workers = Counter(name for peer in state.peers.values() for name in peer.abilities)
    roused = Counter(
        peer.roused_for.name for peer in state.peers.values() if peer.roused_for is not None
    )
    for name, function in state.functions.items():
        if function.name != name:
            yield f"{_function(function)} is in the table as {name!r}"
        for what, counted, recount in (
            ("queued", function.queued, states[name, QUEUED]),
            ("delayed", function.delayed, states[name, DELAYED]),
            ("storing", function.storing, states[name, STORING]),
            ("behind", function.behind, states[name, BEHIND]),
            ("running", function.running, states[name, RUNNING]),
            ("workers", function.workers, workers[name]),
            ("roused", function.roused, roused[name]),
        ):
            if counted != recount:
                yield f"{_function(function)}: {what} = {counted}, a recount says {recount}"
        if function.limited != any(limit > 0 for limit in function.limits):
            yield f"{_function(function)}: limited = {function.limited}, {function.limits}"


def _keys(state: State) -> Iterator[str]:
    """A key leads to the one job that has it, and every job with a key is found by it."""
    by_unique: dict[bytes, dict[bytes, Job]] = {}
    for function in state.functions.values():
        for table, by_workload in ((function.uniques, False), (function.by_workload, True)):
            for key, job in table.items():
                if state.jobs.get(job.handle) is not job or job.function is not function:
                    yield f"{_function(function)}: key {key!r} leads to {_job(job)}"
                if job.by_workload != by_workload:
                    yield f"{_function(function)}: {_job(job)} is in the wrong table of keys"
                if key != (job.workload if by_workload else job.unique):
                    yield f"{_function(function)}: {_job(job)} is found by a wrong key {key!r}"
        for unique, job in function.uniques.items():
            by_unique.setdefault(unique, {})[function.name] = job
    for job in state.jobs.values():
        if not job.unique or (job.unique == b"-" and not job.by_workload):
            continue
        if job.by_workload:
            holder = job.function.by_workload.get(job.workload)
        else:
            holder = job.function.uniques.get(job.unique)
        # A running job that was cancelled has given its key away; one that came back
        # from the store may have found it taken.
        if holder is not job and (job.wanted or job.state != RUNNING) and job.kept != KEPT:
            yield f"{_job(job)} is not found by its key {job.unique!r}"
    if by_unique.keys() != state.holders.keys():
        yield f"holders of {sorted(state.holders)}, keys are {sorted(by_unique)}"
    for unique, jobs in by_unique.items():
        holder = state.holders.get(unique)
        others = {name: job for name, job in jobs.items() if job is not holder}
        if len(others) != len(jobs) - 1:
            yield f"holder of {unique!r} is none of the jobs with that key"
        if others != state.namesakes.get(unique, {}):
            yield f"namesakes of {unique!r} are not the other jobs with that key"
    for unique, namesakes in state.namesakes.items():
        if not namesakes:
            yield f"an empty table of namesakes is kept for {unique!r}"


def _attachments(state: State) -> Iterator[str]:
    """A peer waits for exactly the jobs that it is attached to."""
    attached: dict[int, set[bytes]] = {}
    for job in state.jobs.values():
        if job.client is None and job.others is not None:
            yield f"{_job(job)} has further entries, but no first one"
        for entry in job.entries():
            if state.peers.get(entry.number) is not entry:
                yield f"{_job(job)} would tell {_peer(entry)}, who has gone"
            attached.setdefault(entry.number, set()).add(job.handle)
    for number, peer in state.peers.items():
        waiting = {job.handle for job in peer.waiting}
        if waiting != attached.get(number, set()):
            yield f"{_peer(peer)} waits for {waiting}, attached to {attached.get(number)}"


def _alarms(state: State) -> Iterator[str]:
    """A delayed job has its alarm, a running one at most its own; nothing is overdue."""
    for clock, now, what in (
        (state.epochs, state.wall, DELAYED),
        (state.limits, state.steady, RUNNING),
    ):
        armed = [alarm for alarm in clock.heap if alarm.armed]
        if clock.stale != len(clock.heap) - len(armed):
            yield f"a clock counts {clock.stale} stale alarms of {len(clock.heap)}"
        for alarm in armed:
            job = alarm.what
            if not isinstance(job, Job) or job.limit is not alarm or job.state != what:
                yield f"an alarm at {alarm.due} is for {job!r}, which has another one"
            if alarm.due <= now:
                yield f"an alarm at {alarm.due} has not rung at {now}"
    for job in state.jobs.values():
        if job.state == DELAYED and not _is_set(state.epochs, job.limit):
            yield f"{_job(job)} has no alarm"
        if job.state == QUEUED and job.limit is not None:
            yield f"{_job(job)} waits, but its time runs out"
        if job.state == RUNNING and job.limit is not None and not _is_set(state.limits, job.limit):
            yield f"{_job(job)} has an alarm that does not ring"


def _is_set(clock: AlarmClock, alarm: Alarm | None) -> bool:
    return alarm is not None and alarm.armed and any(one is alarm for one in clock.heap)


# ── peers ────────────────────────────────────────────────────────────────────


def _peers(state: State) -> Iterator[str]:
    """A peer is known by its number, and in the crew of its abilities once it has settled."""
    restless = {peer.number for peer in state.restless}
    for number, peer in state.peers.items():
        if peer.number != number or peer.gone:
            yield f"{_peer(peer)} is in the table as {number}, gone = {peer.gone}"
        for name in peer.abilities:
            if name not in state.functions:
                yield f"{_peer(peer)} can do {name!r}, which is no function"
        crew = peer.crew
        if crew is None:
            if peer.abilities and not peer.restless:
                yield f"{_peer(peer)} has settled without a crew"
            if peer.asleep and peer.restless and number not in restless:
                yield f"{_peer(peer)} sleeps without a crew, and nobody sees to it"
        else:
            if peer.restless != (crew.key is None):
                yield f"{_peer(peer)}: restless = {peer.restless} in {_crew(crew)}"
            if crew.key is None:
                if peer.patience <= 0 or crew.members != 1:
                    yield f"{_peer(peer)} is alone with {crew.members}, patience {peer.patience}"
                if set(_able(crew)) != {state.functions[name] for name in peer.abilities}:
                    yield f"{_peer(peer)} is alone, and its crew can do something else"
                if state.rules.strict_order and crew.places.keys() != peer.abilities.keys():
                    yield f"{_peer(peer)} is alone, and has places for something else"
            elif crew.key != _key(state, peer) or state.crews.get(crew.key) is not crew:
                yield f"{_peer(peer)} is in a crew of other abilities"
            beds = sum(1 for sleeper in crew.sleepers.sleepers() if sleeper is peer)
            if beds != (1 if peer.asleep else 0):
                yield f"{_peer(peer)}: asleep = {peer.asleep}, {beds} times in its crew's line"
        if peer.asleep and peer.roused_for is not None:
            yield f"{_peer(peer)} sleeps and was woken"


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
            yield f"{_peer(peer)} was woken for {_function(function)}, which it cannot do"
        if state.functions.get(function.name) is not function:
            yield f"{_peer(peer)} was woken for {_function(function)}, which was dropped"
        due = entries.get((peer.number, peer.rousals))
        if state.rules.wakeup_seconds > 0.0 and (due is None or due <= state.steady):
            yield f"{_peer(peer)} was woken and has until {due} to answer, at {state.steady}"


# ── crews ────────────────────────────────────────────────────────────────────


def _crews(state: State) -> Iterator[str]:
    """A crew has the members it counts, and the sleepers that sleep."""
    members = Counter(id(peer.crew) for peer in state.peers.values() if peer.crew is not None)
    for key, crew in state.crews.items():
        if crew.key != key:
            yield f"{_crew(crew)} is in the table by another key"
        if crew.retired:
            yield f"{_crew(crew)} is in the table, and has given up functions"
    crews = _all_crews(state)
    for crew in crews:
        if crew.members != members[id(crew)] or crew.members == 0:
            yield f"{_crew(crew)} counts {crew.members} members, has {members[id(crew)]}"
        sleepers = crew.sleepers.sleepers()
        for peer in sleepers:
            if state.peers.get(peer.number) is not peer or peer.crew is not crew:
                yield f"{_peer(peer)} sleeps in {_crew(crew)}, which is not its own"
        if crew.sleepers.live != len(sleepers):
            yield f"{_crew(crew)}: live = {crew.sleepers.live}, {len(sleepers)} sleep"
        if sleepers and crew.hopeless:
            yield f"{_crew(crew)} has sleepers and {len(crew.hopeless)} functions without hope"
        for function, held in crew.retired.items():
            if _times(function.crews, crew) != 1:
                yield f"{_function(function)} has {_crew(crew)}, retired, not exactly once"
            hopes = _times(function.hopeful, crew) + _times(crew.hopeless, function)
            if hopes != (1 if held & HOPE else 0):
                yield f"{_function(function)}, retired, and {_crew(crew)}: hopes {hopes} times"
        for function in _able(crew):
            if state.functions.get(function.name) is not function:
                yield f"{_crew(crew)} can do {_function(function)}, which was dropped"
            if _times(function.crews, crew) != 1:
                yield f"{_function(function)} has {_crew(crew)} not exactly once"
            hopes = _times(function.hopeful, crew) + _times(crew.hopeless, function)
            if hopes != 1:
                yield f"{_function(function)} and {_crew(crew)}: hopeful or hopeless {hopes} times"
        if len(crew.hopeless) > len(crew.functions):
            yield f"{_crew(crew)} has {len(crew.hopeless)} functions without hope"
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
                    yield f"{_function(function)}: {what} has {_crew(crew)}, disbanded or unable"


def _places(state: State) -> Iterator[str]:
    """A function is in a crew's ring, or the crew is parked there; with jobs it is in the ring."""
    for crew in _all_crews(state):
        if state.rules.strict_order:
            yield from _places_in_order(crew)
            continue
        if crew.ready:
            yield f"{_crew(crew)} keeps an order, but takes turns"
        for priority, ring in ((HIGH, crew.high), (NORMAL, crew.normal), (LOW, crew.low)):
            standing = _standing(ring)
            for function, held in crew.retired.items():
                stands = _times(standing, function) + _times(function.parked(priority), crew)
                if stands != (1 if held & (1 << priority) else 0):
                    yield f"{_line(function, priority)}, retired, stands in {stands} places"
            for function in _able(crew):
                inside = _times(standing, function)
                parked = _times(function.parked(priority), crew)
                if inside + parked != 1:
                    yield (
                        f"{_line(function, priority)} and {_crew(crew)}: "
                        f"{inside} times in the ring, {parked} times parked"
                    )
                if function.line(priority).live and not inside:
                    yield f"{_line(function, priority)} has jobs, {_crew(crew)} does not look"
            if len(standing) > len(crew.functions):
                yield f"{_crew(crew)} has strangers in its ring"


def _places_in_order(crew: Crew) -> Iterator[str]:
    if len(crew.high) or len(crew.normal) or len(crew.low):
        yield f"{_crew(crew)} takes turns, but keeps an order"
    for place, function in enumerate(crew.functions):
        if crew.key is None and crew.places.get(function.name) != place:
            continue  # it has been registered again since, or has been given up
        if crew.places.get(function.name) != place:
            yield f"{_crew(crew)}: {_function(function)} is not at place {place}"
        inside = crew.ready.count(place)
        parked = _times(function.parked_high, crew)
        if inside + parked != 1:
            yield (
                f"{_function(function)} and {_crew(crew)}: "
                f"{inside} times ready, {parked} times parked"
            )
        if function.queued and not inside:
            yield f"{_function(function)} has jobs, {_crew(crew)} does not look"


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
                    f"{_peer(peer)} sleeps while {function.queued} jobs wait in "
                    f"{_function(function)}, for which {function.roused} are roused"
                )


# ── words for people ─────────────────────────────────────────────────────────


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


def _job(job: Job) -> str:
    return f"job {job.handle!r} ({STATE_NAMES[job.state]}, {_function(job.function)})"


def _function(function: Function) -> str:
    return f"function {function.name!r}"


def _line(function: Function, priority: int) -> str:
    return f"{PRIORITY_NAMES[priority]} line of {_function(function)}"


def _peer(peer: Peer) -> str:
    return f"peer {peer.number}"


def _crew(crew: Crew) -> str:
    return f"crew of {[function.name for function in crew.functions]}"
