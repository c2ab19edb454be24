"""A running job reports, and ends.

Only the peer that runs a job may report on it. Every attached entry gets its own
copy of every report, as the packet's body came; a report on a job that nobody
waits for is taken and goes nowhere.

Source: protocol reference, 2.9.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.state import State
from geartrain.broker.tables import OVER, UNKEPT, Job, Peer

# Kinds of report. The numbers are our own; a front-end has a table.
DATA: Final = 0
WARNING: Final = 1
STATUS: Final = 2
COMPLETE: Final = 3
FAIL: Final = 4
EXCEPTION: Final = 5


def report(state: State, worker: Peer, kind: int, handle: bytes, body: bytes, start: int) -> bool:
    """DATA or WARNING from a worker.

    Returns:
        False when this worker does not run such a job.
    """
    job = worker.running.get(handle)
    if job is None:
        return False
    tell(job, kind, body, start)
    return True


def report_status(
    worker: Peer, handle: bytes, numerator: int, denominator: int, body: bytes, start: int
) -> bool:
    """STATUS from a worker: remembered for GET_STATUS, and passed on unchanged.

    Returns:
        False when this worker does not run such a job.
    """
    job = worker.running.get(handle)
    if job is None:
        return False
    job.numerator = numerator
    job.denominator = denominator
    tell(job, STATUS, body, start)
    return True


def note_status(worker: Peer, handle: bytes, numerator: int, denominator: int) -> bool:
    """STATUS that is remembered for GET_STATUS, and not passed on.

    Returns:
        False when this worker does not run such a job.
    """
    job = worker.running.get(handle)
    if job is None:
        return False
    job.numerator = numerator
    job.denominator = denominator
    return True


def finish(state: State, worker: Peer, kind: int, handle: bytes, body: bytes, start: int) -> bool:
    """COMPLETE, FAIL or EXCEPTION from a worker: the job is over.

    Returns:
        False when this worker does not run such a job, and has not just ended it.
    """
    job = worker.running.get(handle)
    if job is None:
        # Perl workers send WORK_EXCEPTION and then WORK_FAIL, and die when the
        # second is answered with an ERROR.
        return len(handle) > 0 and handle == worker.last_ended
    del worker.running[handle]
    worker.last_ended = handle
    tell(job, kind, body, start)
    if kind == COMPLETE:
        state.counters.completed += 1
    else:
        state.counters.failed += 1
    job.function.running -= 1
    end(state, job)
    return True


def tell(job: Job, kind: int, body: bytes, start: int) -> None:
    """Give a report to every attached entry."""
    client = job.client
    if client is None:
        return
    client.work_update(kind, body, start)
    others = job.others
    if others is not None:
        for other in others:
            other.work_update(kind, body, start)


def fail(state: State, job: Job) -> None:
    """The server gives a job up: attached clients hear WORK_FAIL. The job must be out of its line."""
    for entry in job.entries():
        entry.work_fail(job.handle)
    state.counters.failed += 1
    end(state, job)


def end(state: State, job: Job) -> None:
    """Take a job out of the tables. It must be out of its line and off its worker's list."""
    job.state = OVER
    job.worker = None
    if job.limit is not None:
        state.limits.cancel(job.limit)
        job.limit = None
    del state.jobs[job.handle]
    if job.unique:
        forget_unique(state, job)
    if job.kept != UNKEPT:
        state.forget(job)
    client = job.client
    if client is not None:
        client.waiting.discard(job)
        job.client = None
        others = job.others
        if others is not None:
            for other in others:
                other.waiting.discard(job)
            job.others = None
    state.memory -= job.cost
    # A job that left its line early may lie there until it is swept; its bytes
    # must not, for they are no longer in the budget.
    job.workload = b""


def take_off(state: State, job: Job) -> Peer:
    """A running job comes off its worker's list, and its time limit ends; who had it."""
    worker = job.worker
    assert worker is not None
    worker.running.pop(job.handle, None)
    job.worker = None
    job.function.running -= 1
    if job.limit is not None:
        state.limits.cancel(job.limit)
        job.limit = None
    return worker


def forget_unique(state: State, job: Job) -> None:
    """Free a job's key, so that the next submission with it is a new job."""
    function = job.function
    if job.by_workload:
        if function.by_workload.get(job.workload) is job:
            del function.by_workload[job.workload]
        return
    unique = job.unique
    if function.uniques.get(unique) is not job:
        return
    del function.uniques[unique]
    namesakes = state.namesakes.get(unique)
    if state.holders.get(unique) is job:
        if namesakes is None:
            del state.holders[unique]
            return
        _name, heir = namesakes.popitem()
        state.holders[unique] = heir
    elif namesakes is not None:
        del namesakes[function.name]
    if namesakes is not None and not namesakes:
        del state.namesakes[unique]


def remember_unique(state: State, job: Job) -> None:
    """Note a job's key for coalescing and for GET_STATUS_UNIQUE."""
    function = job.function
    if job.by_workload:
        function.by_workload[job.workload] = job
        return
    unique = job.unique
    function.uniques[unique] = job
    if unique not in state.holders:
        state.holders[unique] = job
        return
    namesakes = state.namesakes.get(unique)
    if namesakes is None:
        namesakes = {}
        state.namesakes[unique] = namesakes
    namesakes[function.name] = job
