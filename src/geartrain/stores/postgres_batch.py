"""A batch -> the parameters of its statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geartrain.stores import postgres_sql as sql
from geartrain.stores.batch import Plan
from geartrain.stores.port import Add, Ending, Placement, StoredJob
from geartrain.stores.postgres_columns import (
    bools,
    byteas,
    float8s,
    int2s,
    int4s,
    int8s,
    maybe_int4s,
    texts,
)
from geartrain.stores.sql import headers_text, shown_of

#: {(tenant, function): its number}
Numbers = Mapping[tuple[str, bytes], int]


def commit(todo: Plan, numbers: Numbers, died_at: float) -> tuple[sql.Statement, dict[str, Any]]:
    """The statement that carries this out, and its parameters but for the lease."""
    values: dict[str, Any] = {"died_at": died_at}
    if todo.adds:
        values |= _rows([add for _, add in todo.adds], numbers)
    forgotten = [end for end in todo.ends if end.dead is None]
    if forgotten:
        values["ends"] = int8s([end.id for end in forgotten])
    deaths = [end for end in todo.ends if end.dead is not None]
    if deaths:
        values["dead_ids"] = int8s([end.id for end in deaths])
        values["reasons"] = texts([end.dead for end in deaths])
        values["workers"] = texts([end.worker for end in deaths])
        values["dead_attempts"] = maybe_int4s([end.attempts for end in deaths])
    if todo.gives:
        stay = Placement.MINE
        values["gives"] = int8s([give.id for give in todo.gives])
        values["stays"] = bools([g.placement is stay and g.run_at is None for g in todo.gives])
        values["give_times"] = float8s([give.run_at for give in todo.gives])
        values["give_attempts"] = maybe_int4s([give.attempts for give in todo.gives])
    if todo.stillborn:
        values |= _stillborn(todo.stillborn, numbers)
    statement = sql.commit(
        adds=bool(todo.adds),
        ends=bool(forgotten),
        gives=bool(todo.gives),
        deaths=bool(deaths),
        stillborn=bool(todo.stillborn),
    )
    return statement, values


def adding(adds: Sequence[Add], numbers: Numbers) -> tuple[sql.Statement, dict[str, Any]]:
    """The same for adds alone."""
    statement = sql.commit(adds=True, ends=False, gives=False, deaths=False, stillborn=False)
    return statement, _rows(adds, numbers)


def _rows(adds: Sequence[Add], numbers: Numbers) -> dict[str, Any]:
    # In one order at all servers: two batches that wait for each other's keys
    # would otherwise wait for ever.
    adds = sorted(adds, key=_key)
    jobs = [add.job for add in adds]
    mine = Placement.MINE
    return {
        "ids": int8s([job.id for job in jobs]),
        "mine": bools([add.placement is mine and add.job.run_at is None for add in adds]),
        "times": float8s([job.run_at for job in jobs]),
        "fns": int4s([numbers[job.queue[:2]] for job in jobs]),
        "attempts": int4s([job.attempts for job in jobs]),
        "prios": int2s([job.queue.priority for job in jobs]),
        "uniqs": byteas([job.key for job in jobs]),
        "shown": byteas([shown_of(job) for job in jobs]),
        "reducers": byteas([job.reducer for job in jobs]),
        "headers": texts([headers_text(job.headers) for job in jobs]),
        "bodies": byteas([job.body for job in jobs]),
    }


def _key(add: Add) -> bytes:
    return add.job.key or b""


def _stillborn(born: Sequence[tuple[StoredJob, Ending]], numbers: Numbers) -> dict[str, Any]:
    jobs = [
        job if end.attempts is None else job._replace(attempts=end.attempts) for job, end in born
    ]
    return {
        "s_ids": int8s([job.id for job in jobs]),
        "s_fns": int4s([numbers[job.queue[:2]] for job in jobs]),
        "s_attempts": int4s([job.attempts for job in jobs]),
        "s_prios": int2s([job.queue.priority for job in jobs]),
        "s_uniqs": byteas([job.key for job in jobs]),
        "s_shown": byteas([shown_of(job) for job in jobs]),
        "s_reducers": byteas([job.reducer for job in jobs]),
        "s_headers": texts([headers_text(job.headers) for job in jobs]),
        "s_reasons": texts([end.dead for _, end in born]),
        "s_workers": texts([end.worker for _, end in born]),
        "s_bodies": byteas([job.body for job in jobs]),
    }
