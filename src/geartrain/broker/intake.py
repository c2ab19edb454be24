"""A job comes in: check it, merge it on its unique key, queue it.

The order of the checks is the C server's: the key's length, the function, an
existing job of the same key, the limits. A submission that coalesces passes full
queues, and wakes nobody.

Source: protocol reference, 2.2, 2.6, 2.12 and 2.13.
"""

from __future__ import annotations

from geartrain.broker.dispatch import enqueue
from geartrain.broker.paging import follow
from geartrain.broker.policies import INTERVAL, OFF
from geartrain.broker.progress import remember_unique
from geartrain.broker.state import State
from geartrain.broker.tables import (
    DELAYED,
    JOB_OVERHEAD_BYTES,
    KEPT,
    STORING,
    Function,
    Job,
    Peer,
)
from geartrain.broker.windows import has_room, tail_of


def submit(
    state: State,
    peer: Peer,
    name: bytes,
    unique: bytes,
    workload: bytes,
    priority: int,
    background: bool,
    when: int,
    reducer: bytes,
) -> None:
    """Take a submission; the peer is told ``job_created`` or ``refused``, once.

    Args:
        name: the function's name.
        unique: its key; empty for none, ``-`` for the workload itself.
        when: second since 1970 before which it may not run; 0 or past for now.
        reducer: function that merges the results; empty for none.
    """
    rules = state.rules
    if len(unique) > rules.max_unique_bytes:
        _refuse(state, peer, b"ARGUMENT_TOO_LARGE", b"Unique value too large")
        return
    function = state.functions.get(name)
    if function is None:
        function = find_function(state, peer, name)
        if function is None:
            return
    by_workload = False
    if unique:
        by_workload = unique == b"-" and len(workload) > 0
        twin = function.by_workload.get(workload) if by_workload else function.uniques.get(unique)
        if twin is not None and (by_workload or unique != b"-"):
            state.counters.coalesced += 1
            if background:
                # From here on it must run, whoever leaves.
                twin.background = True
                if (
                    rules.durable
                    and (twin.kept != KEPT or state.fenced)
                    and (function.policy is None or function.policy.durability != OFF)
                ):
                    state.keep(twin, peer)
                    return
            else:
                attach(twin, peer)
            peer.job_created(twin.handle)
            return
    if not rules.accept_new_work:
        _refuse(
            state,
            peer,
            b"QUEUE_ERROR",
            b"The server is shutting down and takes no new jobs; submit to another server",
        )
        return
    if function.limited:
        limit = function.limits[priority]
        if limit > 0 and function.total >= limit:
            _refuse(state, peer, b"QUEUE_ERROR", b"Job queue is full")
            return
    keep = background and rules.durable
    soon = 0.0
    if keep and function.policy is not None:
        if function.policy.durability == OFF:
            keep = False
        elif function.policy.durability == INTERVAL and when <= state.wall:
            # What has no room in memory goes to the store at once, and is answered for then.
            if has_room(state, tail_of(function, priority)):
                soon = function.policy.interval
    if keep:
        state.handles.keep_pace(state.wall)
    cost = len(workload) + len(unique) + len(reducer) + JOB_OVERHEAD_BYTES
    if rules.max_memory_bytes and state.memory + cost > rules.max_memory_bytes:
        _refuse(
            state,
            peer,
            b"QUEUE_ERROR",
            b"The server's memory budget for jobs (max-memory) is used up; submit later",
        )
        return
    job = Job(state.handles.next(state.wall), function, unique, workload, priority, background)
    state.memory += cost
    state.jobs[job.handle] = job
    state.counters.submitted += 1
    if unique and (by_workload or unique != b"-"):
        job.by_workload = by_workload
        remember_unique(state, job)
    if reducer:
        job.reducer = reducer
    if not background:
        job.client = peer
        peer.waiting.add(job)
    if soon > 0.0:
        state.keep_later(job, soon)
    elif keep:
        job.when = when
        job.state = STORING
        function.storing += 1
        state.keep(job, peer)
        return
    # The worker is told first: it can be on its way while the client still reads.
    if when > state.wall:
        job.when = when
        job.state = DELAYED
        function.delayed += 1
        job.limit = state.epochs.set(float(when), job)
    elif function.tails is None:
        enqueue(state, job)
    else:
        follow(state, job)
    peer.job_created(job.handle)


def attach(job: Job, peer: Peer) -> None:
    """One more entry that hears what becomes of the job."""
    if job.client is None:
        job.client = peer
    elif job.others is None:
        job.others = [peer]
    else:
        job.others.append(peer)
    peer.waiting.add(job)


def find_function(state: State, peer: Peer, name: bytes) -> Function | None:
    """The function of this name, made if need be; None when the peer was refused it."""
    function = state.functions.get(name)
    if function is not None:
        return function
    rules = state.rules
    if len(name) > rules.max_function_bytes:
        _refuse(state, peer, b"ARGUMENT_TOO_LARGE", b"Function name too large")
        return None
    if too_many_functions(state):
        _refuse(
            state,
            peer,
            b"QUEUE_ERROR",
            b"The server knows max-functions functions already; drop some that are no longer used",
        )
        return None
    return make_function(state, name)


def too_many_functions(state: State) -> bool:
    """No further function may be made, by whatever way it would come."""
    most = state.rules.max_functions
    return most > 0 and len(state.functions) >= most


def make_function(state: State, name: bytes) -> Function:
    """A new function with the limits that the rules give every function."""
    state.function_serial += 1
    function = Function(name, state.function_serial)
    function.policy = state.rules.policies.of(name)
    default = state.rules.max_jobs_per_function
    if default:
        function.limits = [default, default, default]
        function.limited = True
    state.functions[name] = function
    return function


def _refuse(state: State, peer: Peer, code: bytes, text: bytes) -> None:
    state.counters.refused += 1
    peer.refused(code, text)
