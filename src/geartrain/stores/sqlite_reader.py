"""Everything that only reads a SQLite store, as plain functions on a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Sequence
from typing import Any, Final

from geartrain.stores.port import DeadJob, JobFacts, JobId, QueueKey, StoredJob, Where
from geartrain.stores.sql import headers_of, unique_of

_CLAIM: Final = (
    "SELECT id, attempts, uniq, shown, reducer, headers, length(body),"
    " CASE WHEN length(body) <= ? THEN body END FROM job INDEXED BY job_ready"
    " WHERE fn = ? AND prio = ? AND run_at IS NULL AND id > ? AND id < ? ORDER BY id"
)
_FACTS: Final = (
    "SELECT job.id, tenant, name, prio, uniq, shown, length(body), run_at, attempts"
    " FROM job JOIN function ON function.no = job.fn"
)
_DEAD: Final = (
    "SELECT dead.id, tenant, name, prio, attempts, uniq, shown, reducer, headers, reason, worker,"
    " died, length(body), {body} FROM dead JOIN function ON function.no = dead.fn"
)
_ANY: Final = (1 << 62) - 1


def ready_rows(
    db: sqlite3.Connection,
    key: QueueKey,
    queue: int,
    after: int,
    before: int,
    mine: Container[JobId],
    limit: int,
    max_bytes: int,
    max_body: int | None,
) -> tuple[list[StoredJob], bool]:
    """Rows of a queue that are not mine, oldest first; and whether these are as many as may be."""
    found: list[StoredJob] = []
    room = max_bytes
    largest = _ANY if max_body is None else max_body
    rows = db.execute(_CLAIM, [largest, queue >> 2, queue & 3, after, before])
    try:
        for id, attempts, uniq, shown, reducer, headers, size, body in rows:
            if id in mine:
                continue
            if body is not None:
                if found and size > room:
                    return found, True
                room -= size
            unique = (uniq or b"") if shown is None else shown
            found.append(
                StoredJob(id, key, body, unique, uniq, None, reducer, attempts, headers_of(headers))
            )
            if len(found) == limit:
                return found, True
        return found, False
    finally:
        rows.close()


def bodies(db: sqlite3.Connection, ids: Sequence[JobId]) -> dict[JobId, bytes]:
    """Bodies of those rows that are there."""
    found = {}
    for id in ids:
        row = db.execute("SELECT body FROM job WHERE id = ?", [id]).fetchone()
        if row is not None:
            found[id] = row[0]
    return found


def present(db: sqlite3.Connection, ids: Sequence[JobId]) -> Iterator[tuple[JobId, int]]:
    """Those of ``ids`` that are ready rows, with their queues; what is in the log is not."""
    for id in ids:
        row = db.execute(
            "SELECT fn, prio FROM job WHERE id = ? AND run_at IS NULL", [id]
        ).fetchone()
        if row is not None:
            yield id, row[0] << 2 | row[1]


def find(
    db: sqlite3.Connection,
    tenant: str,
    id: JobId | None,
    key: tuple[bytes, bytes] | None,
    mine: Container[JobId],
    server: str,
) -> JobFacts | None:
    """One row, by id or by (function, key)."""
    values: tuple[object, ...]
    if key is not None:
        where, values = "tenant = ? AND name = ? AND uniq = ?", (tenant, *key)
    else:
        where, values = "tenant = ? AND job.id = ?", (tenant, id)
    row = db.execute(f"{_FACTS} WHERE {where}", values).fetchone()
    return None if row is None else _facts(row, mine, server)


def holders(
    db: sqlite3.Connection, tenant: str, key: bytes, mine: Container[JobId], server: str
) -> list[JobFacts]:
    """The rows with this key; one look into the index for each function."""
    rows = db.execute(f"{_FACTS} WHERE tenant = ? AND uniq = ?", (tenant, key))
    return [_facts(row, mine, server) for row in rows]


def scan(
    db: sqlite3.Connection,
    tenant: str | None,
    after: JobId,
    limit: int,
    function: bytes | None,
    mine: Container[JobId],
    server: str,
) -> list[JobFacts]:
    """A page of rows, by id."""
    rows = db.execute(
        f"{_FACTS} WHERE job.id > :after AND (:tenant IS NULL OR tenant = :tenant)"
        " AND (:function IS NULL OR name = :function) ORDER BY job.id LIMIT :limit",
        {"after": after, "tenant": tenant, "function": function, "limit": limit},
    )
    return [_facts(row, mine, server) for row in rows]


def _facts(row: tuple[Any, ...], mine: Container[JobId], server: str) -> JobFacts:
    id, tenant, name, prio, uniq, shown, size, run_at, attempts = row
    if run_at is not None:
        where = Where.DELAYED
    else:
        where = Where.MINE if id in mine else Where.POOL
    holder = server if where is Where.MINE else ""
    queue = QueueKey(tenant, name, prio)
    return JobFacts(id, queue, unique_of(uniq, shown), size, run_at, attempts, where, holder)


def dead_list(
    db: sqlite3.Connection,
    tenant: str | None,
    after: JobId,
    limit: int,
    function: bytes | None,
    with_bodies: bool,
) -> list[DeadJob]:
    """A page of the dead set, by id."""
    select = _DEAD.format(body="body" if with_bodies else "NULL")
    rows = db.execute(
        f"{select} WHERE dead.id > :after AND (:tenant IS NULL OR tenant = :tenant)"
        " AND (:function IS NULL OR name = :function) ORDER BY dead.id LIMIT :limit",
        {"after": after, "tenant": tenant, "function": function, "limit": limit},
    )
    return [_dead(row) for row in rows]


def dead_show(db: sqlite3.Connection, id: JobId) -> DeadJob | None:
    """One of the dead."""
    row = db.execute(f"{_DEAD.format(body='body')} WHERE dead.id = ?", [id]).fetchone()
    return None if row is None else _dead(row)


def _dead(row: tuple[Any, ...]) -> DeadJob:
    id, tenant, name, prio, attempts, uniq, shown, reducer, headers, reason, worker = row[:11]
    died, size, body = row[11:]
    queue = QueueKey(tenant, name, prio)
    unique = unique_of(uniq, shown)
    job = StoredJob(id, queue, body, unique, uniq, None, reducer, attempts, headers_of(headers))
    return DeadJob(job, size, reason, worker, died)
