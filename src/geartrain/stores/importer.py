"""Takes over the queue of a C gearmand: its SQLite or PostgreSQL table, into a store.

The old table is read and not changed. What may look odd in it::

    data NULL            an empty workload (the C server cannot start again with one)
    unique_key ''        no unique; the table holds one such job per function at most
    unique_key '-'       the workload is the key
    when_to_run 0        now
    no when_to_run       a table made by an old version

Handles, attempts and reducers are not in these tables: the C server does not
store them. Rows that make no sense are left out and listed, each with its reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from geartrain.stores.ids import JobIds, coalescing_key
from geartrain.stores.port import (
    Add,
    Added,
    Placement,
    QueueKey,
    QueueStore,
    StoredJob,
    StoreRefused,
)
from geartrain.stores.url import StoreUrl
from geartrain.terms import HIGH, LOW, NORMAL

#: Names of the tables unless they were changed (``--libsqlite3-table``, ``--libpq-table``).
SQLITE_TABLE: Final = "gearman_queue"
POSTGRES_TABLE: Final = "queue"

BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 4 << 20


class OldJob(NamedTuple):
    """A row of the C server's table, understood."""

    function: bytes
    unique: bytes
    priority: int
    body: bytes
    #: seconds since 1970
    run_at: float | None


@dataclass(slots=True)
class Imported:
    """What became of the rows."""

    #: Rows read, whatever became of them: ``skip`` for a run that is to go on from here.
    read: int = 0
    stored: int = 0
    #: Jobs whose key was in the store already: one of them will run, as it would have before.
    merged: int = 0
    #: Rows left out, each with its number and the reason.
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.read} rows read: {self.stored} stored, {self.merged} merged with jobs "
            f"that were there, {len(self.faults)} left out"
        )


async def import_queue(
    source: str, store: QueueStore, ids: JobIds, *, tenant: str = "", skip: int = 0
) -> Imported:
    """Read a table and add its jobs to the pool of ``store``, in the table's order.

    Stop the C server first: it knows nothing of this and goes on changing its table.

    Args:
        source: ``sqlite:///old.db?table=gearman_queue`` or
            ``postgresql://host/db?table=queue``.
        store: open; the jobs are durable as it makes them.
        ids: made with the lease of ``store``.
        tenant: whose jobs these are.
        skip: rows to pass over: ``read`` of a run that was broken off.

    Raises:
        StoreRefused: there is no such table to be read.
        StoreError: of the store; ``Imported.read`` is in the error's notes.
    """
    report = Imported()
    batch: list[Add] = []
    size = 0
    pending = 0

    async def flush() -> None:
        nonlocal size, pending
        try:
            done = await store.commit(batch, [], [])
        except Exception as error:
            error.add_note(f"{report.read} rows were taken over before this: skip={report.read}")
            raise
        for answer in done.added:
            if answer.outcome is Added.STORED:
                report.stored += 1
            else:
                report.merged += 1
        report.read += pending
        batch.clear()
        size = pending = 0

    async for number, row in _numbered(rows_of(source)):
        if number <= skip:
            report.read += 1
            continue
        pending += 1
        job = understand(row)
        if isinstance(job, str):
            report.faults.append(f"row {number}: {job}")
            continue
        if len(job.body) > store.traits.max_body:
            report.faults.append(
                f"row {number}: {len(job.body)} bytes, the store takes {store.traits.max_body}"
            )
            continue
        if batch and size + len(job.body) > BATCH_BYTES:
            pending -= 1
            await flush()
            pending = 1
        batch.append(Add(_stored(job, ids, tenant), Placement.POOL))
        size += len(job.body)
        if len(batch) >= BATCH_ROWS:
            await flush()
    await flush()
    return report


def _stored(job: OldJob, ids: JobIds, tenant: str) -> StoredJob:
    key = coalescing_key(job.unique, job.body)
    queue = QueueKey(tenant, job.function, job.priority)
    return StoredJob(ids.next(), queue, job.body, job.unique, key, job.run_at)


def understand(row: tuple[Any, ...]) -> OldJob | str:
    """A row as it came -> a job, or what is wrong with it.

    Args:
        row: unique_key, function_name, priority, data, when_to_run.
    """
    unique, function, priority, body, when = row
    if not isinstance(function, bytes):
        return f"function_name is {function!r}"
    if not isinstance(unique, bytes | None):
        return f"unique_key is {unique!r}"
    if not isinstance(body, bytes | None):
        return f"data is {body!r}"
    if priority not in (HIGH, NORMAL, LOW):
        return f"priority is {priority!r}: want 0 (high), 1 (normal) or 2 (low)"
    if not isinstance(when, int | None):
        return f"when_to_run is {when!r}: want seconds since 1970"
    run_at = float(when) if when and when > 0 else None
    return OldJob(function, unique or b"", priority, body or b"", run_at)


async def _numbered(
    rows: AsyncIterator[tuple[Any, ...]],
) -> AsyncIterator[tuple[int, tuple[Any, ...]]]:
    number = 0
    async for row in rows:
        number += 1
        yield number, row


async def rows_of(source: str) -> AsyncIterator[tuple[Any, ...]]:
    """Rows of a C server's table: unique_key, function_name, priority, data, when_to_run.

    Raises:
        StoreRefused: not a URL of these two kinds, or no such table.
    """
    url = StoreUrl.parse(source)
    if url.scheme == "sqlite":
        url.only("table")
        path = Path(url.netloc + url.path)
        for row in _sqlite_rows(path, url.options.get("table", SQLITE_TABLE)):
            yield row
    elif url.scheme in ("postgresql", "postgres"):
        async for row in _postgres_rows(url):
            yield row
    else:
        raise StoreRefused(
            f"cannot import {url.scheme}://; want sqlite:///old.db?table={SQLITE_TABLE} or "
            f"postgresql://host/db?table={POSTGRES_TABLE}"
        )


def _sqlite_rows(path: Path, table: str) -> Iterable[tuple[Any, ...]]:
    if not path.is_file():
        raise StoreRefused(f"{path}: there is no such file")
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    # Function names and uniques are bytes to us; the C server stores them unchecked.
    db.text_factory = bytes
    try:
        columns = {name for _, name, *_ in db.execute(f"PRAGMA table_info({_quoted(table)})")}
        if not columns:
            raise StoreRefused(f"{path}: no table {table}; name it with ?table=")
        _check_columns(str(path), table, {name.decode() for name in columns})
        when = "when_to_run" if b"when_to_run" in columns else "0"
        yield from db.execute(
            f"SELECT unique_key, function_name, priority, data, {when} FROM {_quoted(table)}"  # noqa: S608
            " ORDER BY rowid"
        )
    except sqlite3.Error as error:
        raise StoreRefused(f"{path}: {error}") from error
    finally:
        db.close()


async def _postgres_rows(url: StoreUrl) -> AsyncIterator[tuple[Any, ...]]:
    try:
        import psycopg
    except ImportError as error:
        raise StoreRefused("needs psycopg: pip install 'geartrain[postgres]'") from error
    theirs = {name: value for name, value in url.options.items() if name != "table"}
    table = url.options.get("table", POSTGRES_TABLE)
    conninfo = f"postgresql://{url.netloc}{quote(url.path)}?{urlencode(theirs, quote_via=quote)}"
    try:
        async with await psycopg.AsyncConnection.connect(conninfo) as db:
            found = await db.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table]
            )
            columns = {name for (name,) in await found.fetchall()}
            if not columns:
                raise StoreRefused(f"{url.text}: no table {table}; name it with ?table=")
            _check_columns(url.text, table, columns)
            when = "when_to_run" if "when_to_run" in columns else "0"
            # Bytes as they are stored, whatever encoding the database believes in.
            texts = [
                f"convert_to({column}, getdatabaseencoding()::name)"
                for column in ("unique_key", "function_name")
            ]
            async with db.cursor("geartrain_import", binary=True) as cursor:
                statement = (
                    f"SELECT {', '.join(texts)}, priority, data, {when} FROM {_quoted(table)}"  # noqa: S608
                )
                await cursor.execute(statement.encode())
                async for row in cursor:
                    yield row
    except psycopg.Error as error:
        raise StoreRefused(f"{url.text}: {' '.join(str(error).split())}") from error


def _check_columns(where: str, table: str, columns: set[str]) -> None:
    missing = {"unique_key", "function_name", "priority", "data"} - columns
    if missing:
        raise StoreRefused(
            f"{where}: table {table} is no queue of a C gearmand: it has no "
            f"{', '.join(sorted(missing))}"
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
