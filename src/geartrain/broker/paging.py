"""Jobs go to the tail of their line, which is only in the store, and come back.

The order of a line is the order of its ids. While some of its jobs are only in the
store, none that is younger may overtake them: what is in memory and younger (jobs
that are not stored, and stored ones once the tail is nearly gone) waits *behind*,
and each claim brings the two together by their ids. Whoever ran once and was lost
is older than all of them, and stands in the head again.
"""

from __future__ import annotations

from geartrain.broker import progress
from geartrain.broker.dispatch import line_up
from geartrain.broker.queues import Fifo
from geartrain.broker.state import State
from geartrain.broker.tables import (
    BEHIND,
    KEPT,
    PAGED,
    POOLING,
    QUEUED,
    STORING,
    UNKEPT,
    WISHED,
    WRITING,
    Job,
    Tail,
)
from geartrain.broker.windows import has_room, look, tail_of


def follow(state: State, job: Job) -> None:
    """Put a job at the end of its line; behind the tail, if there is one."""
    function = job.function
    tails = function.tails
    if tails is None:
        line_up(state, job)
        return
    tail = tails[job.priority]
    behind = tail.behind
    if tail.ready == 0 and tail.coming == 0:
        if behind is None or behind.live == 0:
            line_up(state, job)
            return
    elif job.handle < tail.since:
        # It was on its way to the head before the first of the tail came.
        line_up(state, job)
        return
    stand_behind(tail, job)


def stand_behind(tail: Tail, job: Job) -> None:
    """Wait in memory until the tail has gone before.

    It is younger than all who do already, or was still being stored when they came: then it
    was not answered for before they were asked for, and may come after them.
    """
    if tail.behind is None:
        tail.behind = Fifo()
    tail.behind.push(job)
    job.state = BEHIND
    tail.function.behind += 1


def admit(state: State, job: Job) -> None:
    """A job of the tail comes into the head; whoever is older than it goes first."""
    tail = tail_of(job.function, job.priority)
    behind = tail.behind
    if behind is not None and behind.live:
        handle = job.handle
        while True:
            first = behind.first()
            if first is None:
                break
            assert isinstance(first, Job)
            if first.handle > handle:
                break
            behind.pop()
            job.function.behind -= 1
            line_up(state, first)
    line_up(state, job)


def release(state: State, tail: Tail) -> None:
    """Nobody is waited for any longer: who stands behind goes to the head."""
    behind = tail.behind
    if behind is None:
        return
    while True:
        entry = behind.pop()
        if entry is None:
            return
        assert isinstance(entry, Job)
        tail.function.behind -= 1
        line_up(state, entry)


def changed(state: State, tail: Tail) -> None:
    """A tail has become shorter or longer: go on if it is gone, ask for it if it is wanted."""
    if tail.ready == 0 and tail.coming == 0:
        release(state, tail)
        if tail.function.paged == 0:
            tail.function.keyed = False
    else:
        look(state, tail)


# ── on the way to the store ──────────────────────────────────────────────────


def place(state: State, job: Job) -> None:
    """Decide where a job's row is to be: held for our head, or in the pool, for the tail."""
    if job.when and job.when <= state.wall:
        job.when = 0
    if job.state != STORING:
        # It is in its line, or runs: it was there before somebody asked for it to be kept.
        job.kept = WRITING
        return
    if job.when:
        job.kept = POOLING
        return
    tail = tail_of(job.function, job.priority)
    # Who waits for a job should have it done here, where he hears of it.
    if has_room(state, tail) or (state.rules.shared and job.client is not None):
        tail.mining += 1
        job.kept = WRITING
    else:
        if tail.ready == 0 and tail.coming == 0:
            tail.since = job.handle
        tail.coming += 1
        job.kept = POOLING


def unplace(job: Job) -> Tail | None:
    """It is no longer on its way to the store; call it before its state changes.

    Returns:
        The tail that has changed.
    """
    if job.state != STORING or job.when:
        return None
    if job.kept == WRITING:
        tail = tail_of(job.function, job.priority)
        tail.mining -= 1
        return tail
    if job.kept == POOLING:
        tail = tail_of(job.function, job.priority)
        tail.coming -= 1
        return tail
    return None


def page_out(state: State, job: Job) -> None:
    """Its row is in the store: here it is only counted, or known to those who wait for it."""
    function = job.function
    tail = tail_of(function, job.priority)
    function.storing -= 1
    function.paged += 1
    state.paged += 1
    if job.when:
        tail.dormant += 1
    else:
        tail.ready += 1
    if job.unique:
        function.keyed = True
    if state.rules.shared and job.client is not None:
        # Another server may do it: whoever waits here has it done here as well.
        job.kept = UNKEPT
        job.background = False
        job.when = 0
        follow(state, job)
        changed(state, tail)
        return
    job.state = PAGED
    if job.client is None:
        del state.jobs[job.handle]
        if job.unique:
            progress.forget_unique(state, job)
        state.memory -= job.cost
    else:
        if job.by_workload:
            progress.forget_unique(state, job)
            job.by_workload = False
        state.memory -= len(job.workload)
    job.workload = b""
    changed(state, tail)


def drop(state: State, job: Job) -> None:
    """Nobody waits any longer for a job that is only in the store."""
    del state.jobs[job.handle]
    if job.unique:
        progress.forget_unique(state, job)
    state.memory -= job.cost


def page_in(state: State, job: Job, workload: bytes, away: bool) -> None:
    """The row of a job that somebody waits for was claimed: it may be done."""
    job.workload = workload
    job.away = away
    state.memory += len(workload)
    job.kept = KEPT
    remember(state, job)
    admit(state, job)


def remember(state: State, job: Job) -> None:
    """Have a job that came from the store found by its key, unless somebody has that by now."""
    unique = job.unique
    if not unique:
        return
    function = job.function
    if unique == b"-":
        if not job.workload or job.workload in function.by_workload:
            return
        job.by_workload = True
    elif unique in function.uniques:
        return
    progress.remember_unique(state, job)


def uncount(state: State, tail: Tail, delayed: bool) -> None:
    """One row of a tail is there no more; the caller says what that changes."""
    if delayed:
        if tail.dormant:
            tail.dormant -= 1
            tail.function.paged -= 1
            state.paged -= 1
    elif tail.ready:
        tail.ready -= 1
        tail.function.paged -= 1
        state.paged -= 1


# ── large workloads ──────────────────────────────────────────────────────────


def lighten(state: State, job: Job) -> None:
    """Have a large workload that somebody waits for in the file too, where there is no store.

    The job stays where it stands in memory; its workload leaves it when the row is written,
    and the row goes with the job, or with the last who waits for it.
    """
    if job.kept != UNKEPT or job.by_workload or state.no_room:
        return
    if len(job.workload) > state.rules.big_bytes:
        job.kept = WISHED
        state.adds.append(job)
        state.wishes = True


def unload(state: State, job: Job) -> None:
    """Leave a large workload to the store alone, if that has it.

    One that is the job's key stays: it is looked up by it.
    """
    size = len(job.workload)
    rules = state.rules
    if size <= rules.big_bytes or job.kept != KEPT or job.by_workload:
        return
    if rules.shared and job.client is not None:
        # It goes on for its clients even if another server gets the row.
        return
    policy = job.function.policy
    if rules.spills and policy is not None and policy.dead:
        # The dead set is in memory then.
        return
    state.memory -= size
    if job.state == QUEUED:
        tails = job.function.tails
        if tails is not None:
            tails[job.priority].bytes -= size
    job.workload = b""
    job.away = True
