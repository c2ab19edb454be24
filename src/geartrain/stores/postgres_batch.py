"""A batch -> the parameters of its statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from geartrain.stores import postgres_sql as sql
from geartrain.stores.batch import Plan
from geartrain.stores.port import Add, Added, AddResult, Ending, Placement, QueueKey, StoredJob
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

#: Batches to be careful with after a row was found.
FEWEST_CAREFUL: Final = 16
MOST_CAREFUL: Final = 16_384

#: {(tenant, function): its number}
Numbers = Mapping[tuple[str, bytes], int]


def functions(todo: Plan) -> set[tuple[str, bytes]]:
    """Those whose numbers the statement needs."""
    found: set[tuple[str, bytes]] = set()
    last: QueueKey | None = None
    for add in todo.adds:
        queue = add.job.queue
        if queue is not last:
            last = queue
            found.add((queue[0], queue[1]))
    for job, _ in todo.stillborn:
        found.add((job.queue.tenant, job.queue.function))
    return found


def answer(todo: Plan, added: list[int]) -> list[tuple[int, Add]]:
    """Answer the adds that were written; return the others, with their places."""
    written = set(added)
    left = []
    mine, pool, stored = Placement.MINE, Placement.POOL, Added.STORED
    adds, places, answers = todo.adds, todo.places, todo.answers
    for at in range(len(adds)):
        add = adds[at]
        job = add.job
        if job.id in written:
            placement = mine if add.placement is mine and job.run_at is None else pool
            answers[places[at]] = AddResult(stored, job.id, placement)
        else:
            left.append((places[at], add))
    return left


def commit(
    todo: Plan, numbers: Numbers, died_at: float, *, careful: bool = True
) -> tuple[sql.Statement, dict[str, Any]]:
    """The statement that carries this out, and its parameters but for the lease.

    Args:
        careful: rows of the same ids or keys may be there.
    """
    values: dict[str, Any] = {"died_at": died_at}
    shape = None
    if todo.adds:
        shape = _rows(todo.adds, numbers, careful, values)
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
        adds=shape,
        ends=bool(forgotten),
        gives=bool(todo.gives),
        deaths=bool(deaths),
        stillborn=bool(todo.stillborn),
    )
    return statement, values


def adding(adds: list[Add], numbers: Numbers) -> tuple[sql.Statement, dict[str, Any]]:
    """The same for adds alone."""
    values: dict[str, Any] = {}
    shape = _rows(adds, numbers, True, values)
    statement = sql.commit(adds=shape, ends=False, gives=False, deaths=False, stillborn=False)
    return statement, values


def _rows(adds: list[Add], numbers: Numbers, careful: bool, values: dict[str, Any]) -> sql.Shape:
    """Put the adds among the values; what they have in common is put there once."""
    keyed = False
    alike = plain = True
    queue, placement = adds[0].job.queue, adds[0].placement
    for add in adds:
        job = add.job
        key, unique = job.key, job.unique
        if key is not None:
            keyed = True
        odd = job.run_at is not None or job.reducer is not None or job.attempts or job.headers
        if odd or (unique is not key and unique != key and (unique or key is not None)):
            plain = False
        if add.placement is not placement or (job.queue is not queue and job.queue != queue):
            alike = False
    if keyed:
        # In one order at all servers: two batches that wait for each other's keys
        # would otherwise wait for ever.
        adds = sorted(adds, key=_key)
    jobs = [add.job for add in adds]
    values["ids"] = int8s([job.id for job in jobs])
    values["bodies"] = byteas([job.body for job in jobs])
    if keyed:
        values["uniqs"] = byteas([job.key for job in jobs])
    mine = Placement.MINE
    if alike:
        values["fn"] = numbers[queue[0], queue[1]]
        values["prio"] = queue[2]
        values["all_mine"] = placement is mine and adds[0].job.run_at is None
        # Those that wait for their time are nobody's.
        alike = plain or len({job.run_at is None for job in jobs}) == 1
    if not alike:
        values["mine"] = bools([a.placement is mine and a.job.run_at is None for a in adds])
        values["fns"] = int4s([numbers[job.queue[:2]] for job in jobs])
        values["prios"] = int2s([job.queue.priority for job in jobs])
    if not plain:
        values["times"] = float8s([job.run_at for job in jobs])
        values["attempts"] = int4s([job.attempts for job in jobs])
        values["shown"] = byteas([shown_of(job) for job in jobs])
        values["reducers"] = byteas([job.reducer for job in jobs])
        values["headers"] = texts([headers_text(job.headers) for job in jobs])
    return sql.Shape(alike, keyed, plain, careful)


def _key(add: Add) -> bytes:
    return add.job.key or b""


def _stillborn(born: Sequence[tuple[StoredJob, Ending]], numbers: Numbers) -> dict[str, Any]:
    jobs = [job if end.attempts is None else job.but(attempts=end.attempts) for job, end in born]
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


class Care:
    """Whether to look for rows that are there already, when rows are added.

    To look costs every batch; to find one without looking costs its batch twice, and a
    line in the database's log. So after such a clash the next batches are careful, twice
    as many each time, and fewer again when there was no other for as long.
    """

    def __init__(self) -> None:
        self._left = 0
        self._after = FEWEST_CAREFUL
        self._since = 0

    def needed(self) -> bool:
        """For the next batch."""
        if self._left:
            self._left -= 1
            return True
        self._since += 1
        if self._since > self._after > FEWEST_CAREFUL:
            self._since = 0
            self._after //= 2
        return False

    def clash(self) -> None:
        """There was one."""
        self._left, self._since = self._after, 0
        self._after = min(2 * self._after, MOST_CAREFUL)
