"""The store answers: jobs that are stored, that are not, and that come back from it.

What the broker wishes of the store it writes down in ``State`` (``adds``, ``ends``,
``retried``); whoever writes to the store takes it from there with ``take_adds`` and
answers here. Nobody does a job before its row is written, unless it was there
before somebody asked for it to be kept.
"""

from __future__ import annotations

from geartrain.broker import progress
from geartrain.broker.departure import take_out
from geartrain.broker.dispatch import line_up
from geartrain.broker.intake import make_function
from geartrain.broker.state import State
from geartrain.broker.tables import (
    DELAYED,
    FORGOTTEN,
    KEPT,
    QUEUED,
    STORING,
    UNKEPT,
    WISHED,
    WRITING,
    Job,
)


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
        job.kept = WRITING
        taken.append(job)
    del adds[:at]
    return taken


def stored(state: State, job: Job) -> None:
    """The row is written: the job may be done, and its submitters are told."""
    if job.kept == WRITING:
        job.kept = KEPT
        if job.state == STORING:
            let_go(state, job)
    redeem(job, job.handle)


def stored_elsewhere(state: State, job: Job) -> None:
    """Its row was written by an earlier try, and is no longer ours: its submitters are told."""
    redeem(job, job.handle)
    if job.kept == WRITING:
        job.kept = KEPT


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
    if job.kept != WRITING and job.kept != WISHED:
        return
    job.kept = UNKEPT
    job.background = False
    if job.client is not None:
        if job.state == STORING:
            let_go(state, job)
        return
    if job.state == STORING or job.state == QUEUED:
        take_out(state, job)
        progress.end(state, job)


def let_go(state: State, job: Job) -> None:
    """Out of STORING: into its line, or among those that wait for their time."""
    function = job.function
    function.storing -= 1
    if job.when > state.wall:
        job.state = DELAYED
        function.delayed += 1
        job.limit = state.epochs.set(float(job.when), job)
    else:
        line_up(state, job)


def restore(
    state: State,
    handle: bytes,
    name: bytes,
    unique: bytes,
    workload: bytes,
    priority: int,
    reducer: bytes,
    attempts: int,
) -> bool:
    """A job comes back from the store, ready to be done.

    Returns:
        False when it is here already.
    """
    if handle in state.jobs:
        return False
    function = state.functions.get(name)
    if function is None:
        function = make_function(state, name)
    job = Job(handle, function, unique, workload, priority, True)
    job.kept = KEPT
    job.reducer = reducer
    job.attempts = attempts
    state.memory += job.cost
    state.jobs[handle] = job
    if unique:
        job.by_workload = unique == b"-" and len(workload) > 0
        holder = function.by_workload if job.by_workload else function.uniques
        if (job.by_workload or unique != b"-") and (
            workload if job.by_workload else unique
        ) not in holder:
            progress.remember_unique(state, job)
    if function.paged > 0:
        function.paged -= 1
    line_up(state, job)
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
    line_up(state, job)
    return True


def page(state: State, name: bytes, count: int) -> None:
    """So many jobs of a function are in the store and not in memory."""
    function = state.functions.get(name)
    if function is None:
        if count == 0:
            return
        function = make_function(state, name)
    function.paged = count
