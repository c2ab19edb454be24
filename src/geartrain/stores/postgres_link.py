"""One connection to PostgreSQL that mends itself, and errors that say whether to repeat.

A statement that was sent and never answered may have been carried out: that is
``Ambiguous``. One that was refused, or never sent, was not: ``StoreDown``.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.abc import Buffer, PyFormat
from psycopg.adapt import Dumper
from psycopg.pq import Format

from geartrain.stores.port import Ambiguous, StoreDown
from geartrain.stores.postgres_columns import Column
from geartrain.stores.postgres_sql import Statement

T = TypeVar("T")
Rows = list[tuple[Any, ...]]
Db = AsyncConnection[tuple[Any, ...]]

#: A server that must not be written to (any more): look for another.
_NOT_HERE = {"25006", "57P01", "57P02", "57P03"}
_UNIQUE_VIOLATION = "23505"


class ColumnDumper(Dumper):
    """Tells psycopg that a ``Column`` is what it is."""

    format = Format.BINARY

    def dump(self, obj: Column) -> Buffer:
        return obj.data

    def get_key(self, obj: Column, format: PyFormat) -> tuple[type, Any]:
        return (self.cls, obj.oid)

    def upgrade(self, obj: Column, format: PyFormat) -> ColumnDumper:
        dumper = ColumnDumper(self.cls)
        dumper.oid = obj.oid
        return dumper


class Clash(StoreDown):
    """The statement found a row of an id or a key that it wanted to add: nothing was done."""


class Link:
    """Runs one statement at a time; connects when it has to."""

    def __init__(self, conninfo: str, patience: float) -> None:
        """
        Args:
            conninfo: libpq's string or URL.
            patience: seconds to wait for an answer, and for a connection.
        """
        self._conninfo = conninfo
        self.patience = patience
        self._busy = asyncio.Lock()
        self._db: Db | None = None
        #: The present session, as ``pg_stat_activity`` has it.
        self.pid = 0
        self.started: datetime | None = None

    async def connect(self) -> Db:
        """A connection that seems to be well.

        Raises:
            StoreDown: there is none to be had.
        """
        if self._db is not None:
            try:
                # Without this, a server that went away while nobody looked
                # would be noticed by a statement, and that would be ambiguous.
                self._db.pgconn.consume_input()
                return self._db
            except psycopg.Error:
                await self.drop()
        try:
            # Not wait_for(): before Python 3.12 it forgets that it was cancelled if the
            # connection comes at that moment, and who listens would listen for ever.
            async with asyncio.timeout(self.patience):
                db: Db = await AsyncConnection.connect(
                    self._conninfo, autocommit=True, cursor_factory=AsyncRawCursor
                )
            try:
                await self._greet(db)
            except BaseException:
                await db.close()
                raise
        except TimeoutError as error:
            raise StoreDown(f"cannot reach PostgreSQL: no answer in {self.patience:g} s") from error
        except (psycopg.Error, OSError) as error:
            raise StoreDown(f"cannot reach PostgreSQL: {_text(error)}") from error
        self._db = db
        return db

    async def _greet(self, db: Db) -> None:
        db.adapters.register_dumper(Column, ColumnDumper)
        cursor = await db.execute(
            "SELECT pid, backend_start, pg_is_in_recovery() FROM pg_stat_activity"
            " WHERE pid = pg_backend_pid()"
        )
        row = await cursor.fetchone()
        assert row is not None
        self.pid, self.started, standby = row
        if standby:
            raise StoreDown(
                "PostgreSQL answers, but it is a standby; name all hosts in the URL and add "
                "target_session_attrs=read-write"
            )

    async def run(self, statement: Statement, values: Mapping[str, Any], *, writes: bool) -> Rows:
        """Carry out one statement, which is a transaction of its own.

        Raises:
            StoreDown: it was not carried out.
            Ambiguous: it may have been (only if it writes).
        """

        async def work(db: Db) -> Rows:
            # Prepared at once: the few statements there are run all day.
            cursor = db.cursor(binary=True)
            parameters = [values[name] for name in statement.names]
            await cursor.execute(statement.text, parameters, prepare=True)
            rows = await cursor.fetchall() if cursor.description else []
            await cursor.close()
            return rows

        return await self.work(work, writes=writes)

    async def work(
        self, work: Callable[[Db], Awaitable[T]], *, writes: bool, patience: float = 0.0
    ) -> T:
        """Have the connection to oneself; errors are told as ``run`` tells them.

        If whoever waits is cancelled, the work goes on to its end all the same, and nobody
        has the connection before that.

        Args:
            work: is given the connection.
            writes: an answer that is lost leaves a doubt.
            patience: seconds to wait for the answer, if more than usual.
        """
        return await whole(self._work(work, writes, max(patience, self.patience)))

    async def _work(self, work: Callable[[Db], Awaitable[T]], writes: bool, patience: float) -> T:
        async with self._busy:
            db = await self.connect()
            task = asyncio.ensure_future(work(db))
            done, _ = await asyncio.wait({task}, timeout=patience)
            if not done:
                # Cancelling would wait for the server to agree. To finish the connection
                # under whoever waits for its answer would free the memory that he looks at.
                _hang_up(db)
                with suppress(Exception):
                    await task
                await self.drop()
                raise self._lost(f"no answer in {patience:g} s", writes)
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, psycopg.Error):
                raise error
            broken = db.closed or db.broken
            if broken or (error.sqlstate or "") in _NOT_HERE:
                await self.drop()
            if broken:
                raise self._lost(_text(error), writes) from error
            kind = Clash if error.sqlstate == _UNIQUE_VIOLATION else StoreDown
            raise kind(f"PostgreSQL refused: {_text(error)}") from error

    def _lost(self, text: str, writes: bool) -> StoreDown | Ambiguous:
        kind = Ambiguous if writes else StoreDown
        return kind(f"lost PostgreSQL: {text}")

    async def drop(self) -> None:
        """Forget the connection; the next statement makes another."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(Exception):
                await db.close()

    async def close(self) -> None:
        """Close once what is running has ended."""
        async with self._busy:
            await self.drop()


async def whole(work: Awaitable[T]) -> T:
    """Go on to the end even if the caller is cancelled: what is sent cannot be called back."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_mark_seen)
        raise


def _mark_seen(task: asyncio.Future[T]) -> None:
    """Nobody is left to whom its failure would matter: the store is being closed."""
    if not task.cancelled():
        task.exception()


def _hang_up(db: Db) -> None:
    """Let whoever waits for an answer hear that the connection is lost."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(db.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
