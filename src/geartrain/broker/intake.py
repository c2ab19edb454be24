"""A job comes in: check it, merge it on its unique key, queue it.

The order of the checks is the C server's: the key's length, the function, an
existing job of the same key, the limits. A submission that coalesces passes full
queues, and wakes nobody.

Source: protocol reference, 2.2, 2.6, 2.12 and 2.13.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.budget import admits, refusal
from geartrain.broker.dispatch import enqueue
from geartrain.broker.paging import follow, lighten
from geartrain.broker.policies import INTERVAL, OFF, Policies
from geartrain.broker.progress import remember_unique
from geartrain.broker.state import State
from geartrain.broker.tables import (
    DELAYED,
    JOB_OVERHEAD_BYTES,
    KEPT,
    PAGED,
    STORING,
    UNKEPT,
    Function,
    Job,
    Peer,
)
from geartrain.broker.windows import has_room, tail_of
from geartrain.broker.wishes import Ask

#: The answer to a submission goes where it is made.
NO_TICKET: Final = -1


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
    ticket: int = NO_TICKET,
) -> None:
    """Take a submission; the peer is told ``job_created`` or ``refused``, once.

    Args:
        name: the function's name.
        unique: its key; empty for none, ``-`` for the workload itself.
        when: second since 1970 before which it may not run; 0 or past for now.
        reducer: function that merges the results; empty for none.
        ticket: the answer was promised, because the store was asked for a twin; it has none.
    """
    rules = state.rules
    if len(unique) > rules.max_unique_bytes:
        _refuse(state, peer, ticket, b"ARGUMENT_TOO_LARGE", b"Unique value too large")
        return
    function = state.functions.get(name)
    if function is None:
        function = find_function(state, peer, name, ticket)
        if function is None:
            return
    by_workload = False
    if unique:
        by_workload = unique == b"-" and len(workload) > 0
        twin = function.by_workload.get(workload) if by_workload else function.uniques.get(unique)
        if twin is not None and (by_workload or unique != b"-"):
            keep = (
                background
                and rules.durable
                and not rules.spills
                and (twin.kept != KEPT or state.fenced)
                and (function.policy is None or function.policy.durability != OFF)
            )
            if keep and state.no_room and twin.kept == UNKEPT:
                _refuse(state, peer, ticket, b"QUEUE_FULL", state.no_room)
                return
            state.counters.coalesced += 1
            if background:
                # From here on it must run, whoever leaves.
                twin.background = True
                if keep:
                    state.keep(twin, peer)
                    return
            else:
                attach(twin, peer)
            if ticket == NO_TICKET:
                peer.job_created(twin.handle)
            else:
                peer.redeem(ticket, twin.handle)
            return
        if (
            ticket == NO_TICKET
            and not background
            and function.keyed
            and not rules.shared  # a job of the pool may be done where its end is not heard
            and (by_workload or unique != b"-")
        ):
            ask = Ask(peer, peer.promise(), name, unique, workload, priority, reducer)
            state.asks.append(ask)
            state.wishes = True
            return
    if not rules.accept_new_work:
        _refuse(
            state,
            peer,
            ticket,
            b"QUEUE_ERROR",
            b"The server is shutting down and takes no new jobs; submit to another server",
        )
        return
    if function.limited:
        limit = function.limits[priority]
        if limit > 0 and function.total >= limit:
            _refuse(state, peer, ticket, b"QUEUE_ERROR", b"Job queue is full")
            return
    keep = background and rules.durable
    if (
        keep
        and rules.spills
        and when <= state.wall
        and has_room(state, tail_of(function, priority))
    ):
        # It belongs to the head of its line, and need not survive anything.
        keep = False
    soon = 0.0
    if keep and function.policy is not None and not rules.spills:
        if function.policy.durability == OFF:
            keep = False
        elif function.policy.durability == INTERVAL and when <= state.wall:
            # What has no room in memory goes to the store at once, and is answered for then.
            if has_room(state, tail_of(function, priority)):
                soon = function.policy.interval
    if keep:
        if state.no_room:
            _refuse(state, peer, ticket, b"QUEUE_FULL", state.no_room)
            return
        state.handles.keep_pace(state.wall)
    cost = len(workload) + len(unique) + len(reducer) + JOB_OVERHEAD_BYTES
    if rules.max_memory_bytes and not admits(state, peer, cost):
        _refuse(state, peer, ticket, b"QUEUE_FULL", refusal(state))
        return
    handles = state.handles
    job = Job(handles.next(state.wall), function, unique, workload, priority, background)
    job.id = handles.id
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
        if rules.spills and rules.durable:
            lighten(state, job)
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
    if ticket == NO_TICKET:
        peer.job_created(job.handle)
    else:
        peer.redeem(ticket, job.handle)


def attach(job: Job, peer: Peer) -> None:
    """One more entry that hears what becomes of the job."""
    if job.client is None:
        job.client = peer
    elif job.others is None:
        job.others = [peer]
    else:
        job.others.append(peer)
    peer.waiting.add(job)


def find_function(
    state: State, peer: Peer, name: bytes, ticket: int = NO_TICKET
) -> Function | None:
    """The function of this name, made if need be; None when the peer was refused it."""
    function = state.functions.get(name)
    if function is not None:
        return function
    rules = state.rules
    if len(name) > rules.max_function_bytes:
        _refuse(state, peer, ticket, b"ARGUMENT_TOO_LARGE", b"Function name too large")
        return None
    if too_many_functions(state):
        _refuse(
            state,
            peer,
            ticket,
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


def decide_anew(state: State, policies: Policies) -> bytes:
    """These policies from now on: for what is submitted, and for attempts that end.

    Jobs that were answered for are kept as it was said then.

    Returns:
        The function that stands in the way, and then nothing has changed; empty for none. Where
        there is no store the dead set is in memory, and takes no job whose workload is not.
    """
    if state.rules.spills:
        away = {job.function.name for job in state.jobs.values() if job.away}
        for function in state.functions.values():
            old, new = function.policy, policies.of(function.name)
            begins = new is not None and new.dead and (old is None or not old.dead)
            if begins and (function.paged or function.name in away):
                return function.name
    state.rules.policies = policies
    for function in state.functions.values():
        function.policy = policies.of(function.name)
    return b""


def _refuse(state: State, peer: Peer, ticket: int, code: bytes, text: bytes) -> None:
    state.counters.refused += 1
    if ticket == NO_TICKET:
        peer.refused(code, text)
    else:
        peer.renege(ticket, code, text)


def found(state: State, ask: Ask, handle: bytes, priority: int) -> None:
    """The store was asked for a twin: its handle and priority; empty if there is none.

    Who waits for a job that is only in the store is known here from now on, and nothing
    else of it.
    """
    peer = ask.peer
    if peer.gone:
        return
    job = state.jobs.get(handle) if handle else None
    function = state.functions.get(ask.function)
    if handle and job is None and function is not None and function.paged:
        job = Job(handle, function, ask.unique, b"", priority, True)
        job.state = PAGED
        job.kept = KEPT
        state.jobs[handle] = job
        state.memory += job.cost
        if ask.unique != b"-" and ask.unique not in function.uniques:
            remember_unique(state, job)
    if job is None or not job.wanted:
        submit(
            state, peer, ask.function, ask.unique, ask.workload, ask.priority, False, 0,
            ask.reducer, ask.ticket,
        )  # fmt: skip
        return
    state.counters.coalesced += 1
    attach(job, peer)
    peer.redeem(ask.ticket, handle)
