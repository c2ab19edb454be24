"""The right to stored jobs, where several servers share them: it ends unless it is prolonged.

A server holds its stored jobs under a lease. Up to the end of its *tenure*, which
lies before the lease's own, no other server can have them. After it another may, so
from then on none is handed out: those that wait step *aside*, out of their lines,
where no worker looks; and nobody is told that his job is one of them. Jobs that are
not stored go on as if nothing had happened. When the tenure is prolonged they come
back, in their order; those that another server has by then are forgotten here.

The tenure is looked at once a turn, by the clock of that turn.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker import progress
from geartrain.broker.departure import take_out
from geartrain.broker.dispatch import line_up
from geartrain.broker.keeping import let_go, redeem
from geartrain.broker.queues import Entry
from geartrain.broker.state import FOR_EVER, State
from geartrain.broker.tables import (
    FORGOTTEN,
    KEPT,
    RUNNING,
    STORING,
    UNKEPT,
    WISHED,
    Job,
)
from geartrain.broker.windows import look_all

GONE: Final = b"Another server has the job that this one has the key of; submit it again"


def fence(state: State) -> None:
    """The tenure is over: stored jobs step aside until ``unfence``."""
    state.tenure = FOR_EVER
    if state.fenced:
        return
    state.fenced = True
    aside = state.aside
    for function in state.functions.values():
        for line in (function.high, function.normal, function.low):
            if not line.live:
                continue
            stay: list[Entry] = []
            for entry in line.waiting():
                assert isinstance(entry, Job)
                if entry.kept != KEPT:
                    stay.append(entry)
                else:
                    function.queued -= 1
                    if function.tails is not None:
                        function.tails[entry.priority].bytes -= len(entry.workload)
                    function.storing += 1
                    entry.state = STORING
                    aside.append(entry)
            line.keep(stay)


def unfence(state: State, until: float) -> None:
    """The tenure goes on: stored jobs may be handed out up to ``until``, on the steady clock."""
    state.tenure = until
    if not state.fenced:
        return
    state.fenced = False
    aside, state.aside = state.aside, []
    for job in aside:
        if job.state == STORING and job.kept == KEPT:
            # Older than what is only in the store, so not behind that.
            job.function.storing -= 1
            line_up(state, job)
    if state.paged:
        # Of what was here another server may have all by now.
        for function in state.functions.values():
            look_all(state, function)
    doubted, state.doubted = state.doubted, []
    for job in doubted:
        if job.kept == KEPT or job.kept == FORGOTTEN:
            redeem(job, job.handle)


def refuse_doubted(state: State, text: bytes) -> None:
    """It has taken too long to know: who joined a stored job since the fence is refused."""
    doubted, state.doubted = state.doubted, []
    for job in doubted:
        if job.kept == KEPT or job.kept == FORGOTTEN:
            _refuse(state, job, text)


def _refuse(state: State, job: Job, text: bytes) -> None:
    for asker in job.take_askers():
        state.counters.refused += 1
        asker.peer.renege(asker.ticket, b"QUEUE_ERROR", text)


def elsewhere(state: State, job: Job) -> None:
    """Another server has this stored job by now, or has done it.

    What runs here goes on: its result is passed on, but it is not given out again.
    Who waits for it here gets it done here. Who joined it in the background and has
    not been answered is owed a row: it is stored again.
    """
    if job.kept != KEPT:
        return
    if job.asker is not None:
        if not job.away:
            job.kept = WISHED
            state.adds.append(job)
            state.wishes = True
            return
        # The store alone has its workload, if anybody has.
        _refuse(state, job, GONE)
    job.background = False
    if job.state == RUNNING:
        # A twin of it would be answered with a job that may be over elsewhere.
        if job.unique:
            progress.forget_unique(state, job)
        return
    job.kept = UNKEPT
    if job.client is not None:
        if job.state == STORING:
            let_go(state, job)
        return
    take_out(state, job)
    progress.end(state, job)
