"""What must hold of jobs: where they stand, what is counted of them, who waits for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from geartrain.broker.invariant_words import function_text, job_text, line_text, peer_text
from geartrain.broker.queues import Alarm, AlarmClock
from geartrain.broker.state import State
from geartrain.broker.tables import (
    BEHIND,
    DELAYED,
    KEPT,
    OVER,
    PAGED,
    POOLING,
    QUEUED,
    RUNNING,
    STORING,
    UNKEPT,
    WISHED,
    WRITING,
    Job,
    Peer,
)
from geartrain.broker.windows import window
from geartrain.terms import HIGH, LOW, NORMAL

PRIORITIES = (HIGH, NORMAL, LOW)


def job_faults(state: State) -> Iterator[str]:
    """Everything that does not agree about jobs, a sentence each."""
    yield from _jobs(state)
    yield from _lines(state)
    yield from _tails(state)
    yield from _wishes(state)
    yield from _counters(state)
    yield from _keys(state)
    yield from _attachments(state)
    yield from _alarms(state)


def _jobs(state: State) -> Iterator[str]:
    """Every job is known by its handle, wanted by somebody, and where its state says."""
    runs_it: dict[bytes, list[Peer]] = {}
    for peer in state.peers.values():
        for handle, job in peer.running.items():
            runs_it.setdefault(handle, []).append(peer)
            if state.jobs.get(handle) is not job:
                yield f"{peer_text(peer)} runs {job_text(job)}, which is not in the table of jobs"
    for handle, job in state.jobs.items():
        if job.handle != handle:
            yield f"{job_text(job)} is in the table of jobs as {handle!r}"
        if state.functions.get(job.function.name) is not job.function:
            yield f"{job_text(job)} is of a function that is not in the table"
        workers = runs_it.get(handle, [])
        if job.state == RUNNING:
            if len(workers) != 1 or workers[0] is not job.worker:
                yield f"{job_text(job)} is run by {[w.number for w in workers]}, it thinks otherwise"
            if job.waiting:
                yield f"{job_text(job)} waits in a line while it runs"
            continue
        if workers or job.worker is not None:
            yield f"{job_text(job)} does not run, but has a worker"
        if job.state == OVER:
            yield f"{job_text(job)} is over, but still in the table of jobs"
        if not job.wanted:
            yield f"{job_text(job)} waits although nobody wants it"
        if job.waiting != (job.state in (QUEUED, BEHIND)):
            yield f"{job_text(job)} {'waits' if job.waiting else 'does not wait'} in a line"


def _lines(state: State) -> Iterator[str]:
    """A queued job stands in its line once; nothing else does."""
    seen: Counter[bytes] = Counter()
    for function in state.functions.values():
        for priority in PRIORITIES:
            line = function.line(priority)
            waiting = line.waiting()
            if len(waiting) != line.live:
                yield f"{line_text(function, priority)}: live = {line.live}, in line {len(waiting)}"
            for entry in waiting:
                if not isinstance(entry, Job):
                    yield f"{line_text(function, priority)} holds {entry!r}, which is no job"
                    continue
                seen[entry.handle] += 1
                if entry.state != QUEUED or state.jobs.get(entry.handle) is not entry:
                    yield f"{line_text(function, priority)} holds {job_text(entry)}"
                if state.fenced and entry.kept == KEPT:
                    yield f"{line_text(function, priority)} holds {job_text(entry)}, which is fenced"
                if entry.function is not function or entry.priority != priority:
                    yield f"{line_text(function, priority)} holds {job_text(entry)} of another line"
    for job in state.jobs.values():
        if seen[job.handle] != (1 if job.state == QUEUED else 0):
            yield f"{job_text(job)} stands in lines {seen[job.handle]} times"


def _tails(state: State) -> Iterator[str]:
    """What is counted of the tails adds up; who waits behind one has somebody before him."""
    behind: Counter[bytes] = Counter()
    for function in state.functions.values():
        if function.tails is None:
            if function.paged or function.behind:
                yield f"{function_text(function)} has no tails, but {function.paged} paged jobs"
            continue
        paged = 0
        for tail in function.tails:
            name = line_text(function, tail.priority)
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
            if wanted and going and not tail.asked and not state.fenced:
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
            yield f"{function_text(function)}: paged = {function.paged}, its tails say {paged}"
    paged = sum(function.paged for function in state.functions.values())
    if state.paged != paged:
        yield f"paged = {state.paged}, the functions say {paged}"
    for job in state.jobs.values():
        if behind[job.handle] != (1 if job.state == BEHIND else 0):
            yield f"{job_text(job)} stands behind a tail {behind[job.handle]} times"
        if job.state == PAGED and (job.client is None or job.workload or job.kept != KEPT):
            yield f"{job_text(job)} is paged, and more of it is here than those who wait"


def _wishes(state: State) -> Iterator[str]:
    """Whoever waits for the store is written down where somebody will answer."""
    to_write = Counter(job.handle for job in [*state.adds, *state.later] if job.kept == WISHED)
    aside = {job.handle for job in state.aside}
    doubted = {job.handle for job in state.doubted}
    for handle, job in state.jobs.items():
        if to_write[handle] != (1 if job.kept == WISHED else 0):
            yield f"{job_text(job)} is to be written {to_write[handle]} times"
        if job.state == STORING:
            held = job.kept == KEPT and state.fenced and handle in aside
            if not held and job.kept not in (WISHED, WRITING, POOLING):
                yield f"{job_text(job)} is being stored, and nobody does it (kept = {job.kept})"
        if job.asker is not None and job.kept in (UNKEPT, KEPT):
            if handle not in doubted:
                yield f"{job_text(job)} has askers whom nobody answers (kept = {job.kept})"
        if job.askers is not None and job.asker is None:
            yield f"{job_text(job)} has further askers and no first one"
    if (state.aside or state.doubted) and not state.fenced:
        yield f"{len(state.aside)} jobs are aside, {len(state.doubted)} in doubt, without a fence"
    for tail in [*state.hungry, *state.asking]:
        if not tail.asked:
            yield f"{line_text(tail.function, tail.priority)} is hungry, and asked for nothing"
    if len(state.throttled) != len(state.throttled_until):
        yield f"{len(state.throttled)} peers are throttled, {len(state.throttled_until)} times"


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
            yield f"{function_text(function)} is in the table as {name!r}"
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
                yield f"{function_text(function)}: {what} = {counted}, a recount says {recount}"
        if function.limited != any(limit > 0 for limit in function.limits):
            yield f"{function_text(function)}: limited = {function.limited}, {function.limits}"


def _keys(state: State) -> Iterator[str]:
    """A key leads to the one job that has it, and every job with a key is found by it."""
    by_unique: dict[bytes, dict[bytes, Job]] = {}
    for function in state.functions.values():
        for table, by_workload in ((function.uniques, False), (function.by_workload, True)):
            for key, job in table.items():
                if state.jobs.get(job.handle) is not job or job.function is not function:
                    yield f"{function_text(function)}: key {key!r} leads to {job_text(job)}"
                if job.by_workload != by_workload:
                    yield f"{function_text(function)}: {job_text(job)} is in the wrong table of keys"
                if key != (job.workload if by_workload else job.unique):
                    yield f"{function_text(function)}: {job_text(job)} is found by a wrong key {key!r}"
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
            yield f"{job_text(job)} is not found by its key {job.unique!r}"
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
            yield f"{job_text(job)} has further entries, but no first one"
        for entry in job.entries():
            if state.peers.get(entry.number) is not entry:
                yield f"{job_text(job)} would tell {peer_text(entry)}, who has gone"
            attached.setdefault(entry.number, set()).add(job.handle)
    for number, peer in state.peers.items():
        waiting = {job.handle for job in peer.waiting}
        if waiting != attached.get(number, set()):
            yield f"{peer_text(peer)} waits for {waiting}, attached to {attached.get(number)}"


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
            yield f"{job_text(job)} has no alarm"
        if job.state == QUEUED and job.limit is not None:
            yield f"{job_text(job)} waits, but its time runs out"
        if job.state == RUNNING and job.limit is not None and not _is_set(state.limits, job.limit):
            yield f"{job_text(job)} has an alarm that does not ring"


def _is_set(clock: AlarmClock, alarm: Alarm | None) -> bool:
    return alarm is not None and alarm.armed and any(one is alarm for one in clock.heap)
