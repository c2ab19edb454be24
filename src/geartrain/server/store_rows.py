"""What is done for each job on its way to the store and back: compiled, for that reason.

The handle of a job that is to be kept was made from its id (``HandleMaker``), so
its id is read from there and nothing is checked twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from geartrain.broker.broker import Broker
from geartrain.broker.tables import POOLING, Function, Job
from geartrain.server.backlog import NOBODY
from geartrain.stores.ids import MAX_KEY_BYTES, coalescing_key, handle_of
from geartrain.stores.port import Add, Added, AddResult, Ending, Placement, QueueKey, StoredJob

# As ``StoredJob(...)`` and ``Add(...)``, which are functions of Python.
_stored_job: Final = cast(
    "Callable[[tuple[Any, ...]], StoredJob]", partial(tuple.__new__, StoredJob)
)
_ending: Final = cast("Callable[[tuple[Any, ...]], Ending]", partial(tuple.__new__, Ending))
_add: Final = cast("Callable[[tuple[Any, ...]], Add]", partial(tuple.__new__, Add))
_MINE: Final = Placement.MINE
_POOL: Final = Placement.POOL
_STORED: Final = Added.STORED
_NO_HEADERS: Final = StoredJob._field_defaults["headers"]


def rows_of(jobs: list[Job]) -> list[tuple[Job, Add]]:
    """The jobs with what the store is to keep of them."""
    rows: list[tuple[Job, Add]] = []
    keys: dict[tuple[bytes, int], QueueKey] = {}
    function: Function | None = None
    priority = -1
    queue = QueueKey(NOBODY, b"", 0)
    for job in jobs:
        if job.function is not function or job.priority != priority:
            function, priority = job.function, job.priority
            spot = function.name, priority
            found = keys.get(spot)
            if found is None:
                found = keys[spot] = QueueKey(NOBODY, function.name, priority)
            queue = found
        unique = job.unique
        key: bytes | None = None
        if unique:
            if unique != b"-" and len(unique) <= MAX_KEY_BYTES:
                key = unique
            else:
                key = coalescing_key(unique, job.workload)
        placement = _POOL if job.kept == POOLING else _MINE
        row = _stored_job(
            (
                int(job.handle[-16:], 16),
                queue,
                job.workload,
                unique,
                key,
                float(job.when) if job.when else None,
                job.reducer or None,
                job.attempts,
                _NO_HEADERS,
            )
        )
        rows.append((job, _add((row, placement))))
    return rows


def ends_of(jobs: list[Job]) -> list[Ending]:
    """What the store is to forget."""
    return [_ending((int(job.handle[-16:], 16), None, None, "")) for job in jobs]


def answer(
    broker: Broker,
    rows: list[tuple[Job, Add]],
    answers: Sequence[AddResult],
    prefix: bytes,
    shared: bool,
) -> float:
    """Tell the broker what became of each.

    Args:
        answers: the first of these are for the rows.
        prefix: what handles begin with.
        shared: a row that is not ours is another server's.

    Returns:
        When the first of those is due that were stored and wait for their time;
        infinity for none.
    """
    due = math.inf
    for at in range(len(rows)):
        job, (row, placement) = rows[at]
        outcome, id, found = answers[at]
        if outcome is not _STORED:
            broker.merged(job, handle_of(prefix, id))
            continue
        mine = found is _MINE
        if mine or not shared or placement is _POOL:
            broker.stored(job, mine)
        else:
            broker.stored_elsewhere(job)
        run_at = row[5]
        if run_at is not None and run_at < due:
            due = run_at
    return due
