"""Reads the queue that a C gearmand has left: its table in SQLite or PostgreSQL.

The table is read and not changed. What may look odd in it::

    data NULL            an empty workload (the C server cannot start again with one)
    unique_key ''        no unique; the table holds one such job per function at most
    unique_key '-'       the workload is the key
    when_to_run 0        now
    no when_to_run       a table made by an old version

Handles, attempts and reducers are not in these tables: the C server does not
store them. Rows come in the order in which the C server wrote them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from geartrain.stores.port import StoreRefused
from geartrain.stores.sqlite_file import APPLICATION_ID
from geartrain.stores.url import StoreUrl
from geartrain.terms import HIGH, LOW, NORMAL

#: Names of the tables unless they were changed (``--libsqlite3-table``, ``--libpq-table``).
SQLITE_TABLE: Final = "gearman_queue"
POSTGRES_TABLE: Final = "queue"


class OldJob(NamedTuple):
    """A row of the C server's table, understood."""

    function: bytes
    unique: bytes
    priority: int
    body: bytes
    #: seconds since 1970
    run_at: float | None


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


async def rows_of(source: str) -> AsyncGenerator[tuple[Any, ...]]:
    """Rows of a C server's table: unique_key, function_name, priority, data, when_to_run.

    Raises:
        StoreRefused: not a URL of these two kinds, or no such table.
    """
    url = _url(source)
    if url.scheme == "sqlite":
        for row in _sqlite_rows(url, "unique_key, function_name, priority, data"):
            yield row
    else:
        async with aclosing(_postgres_rows(url, count=False)) as rows:
            async for row in rows:
                yield row


async def count_of(source: str) -> int:
    """How many rows there are.

    Raises:
        StoreRefused: as ``rows_of``.
    """
    url = _url(source)
    if url.scheme == "sqlite":
        return sum(count for (count,) in _sqlite_rows(url, ""))
    return sum([count async for (count,) in _postgres_rows(url, count=True)])


def name_of(source: str) -> str:
    """The table, for people and for telling it from others: no password, the whole path.

    Raises:
        StoreRefused: not a URL of these two kinds.
    """
    url = _url(source)
    if url.scheme == "sqlite":
        return f"sqlite://{_path(url).resolve()}?table={_table(url)}"
    return f"{url.text.partition('?')[0]}?table={_table(url)}"


def _url(source: str) -> StoreUrl:
    if "://" not in source:
        if not Path(source).is_file():
            raise StoreRefused(
                f"{source}: there is no such file; name the C server's, or its database as"
                " postgresql://host/db"
            )
        source = f"sqlite://{quote(str(Path(source).absolute()))}"
    url = StoreUrl.parse(source)
    if url.scheme == "sqlite":
        url.only("table")
    elif url.scheme not in ("postgresql", "postgres"):
        raise StoreRefused(
            f"cannot import {url.scheme}://; want sqlite:///old.db?table={SQLITE_TABLE} or "
            f"postgresql://host/db?table={POSTGRES_TABLE}"
        )
    return url


def _table(url: StoreUrl) -> str:
    return url.options.get("table", SQLITE_TABLE if url.scheme == "sqlite" else POSTGRES_TABLE)


def _path(url: StoreUrl) -> Path:
    return Path(url.netloc + url.path)


def _sqlite_rows(url: StoreUrl, columns: str) -> Iterable[tuple[Any, ...]]:
    """These columns and the time; without columns, how many rows there are."""
    path, table = _path(url), _table(url)
    if not path.is_file():
        raise StoreRefused(f"{path}: there is no such file")
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    # Function names and uniques are bytes to us; the C server stores them unchecked.
    db.text_factory = bytes
    try:
        known = {name for _, name, *_ in db.execute(f"PRAGMA table_info({_quoted(table)})")}
        if not known:
            (kind,) = db.execute("PRAGMA application_id").fetchone()
            if kind == APPLICATION_ID:
                raise StoreRefused(
                    f"{path} is a queue of geartrain's already, and none of a C gearmand; a server"
                    " opens it with --queue"
                )
            raise StoreRefused(f"{path}: no table {table}; name it with ?table=")
        _check_columns(str(path), table, {name.decode() for name in known})
        if not columns:
            yield from db.execute(f"SELECT count(*) FROM {_quoted(table)}")  # noqa: S608
            return
        when = "when_to_run" if b"when_to_run" in known else "0"
        yield from db.execute(
            f"SELECT {columns}, {when} FROM {_quoted(table)} ORDER BY rowid"  # noqa: S608
        )
    except sqlite3.Error as error:
        raise StoreRefused(f"{path}: {error}") from error
    finally:
        db.close()


async def _postgres_rows(url: StoreUrl, *, count: bool) -> AsyncGenerator[tuple[Any, ...]]:
    try:
        import psycopg
    except ImportError as error:
        raise StoreRefused("needs psycopg: pip install 'geartrain[postgres]'") from error
    theirs = {name: value for name, value in url.options.items() if name != "table"}
    table = _table(url)
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
            what = "count(*)" if count else f"{', '.join(texts)}, priority, data, {when}"
            # Every reading begins at the beginning, and not where another one is just now.
            await db.execute("SET synchronize_seqscans = off")
            async with db.cursor("geartrain_import", binary=True) as cursor:
                await cursor.execute(f"SELECT {what} FROM {_quoted(table)}".encode())  # noqa: S608
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
