"""What all parts of the PostgreSQL store share: its connections, its lease, what it knows of the tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from geartrain.stores import postgres_sql as sql
from geartrain.stores.port import JobId, LeaseId, LeaseLost, QueueKey, StoreDown
from geartrain.stores.postgres_link import Db, Link, Rows
from geartrain.stores.postgres_news import MAX_LETTER, News, Place

T = TypeVar("T")

#: Seconds that another server has to answer a question.
ANSWER_SECONDS: Final = 1.0


class Session:
    """One server's."""

    def __init__(
        self, conninfo: str, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        """
        Args:
            conninfo: libpq's string or URL.
            wall: seconds since 1970.
            steady: seconds of a clock that never jumps; dispatch deadlines are on it.
        """
        self._conninfo = conninfo
        self._wall = wall
        self._steady = steady
        self._server = ""
        self._ttl = 10.0
        self._me = LeaseId(0)
        #: Leases that were mine: what they still hold is mine to take back.
        self._former: list[LeaseId] = []
        #: It writes.
        self._main = Link(conninfo, 10.0)
        #: It does what must not wait behind a large batch.
        self._side = self._main
        self._open = False
        self._functions: dict[tuple[str, bytes], int] = {}
        self._names: dict[int, tuple[str, bytes]] = {}
        #: Where claims begin: below it the index is full of what is gone.
        self._marks: dict[Place, JobId] = {}
        self._call: Callable[[QueueKey], None] | None = None
        self._answer_others: Callable[[bytes], Awaitable[bytes]] | None = None
        self._news = self._make_news(self._side)

    # ── statements ───────────────────────────────────────────────────────────

    async def _write(self, statement: sql.Statement, values: Mapping[str, Any]) -> Rows:
        self._check_open()
        return await self._main.run(statement, {"me": self._me, **values}, writes=True)

    async def _read(self, statement: sql.Statement, values: Mapping[str, Any]) -> Rows:
        self._check_open()
        return await self._side.run(statement, {"me": self._me, **values}, writes=False)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreDown("the store is closed")

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"lease {self._me} of {self._server!r} has ended: others have its jobs")

    # ── functions ────────────────────────────────────────────────────────────

    async def _number(self, key: tuple[str, bytes], *, make: bool) -> int | None:
        number = self._functions.get(key)
        if number is None:
            values = {"tenant": key[0], "name": key[1]}
            rows = await self._read(sql.FUNCTION, values)
            if not rows and make:
                # Before the batch and not in it: repeated, it does nothing.
                rows = await self._read(sql.ADD_FUNCTION, values)
            if rows:
                number = self._functions[key] = rows[0][0]
                self._names[number] = key
        return number

    async def _name(self, number: int) -> tuple[str, bytes] | None:
        if number not in self._names:
            after = max(self._names, default=0)
            for no, tenant, name in await self._read(
                sql.FUNCTIONS, {"after": after if number > after else 0}
            ):
                self._names[no] = (tenant, name)
        return self._names.get(number)

    # ── what servers tell each other ─────────────────────────────────────────

    def _make_news(self, ear: Link) -> News:
        return News(self._side, ear, lambda: self._me, self._hear, self._asked)

    def on_news(self, call: Callable[[QueueKey], None]) -> None:
        self._call = call

    async def _hear(self, place: Place) -> None:
        """Another server says that a pool has got rows."""
        self._marks.pop(place, None)
        name = await self._name(place[0])
        if self._call is not None and name is not None:
            self._call(QueueKey(*name, place[1]))

    def on_asked(self, call: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._answer_others = call

    async def _asked(self, question: bytes) -> bytes | None:
        """Another server asks of a job that this one holds."""
        return None if self._answer_others is None else await self._answer_others(question)

    async def ask(self, id: JobId, question: bytes) -> bytes | None:
        if len(question) > MAX_LETTER:
            raise ValueError(f"a question of {len(question)} bytes; at most {MAX_LETTER}")
        rows = await self._read(sql.HOLDER, {"id": id})
        return await self._news.ask(rows[0][0], question, ANSWER_SECONDS) if rows else None


async def ask_in(db: Db, statement: sql.Statement, values: Mapping[str, Any]) -> Rows:
    """One statement within a transaction that is under way."""
    cursor = db.cursor(binary=True)
    await cursor.execute(statement.text, [values[name] for name in statement.names])
    return await cursor.fetchall() if cursor.description else []


async def nothing(db: Db) -> None:
    """Connecting is all."""
