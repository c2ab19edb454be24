"""Jobs come back from the store: claimed, counted, fetched, or revived from the dead.

What is claimed is told job by job with ``restore``, and then with ``claimed``; how much
of a line is only in the store, with ``page`` and ``pooled``. Of a job that is here in
part (somebody waits for it, or its commit has not been answered) the rest comes to it.
"""

from __future__ import annotations

from geartrain.broker import progress
from geartrain.broker.dispatch import line_up, serve_grabbers
from geartrain.broker.intake import make_function
from geartrain.broker.keeping import redeem, step_aside
from geartrain.broker.paging import (
    admit,
    changed,
    follow,
    page_in,
    release,
    remember,
    uncount,
    unplace,
)
from geartrain.broker.retrying import surrender
from geartrain.broker.state import State
from geartrain.broker.tables import (
    KEPT,
    PAGED,
    POOLING,
    RUNNING,
    STORING,
    UNKEPT,
    Job,
)
from geartrain.broker.windows import answered, look, measure, tail_of
from geartrain.broker.wishes import Fetch


def restore(
    state: State,
    handle: bytes,
    name: bytes,
    unique: bytes,
    workload: bytes,
    priority: int,
    reducer: bytes,
    attempts: int,
    away: bool,
) -> bool:
    """A job comes back from the store, ready to be done.

    Args:
        away: it is a large one, and its workload has not come with it.

    Returns:
        False when it is here already.
    """
    known = state.jobs.get(handle)
    if known is not None:
        return _reclaim(state, known, workload, away)
    function = state.functions.get(name)
    if function is None:
        function = make_function(state, name)
    job = Job(handle, function, unique, workload, priority, True)
    job.kept = KEPT
    job.reducer = reducer
    job.attempts = attempts
    job.away = away
    state.memory += job.cost
    state.jobs[handle] = job
    remember(state, job)
    uncount(state, tail_of(function, priority), False)
    admit(state, job)
    return True


def revive(state: State, handle: bytes) -> bool:
    """A job of the dead set in memory is to be done again, its attempts forgotten.

    Returns:
        False when it is not there, or another job has its key by now: it stays dead.
    """
    burial = state.graveyard.burials.get(handle)
    if burial is None:
        return False
    function = state.functions.get(burial.function)
    if function is None:
        function = make_function(state, burial.function)
    unique, workload = burial.unique, burial.body
    by_workload = unique == b"-" and len(workload) > 0
    if unique and (workload in function.by_workload if by_workload else unique in function.uniques):
        return False
    state.graveyard.take(handle)
    job = Job(handle, function, unique, workload, burial.priority, True)
    job.reducer = burial.reducer
    state.memory += job.cost
    state.jobs[handle] = job
    if unique and (by_workload or unique != b"-"):
        job.by_workload = by_workload
        progress.remember_unique(state, job)
    follow(state, job)
    return True


def _reclaim(state: State, job: Job, workload: bytes, away: bool) -> bool:
    """A claim brings a job of which something is here."""
    if job.state == PAGED:
        job.when = 0
        uncount(state, tail_of(job.function, job.priority), False)
        page_in(state, job, workload, away)
        return True
    if job.state == STORING and job.kept == POOLING:
        # The claim has overtaken the answer of the commit, and proves it.
        unplace(job)
        job.kept = KEPT
        job.when = 0
        job.function.storing -= 1
        redeem(job, job.handle)
        admit(state, job)
        return True
    if job.kept == UNKEPT:
        # It went on here for those who wait for it; now its row is ours as well.
        uncount(state, tail_of(job.function, job.priority), False)
        job.kept = KEPT
        job.background = True
        step_aside(state, job)
        return True
    if job.state == RUNNING and job.kept == KEPT:
        # Another server had it meanwhile, and has lost it: it must be done, whoever leaves.
        job.background = True
    return False


def claimed(state: State, name: bytes, priority: int, found: int) -> None:
    """A claim has brought so many jobs of a line; each was restored before this is said.

    After one that brought none, though there should be some, nobody asks again until
    the line is counted with ``page``.
    """
    function = state.functions.get(name)
    if function is None:
        return
    tail = tail_of(function, priority)
    measure(state, tail)
    answered(state, tail)
    if found == 0 and tail.ready:
        release(state, tail)
    else:
        tail.asked = False
        changed(state, tail)
    serve_grabbers(state, found > 0)


def page(state: State, name: bytes, priority: int, ready: int, dormant: int) -> None:
    """So many jobs of a line are in the store and not in memory.

    Args:
        ready: those that may be claimed.
        dormant: those that wait for their time.
    """
    function = state.functions.get(name)
    if function is None:
        if ready == 0 and dormant == 0:
            return
        function = make_function(state, name)
    tail = tail_of(function, priority)
    more = ready + dormant - tail.ready - tail.dormant
    function.paged += more
    state.paged += more
    tail.ready = ready
    tail.dormant = dormant
    tail.since = b""
    # Nobody knows of these whether they have keys.
    function.keyed = function.paged > 0
    tail.asked = False
    state.hungry.pop(tail, None)
    answered(state, tail)
    changed(state, tail)


def pooled(state: State, name: bytes, priority: int, count: int, ripe: bool) -> None:
    """So many rows of a line have come to the pool, in time or at somebody's word."""
    function = state.functions.get(name)
    if function is None:
        function = make_function(state, name)
    tail = tail_of(function, priority)
    known = min(count, tail.dormant) if ripe else 0
    tail.dormant -= known
    tail.ready += count
    tail.since = b""
    function.paged += count - known
    state.paged += count - known
    function.keyed = True
    look(state, tail)


def paged_lines(state: State) -> list[tuple[bytes, int]]:
    """Function and priority of each line that has a tail."""
    found: list[tuple[bytes, int]] = []
    for function in state.functions.values():
        if function.tails is not None and function.paged:
            for tail in function.tails:
                if tail.ready or tail.dormant:
                    found.append((function.name, tail.priority))
    return found


def release_all(state: State) -> None:
    """Nothing is claimed any longer: who waits behind the tails goes on."""
    for function in state.functions.values():
        if function.tails is not None:
            for tail in function.tails:
                release(state, tail)


def _hold_back(state: State, job: Job) -> None:
    """A job that was given out, and that its worker does not get."""
    progress.take_off(state, job)
    if job.wanted:
        line_up(state, job)
    else:
        if not state.rules.spills:
            job.kept = UNKEPT
        progress.end(state, job)


def fetched(state: State, fetch: Fetch, workload: bytes | None) -> None:
    """The workload that a worker waits for; None if the store has no such job any more."""
    job, peer = fetch.job, fetch.peer
    if job.worker is not peer or job.state != RUNNING or job.attempts != fetch.attempts:
        # It was lost to this worker; or cancelled, and the worker is to have nothing of it.
        if not peer.gone:
            peer.assign(fetch.ticket, None)
        return
    if job.kept == KEPT and (state.fenced or not job.wanted):
        # Another server may have it by now, or has.
        _hold_back(state, job)
        peer.assign(fetch.ticket, None)
        return
    if workload is None:
        progress.take_off(state, job)
        peer.assign(fetch.ticket, None)
        surrender(state, job, peer, "its workload is not in the queue any more")
        return
    state.fetched += len(workload)
    # Only for the answer: the store has it, should it be wanted again.
    job.workload = workload
    peer.assign(fetch.ticket, job)
    job.workload = b""
