"""Somebody goes, or takes something back: peers, abilities, jobs that are cancelled.

A lost worker's jobs go to the end of their lines and count one attempt more; a
lost client's queued jobs go at once, unless somebody else wants them.

Source: protocol reference, 2.7, 2.8 and 3.4.
"""

from __future__ import annotations

from geartrain.broker import progress
from geartrain.broker.crews import leave_crew, may_change_alone, retire
from geartrain.broker.paging import changed, drop, uncount, unplace
from geartrain.broker.policies import WORKER_LOST
from geartrain.broker.retrying import lose
from geartrain.broker.state import State
from geartrain.broker.tables import (
    BEHIND,
    DELAYED,
    PAGED,
    QUEUED,
    RUNNING,
    STORING,
    UNKEPT,
    Function,
    Job,
    Peer,
)
from geartrain.broker.waking import rest, wake
from geartrain.broker.windows import look, tail_of


def leave(state: State, peer: Peer) -> None:
    """A connection is gone: its jobs go back, its waiting ends."""
    peer.gone = True
    state.peers.pop(peer.number, None)
    _forsake(state, peer)
    for name in peer.abilities:
        state.functions[name].workers -= 1
    peer.abilities.clear()
    for job in list(peer.running.values()):
        lose(state, job, WORKER_LOST)
    waiting = list(peer.waiting)
    peer.waiting.clear()
    for job in waiting:
        detach(state, job, peer)


def _forsake(state: State, peer: Peer) -> None:
    """Take a peer out of its crew, and hand on what it was woken for."""
    was_for = rest(state, peer)
    leave_crew(state, peer)
    if was_for is not None and was_for.queued > was_for.roused:
        wake(state, was_for)


def detach(state: State, job: Job, peer: Peer) -> None:
    """All entries of this peer go; a queued job that nobody wants goes with them."""
    rest_of = [entry for entry in job.entries() if entry is not peer]
    job.client = rest_of[0] if rest_of else None
    job.others = rest_of[1:] if len(rest_of) > 1 else None
    if job.state == PAGED and job.client is None:
        drop(state, job)
        return
    if job.wanted or job.state == RUNNING:
        return
    state.counters.abandoned += 1
    take_out(state, job)
    progress.end(state, job)


def take_out(state: State, job: Job) -> None:
    """Take a job that does not run out of the line it waits in."""
    function = job.function
    if job.state == QUEUED:
        function.line(job.priority).leave(job)
        function.queued -= 1
        tails = function.tails
        if tails is not None:
            tails[job.priority].bytes -= len(job.workload)
            look(state, tails[job.priority])
    elif job.state == DELAYED:
        function.delayed -= 1
        if job.limit is not None:
            state.epochs.cancel(job.limit)
            job.limit = None
    elif job.state == STORING:
        function.storing -= 1
        way = unplace(job)
        if way is not None:
            changed(state, way)
    elif job.state == BEHIND:
        behind = tail_of(function, job.priority).behind
        assert behind is not None
        behind.leave(job)
        function.behind -= 1


def cant_do(state: State, peer: Peer, name: bytes) -> None:
    """One ability goes; a job of it that this peer runs is lost to it."""
    if name not in peer.abilities:
        return
    function = state.functions[name]
    if may_change_alone(state, peer):
        was_for = None if peer.asleep else rest(state, peer)
        retire(state, peer, function)
        del peer.abilities[name]
        function.workers -= 1
        if was_for is not None and was_for.queued > was_for.roused:
            wake(state, was_for)
    else:
        asleep = peer.asleep
        _forsake(state, peer)
        del peer.abilities[name]
        function.workers -= 1
        peer.restless = True
        if asleep:
            peer.asleep = True
            state.restless.append(peer)
    for job in [job for job in peer.running.values() if job.function is function]:
        lose(state, job, WORKER_LOST)


def reset_abilities(state: State, peer: Peer) -> None:
    """All abilities go, and all running jobs with them."""
    asleep = peer.asleep
    _forsake(state, peer)
    for name in peer.abilities:
        state.functions[name].workers -= 1
    peer.abilities.clear()
    peer.patience = 0
    peer.restless = True
    if asleep:
        peer.asleep = True
        state.restless.append(peer)
    for job in list(peer.running.values()):
        lose(state, job, WORKER_LOST)


def cancel(state: State, handle: bytes) -> bool:
    """Cancel a job; its clients hear WORK_FAIL at once.

    A queued job is gone. A running one goes on, but nobody hears of it any more,
    it is not given out again, and its key is free.

    Returns:
        False when there is no such job, or it is only in the store.
    """
    job = state.jobs.get(handle)
    if job is None or job.state == PAGED:
        return False
    state.counters.cancelled += 1
    if job.state != RUNNING:
        take_out(state, job)
        for entry in job.entries():
            entry.work_fail(handle)
        progress.end(state, job)
        return True
    for entry in job.entries():
        entry.work_fail(handle)
        entry.waiting.discard(job)
    job.client = None
    job.others = None
    job.background = False
    if job.unique:
        progress.forget_unique(state, job)
    if job.kept != UNKEPT:
        state.forget(job)
    return True


def cancelled(state: State, handle: bytes, name: bytes, priority: int, delayed: bool) -> None:
    """The row of a job that was only in the store is gone; who waited for it hears WORK_FAIL."""
    state.counters.cancelled += 1
    job = state.jobs.get(handle)
    if job is not None and job.state == PAGED:
        for entry in job.entries():
            entry.work_fail(handle)
        job.kept = UNKEPT
        progress.end(state, job)
    function = state.functions.get(name)
    if function is not None:
        tail = tail_of(function, priority)
        uncount(state, tail, delayed)
        changed(state, tail)


def drop_function(state: State, function: Function) -> bool:
    """Forget a function.

    Returns:
        False when a worker can do it or a job of it is not over.
    """
    if function.workers or function.total:
        return False
    del state.functions[function.name]
    return True
