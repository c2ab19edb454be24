"""What is done for each job on its way to the store and back: compiled, for that reason.

The handle of a job that is to be kept was made from its id (``HandleMaker``), so
its id is read from there and nothing is checked twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.tables import POOLING, Function, Job
from geartrain.server.backlog import NOBODY
from geartrain.stores.ids import MAX_KEY_BYTES, coalescing_key, handle_of
from geartrain.stores.records import (
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
)

_MINE: Final = Placement.MINE
_POOL: Final = Placement.POOL
_STORED: Final = Added.STORED
_NO_QUEUE: Final = QueueKey(NOBODY, b"", 0)


def id_in(job: Job) -> JobId:
    """The id in the handle of a job that is kept."""
    if job.id < 0:
        job.id = int(job.handle[-16:], 16)
    return JobId(job.id)


def rows_of(jobs: list[Job], queues: dict[Function, list[QueueKey]]) -> list[Add]:
    """What the store is to keep of these jobs.

    Args:
        queues: names of queues, by function and priority; those that are missing are made.
    """
    rows: list[Add] = []
    function: Function | None = None
    priority = -1
    queue = _NO_QUEUE
    for job in jobs:
        if job.function is not function or job.priority != priority:
            function, priority = job.function, job.priority
            found = queues.get(function)
            if found is None:
                found = [QueueKey(NOBODY, function.name, n) for n in range(3)]
                queues[function] = found
            queue = found[priority]
        unique = job.unique
        key: bytes | None = None
        if len(unique) > 0:
            if unique != b"-" and len(unique) <= MAX_KEY_BYTES:
                key = unique
            else:
                key = coalescing_key(unique, job.workload)
        row = StoredJob(
            id_in(job),
            queue,
            job.workload,
            unique,
            key,
            float(job.when) if job.when else None,
            job.reducer or None,
            job.attempts,
        )
        rows.append(Add(row, _POOL if job.kept == POOLING else _MINE))
    return rows


def ends_of(jobs: list[Job]) -> list[Ending]:
    """What the store is to forget."""
    return [Ending(id_in(job)) for job in jobs]


def answer(
    broker: Broker,
    jobs: list[Job],
    adds: list[Add],
    answers: Sequence[AddResult],
    prefix: bytes,
    shared: bool,
) -> float:
    """Tell the broker what became of each.

    Args:
        adds: what was to be kept of the jobs.
        answers: the first of these are for them.
        prefix: what handles begin with.
        shared: a row that is not ours is another server's.

    Returns:
        When the first of those is due that were stored and wait for their time;
        infinity for none.
    """
    due = math.inf
    for at in range(len(jobs)):
        job, add, answer = jobs[at], adds[at], answers[at]
        if answer.outcome is not _STORED:
            broker.merged(job, handle_of(prefix, answer.id))
            continue
        mine = answer.placement is _MINE
        if mine or not shared or add.placement is _POOL:
            broker.stored(job, mine)
        else:
            broker.stored_elsewhere(job)
        run_at = add.job.run_at
        if run_at is not None and run_at < due:
            due = run_at
    return due
