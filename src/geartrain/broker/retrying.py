"""An attempt has not led to a result: again, later, or never.

The one place that decides it. Without a policy it is the C server's way: a lost worker
counts against ``job-retries``, and a failure is final. What a policy covers counts
against its attempts; between two of them the job may have to wait; its clients do not
hear of it. A background job that is given up may be buried: into the dead set, where
somebody looks at it and has it done again, or not.

Source: protocol reference, 2.8; ``policies``.
"""

from __future__ import annotations

from geartrain.broker import progress
from geartrain.broker.dispatch import line_up
from geartrain.broker.graveyard import Burial, Surrender
from geartrain.broker.paging import page_out, unload
from geartrain.broker.policies import EXCEPTION, FAIL, TIMEOUT
from geartrain.broker.state import State
from geartrain.broker.tables import DELAYED, FORGOTTEN, KEPT, STORING, UNKEPT, Job, Peer
from geartrain.broker.wishes import Postponement

#: Bytes of an exception's text that are kept with a dead job.
MAX_REASON_BYTES = 500


def finish(state: State, worker: Peer, kind: int, handle: bytes, body: bytes, start: int) -> bool:
    """FAIL or EXCEPTION from a worker: over, unless the function's policy tries again.

    Returns:
        False when this worker does not run such a job, and has not just ended it.
    """
    job = worker.running.get(handle)
    policy = job.function.policy if job is not None else None
    outcome = FAIL if kind == progress.FAIL else EXCEPTION
    if job is None or policy is None or not policy.covers & outcome:
        return progress.finish(state, worker, kind, handle, body, start)
    worker.last_ended = handle
    _take_back(state, job)
    if job.wanted and not policy.gives_up(job.attempts):
        again(state, job, policy.pause(job.attempts, state.chance()))
        return True
    progress.tell(job, kind, body, start)
    reason = b"failed"
    if kind == progress.EXCEPTION:
        reason = b"exception: " + body[start : start + MAX_REASON_BYTES].rstrip()
    state.counters.failed += 1
    if policy.dead and job.background:
        bury(state, job, reason, worker)
    _disown(state, job)
    progress.end(state, job)
    return True


def _disown(state: State, job: Job) -> None:
    """It has not been done here; if another server has its row, it is not over there."""
    if job.kept == KEPT and not job.background and not state.rules.spills:
        job.kept = UNKEPT


def lose(state: State, job: Job, outcome: int) -> None:
    """The worker of a running job is gone, or its time is up.

    Args:
        outcome: WORKER_LOST or TIMEOUT.
    """
    worker = _take_back(state, job)
    if not job.wanted:
        state.counters.abandoned += 1
        _disown(state, job)
        progress.end(state, job)
        return
    policy = job.function.policy
    if policy is not None and policy.covers & outcome:
        if not policy.gives_up(job.attempts):
            again(state, job, policy.pause(job.attempts, state.chance()))
            return
        if policy.dead and job.background:
            bury(state, job, b"timed out" if outcome == TIMEOUT else b"worker lost", worker)
        _surrender(state, job, worker, outcome)
        return
    retries = state.rules.job_retries
    final = outcome == TIMEOUT and state.rules.fail_on_timeout
    if final or (retries >= 0 and job.attempts >= max(1, retries)):
        _surrender(state, job, worker, outcome)
        return
    again(state, job, 0.0)


def _surrender(state: State, job: Job, worker: Peer, outcome: int) -> None:
    """Give a job up that no worker has called failed. Its clients cannot be told why."""
    if outcome == TIMEOUT:
        reason = "its time limit was over"
    elif worker.gone:
        reason = "the worker's connection was lost"
    else:
        reason = "the worker took back that it can do the function"
    surrender(state, job, worker, reason)


def _take_back(state: State, job: Job) -> Peer:
    """A running job comes off its worker's list, with one attempt more; who had it."""
    worker = progress.take_off(state, job)
    job.numerator = 0
    job.denominator = 0
    job.attempts += 1
    return worker


def again(state: State, job: Job, pause: float) -> None:
    """Back to its line, or after a pause; nobody runs it now."""
    state.counters.requeued += 1
    rules = state.rules
    waits_here = (rules.shared and job.client is not None) or (rules.spills and not job.background)
    if pause > 0.0 and job.kept == KEPT and not waits_here:
        _postpone(state, job, pause)
        return
    policy = job.function.policy
    counted = state.rules.job_retries >= 0 or (policy is not None and policy.attempts > 0)
    if counted and job.kept == KEPT:
        # It counts across a restart.
        state.retried.append(job)
        state.wishes = True
    if pause > 0.0:
        job.state = DELAYED
        job.function.delayed += 1
        job.limit = state.epochs.set(state.wall + pause, job)
    else:
        line_up(state, job)
        unload(state, job)


def _postpone(state: State, job: Job, pause: float) -> None:
    """A stored job waits in the store for its next attempt: that survives us, and takes no room.

    Where several servers share the store, any of them does it then; so one that a client
    waits for here waits in memory.
    """
    until = state.wall + pause
    state.postponed.append(Postponement(job.handle, until, job.attempts))
    state.wishes = True
    job.when = int(until) + 1
    job.state = STORING
    job.function.storing += 1
    page_out(state, job)


def surrender(state: State, job: Job, worker: Peer, reason: str) -> None:
    """The server gives a job up, and notes why: WORK_FAIL, which clients hear, has no room for it."""
    name = worker.address + b" " + worker.client_id
    state.surrenders.append(Surrender(job.handle, job.function.name, job.attempts, reason, name))
    progress.fail(state, job)


def bury(state: State, job: Job, reason: bytes, worker: Peer) -> None:
    """Into the dead set with it. ``progress.end`` has to follow.

    Where there is no row yet, the store gets the whole job at once, as a dead one.
    """
    state.counters.died += 1
    burial = Burial(
        job.handle, job.function.name, job.unique, job.priority, job.reducer, job.attempts,
        reason, worker.address + b" " + worker.client_id, state.wall,
    )  # fmt: skip
    if not state.rules.buries:
        burial.body = job.workload
        state.graveyard.add(burial)
        return
    if job.kept == KEPT:
        burial.stored = True
    else:
        burial.body = job.workload
    if job.kept != UNKEPT:
        # The burial says to the store what an end would.
        job.kept = FORGOTTEN
    state.burials.append(burial)
    state.wishes = True
