"""The store answers: jobs that are stored, that are not, and that come back from it.

What the broker wishes of the store it writes down in ``State`` (``adds``, ``ends``,
``retried``); whoever writes to the store takes it from there with ``take_adds`` and
answers here. Nobody does a job before its row is written, unless it was there
before somebody asked for it to be kept.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker import progress
from geartrain.broker.departure import take_out
from geartrain.broker.dispatch import line_up, serve_grabbers
from geartrain.broker.intake import make_function
from geartrain.broker.paging import (
    admit,
    changed,
    follow,
    page_in,
    page_out,
    place,
    release,
    remember,
    uncount,
    unload,
    unplace,
)
from geartrain.broker.state import State
from geartrain.broker.tables import (
    DELAYED,
    FORGOTTEN,
    KEPT,
    PAGED,
    POOLING,
    QUEUED,
    RUNNING,
    STORING,
    UNKEPT,
    WISHED,
    WRITING,
    Job,
)
from geartrain.broker.windows import answered, look, measure, tail_of
from geartrain.broker.wishes import Fetch

#: After so long what was answered for and could not be stored is tried again.
RETRY_SECONDS: Final = 1.0


def take_adds(state: State, most: int, most_bytes: int) -> list[Job]:
    """Take jobs that are to be stored, oldest wish first, as one batch.

    Args:
        most: how many at most.
        most_bytes: of bodies; one job is taken whatever its size.
    """
    taken: list[Job] = []
    size = 0
    at = 0
    adds = state.adds
    while at < len(adds) and len(taken) < most:
        job = adds[at]
        if job.kept == FORGOTTEN:
            # Over before anybody wrote it down.
            at += 1
            redeem(job, job.handle)
            continue
        size += len(job.workload)
        if taken and size > most_bytes:
            break
        at += 1
        if job.kept == WISHED:
            place(state, job)
        taken.append(job)
    del adds[:at]
    return taken


def stored(state: State, job: Job, mine: bool) -> None:
    """The row is written: the job may be done, and its submitters are told.

    Args:
        mine: we hold the row; else it is in the pool, or waits for its time.
    """
    if job.kept == WRITING or job.kept == POOLING:
        tail = unplace(job)
        job.kept = KEPT
        if job.state == STORING:
            if mine and not job.when:
                let_go(state, job)
                if tail is not None:
                    changed(state, tail)
                if job.state != QUEUED or job.function.queued > job.function.roused:
                    # Nobody is on the way to fetch it.
                    unload(state, job)
            else:
                page_out(state, job)
        else:
            _step_aside(state, job)
            if state.rules.spills and not job.background:
                unload(state, job)
    redeem(job, job.handle)


def stored_elsewhere(state: State, job: Job) -> None:
    """Its row was written by an earlier try, and is no longer ours: its submitters are told."""
    redeem(job, job.handle)
    if job.kept == WRITING or job.kept == POOLING:
        tail = unplace(job)
        job.kept = KEPT
        if tail is not None:
            changed(state, tail)


def merged(state: State, job: Job, handle: bytes) -> None:
    """Another job has the key: its handle is the answer, and this one is not kept."""
    redeem(job, handle)
    _unkeep(state, job)


def not_stored(state: State, job: Job, text: bytes) -> None:
    """The row was not written: its submitters are refused."""
    if job.kept == FORGOTTEN:
        # It was done, or cancelled, while that was tried.
        redeem(job, job.handle)
        return
    askers = job.askers
    job.askers = None
    if askers is None and job.kept == POOLING:
        # It was in memory, and went to the store for want of room: back to where it was.
        tail = unplace(job)
        job.kept = UNKEPT
        let_go(state, job)
        if tail is not None:
            changed(state, tail)
        return
    if askers is None and job.kept == WRITING:
        # It was answered for before it was stored: it stays, and is tried again.
        state.keep_later(job, RETRY_SECONDS)
        return
    if askers is not None:
        for asker in askers:
            state.counters.refused += 1
            asker.peer.renege(asker.ticket, b"QUEUE_ERROR", text)
    _unkeep(state, job)


def redeem(job: Job, handle: bytes) -> None:
    askers = job.askers
    job.askers = None
    if askers is not None:
        for asker in askers:
            asker.peer.redeem(asker.ticket, handle)


def _unkeep(state: State, job: Job) -> None:
    """Nobody may rely on it any more but those who wait for it."""
    if job.kept != WRITING and job.kept != WISHED and job.kept != POOLING:
        return
    tail = unplace(job)
    job.kept = UNKEPT
    job.background = False
    if job.client is not None:
        if job.state == STORING:
            let_go(state, job)
    elif job.state != RUNNING:
        take_out(state, job)
        progress.end(state, job)
    if tail is not None:
        changed(state, tail)


def _step_aside(state: State, job: Job) -> None:
    """A job has become a stored one in its line: it may not stay there while we may not do those."""
    if state.fenced and job.state == QUEUED:
        take_out(state, job)
        # It comes again, into a line that holds only what is not stored.
        job.function.line(job.priority).sweep()
        line_up(state, job)


def let_go(state: State, job: Job) -> None:
    """Out of STORING: into its line, or among those that wait for their time."""
    function = job.function
    function.storing -= 1
    if job.when > state.wall:
        job.state = DELAYED
        function.delayed += 1
        job.limit = state.epochs.set(float(job.when), job)
    else:
        follow(state, job)


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
        _step_aside(state, job)
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
        progress.fail(state, job)
        return
    state.fetched += len(workload)
    # Only for the answer: the store has it, should it be wanted again.
    job.workload = workload
    peer.assign(fetch.ticket, job)
    job.workload = b""
