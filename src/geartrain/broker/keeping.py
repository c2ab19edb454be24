"""Jobs go to the store: those that are to be written, and what became of each.

What the broker wishes of the store it writes down in ``State`` (``adds``, ``ends``,
``retried``); whoever writes to the store takes it from there with ``take_adds`` and
answers here. Nobody does a job before its row is written, unless it was there
before somebody asked for it to be kept. How jobs come back is in ``returning``.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker import progress
from geartrain.broker.departure import take_out
from geartrain.broker.dispatch import line_up
from geartrain.broker.paging import (
    changed,
    follow,
    page_out,
    place,
    unload,
    unplace,
)
from geartrain.broker.state import State
from geartrain.broker.tables import (
    DELAYED,
    FORGOTTEN,
    KEPT,
    POOLING,
    QUEUED,
    RUNNING,
    STORING,
    UNKEPT,
    WISHED,
    WRITING,
    Job,
)

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
            step_aside(state, job)
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
    asked = job.asker is not None
    if not asked and job.kept == POOLING:
        # It was in memory, and went to the store for want of room: back to where it was.
        tail = unplace(job)
        job.kept = UNKEPT
        let_go(state, job)
        if tail is not None:
            changed(state, tail)
        return
    if not asked and job.kept == WRITING:
        # It was answered for before it was stored: it stays, and is tried again.
        state.keep_later(job, RETRY_SECONDS)
        return
    for asker in job.take_askers():
        state.counters.refused += 1
        asker.peer.renege(asker.ticket, b"QUEUE_ERROR", text)
    _unkeep(state, job)


def redeem(job: Job, handle: bytes) -> None:
    """Whoever waits for it to be stored is told this handle."""
    asker = job.asker
    if asker is None:
        return
    job.asker = None
    asker.peer.redeem(asker.ticket, handle)
    others = job.askers
    if others is not None:
        job.askers = None
        for other in others:
            other.peer.redeem(other.ticket, handle)


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


def step_aside(state: State, job: Job) -> None:
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
