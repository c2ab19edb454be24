"""The PostgreSQL store: several servers share one queue, and any of them may die.

Three connections: one writes (commit, claim, renew), one does what must not
wait behind a large batch (heartbeats, lookups, news, adoption), one listens.

The statements are in ``postgres_sql``, what a lost connection means in
``postgres_link``. Here is what a server is to the others: its lease.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from geartrain.stores import postgres_batch as batch
from geartrain.stores import postgres_sql as sql
from geartrain.stores.batch import Plan, complete, plan
from geartrain.stores.ids import INSTANCES
from geartrain.stores.port import (
    Add,
    Added,
    AddResult,
    Committed,
    Count,
    DeadJob,
    Due,
    Ending,
    Give,
    JobFacts,
    JobId,
    Lease,
    LeaseId,
    LeaseLost,
    Placement,
    QueueKey,
    Renewed,
    Room,
    StoredJob,
    StoreDown,
    StoreError,
    StoreRefused,
    Traits,
    Where,
)
from geartrain.stores.postgres_columns import (
    byteas,
    int4s,
    int8s,
)
from geartrain.stores.postgres_link import Clash, Db, Link, Rows
from geartrain.stores.postgres_news import News, Place
from geartrain.stores.sql import headers_of, migrations, unique_of
from geartrain.stores.url import StoreUrl

T = TypeVar("T")
log = logging.getLogger(__name__)

#: An array of bodies must stay below 1 GB, and is copied a few times on its way.
MAX_BODY: Final = 256 << 20
MAX_BATCH: Final = 20_000
#: Rows of a dead server that are moved in one statement.
RELEASE_ROWS: Final = 5000
#: Any number; it keeps two servers from making the tables at once.
_MIGRATION_LOCK: Final = 0x67656172
#: Share of the ttl in which jobs may be handed out after a heartbeat began.
_MARGIN: Final = 0.8
_ANY_SIZE: Final = 1 << 40

_LOOPBACK: Final = {"", "localhost", "127.0.0.1", "::1"}


def from_url(url: StoreUrl) -> PostgresStore:
    """``postgresql://gt@db1,db2/gt?sslmode=verify-full&target_session_attrs=read-write``.

    Ours besides libpq's options: ``lease`` (the ttl, such as 10s),
    ``require=standby`` (refuse without a synchronous standby), ``insecure=yes``
    (another machine without ``sslmode=verify-full``).
    """
    ours = {"lease", "require", "insecure"}
    theirs = {name: value for name, value in url.options.items() if name not in ours}
    conninfo = f"postgresql://{url.netloc}{quote(url.path)}?{urlencode(theirs, quote_via=quote)}"
    try:
        settings = conninfo_to_dict(conninfo)
    except psycopg.Error as error:
        raise StoreRefused(f"{url.text}: {' '.join(str(error).split())}") from error
    require = url.options.get("require", "")
    if require not in ("", "standby"):
        raise StoreRefused(f"require={require} in {url.text}: want require=standby")
    hosts = str(settings.get("host") or settings.get("hostaddr") or "").split(",")
    remote = [host for host in hosts if host not in _LOOPBACK and not host.startswith("/")]
    if remote and settings.get("sslmode") != "verify-full" and not url.flag("insecure"):
        raise StoreRefused(
            f"{url.text}: jobs and password would go to {remote[0]} unprotected or to whoever "
            f"answers there; add sslmode=verify-full, or insecure=yes"
        )
    ttl = url.seconds("lease", 0.001) if "lease" in url.options else None
    return PostgresStore(conninfo, ttl=ttl, require_standby=require == "standby")


class PostgresStore:
    """Keeps jobs in a database (see the port for what each method promises)."""

    def __init__(
        self,
        conninfo: str,
        *,
        ttl: float | None = None,
        require_standby: bool = False,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            conninfo: libpq's string or URL.
            ttl: seconds; goes before the one that ``open`` is given.
            require_standby: refuse a database without a synchronous standby.
            wall: seconds since 1970.
            steady: seconds of a clock that never jumps; dispatch deadlines are on it.
        """
        self._conninfo = conninfo
        self._own_ttl = ttl
        self._require_standby = require_standby
        self._wall = wall
        self._steady = steady
        self._server = ""
        self._ttl = 10.0
        self._me = LeaseId(0)
        #: Leases that were mine: what they still hold is mine to take back.
        self._former: list[LeaseId] = []
        self._main = self._side = Link(conninfo, 10.0)
        self._open = False
        self._functions: dict[tuple[str, bytes], int] = {}
        self._names: dict[int, tuple[str, bytes]] = {}
        #: Where claims begin: below it the index is full of what is gone.
        self._marks: dict[Place, JobId] = {}
        #: {lease of another: (expires, since when it has said so, on our clock)}
        self._watch: dict[int, tuple[object, float]] = {}
        self._call: Callable[[QueueKey], None] | None = None
        self._news = News(self._side, self._side, self._hear, lambda: self._me)
        self._care = batch.Care()

    @property
    def traits(self) -> Traits:
        return Traits(
            shared=True,
            durable="quorum" if self._require_standby else "fsync",
            max_body=MAX_BODY,
            max_batch=MAX_BATCH,
            news=True,
        )

    # ── opening and closing ──────────────────────────────────────────────────

    async def open(self, server: str, ttl: float, *, takeover: bool = False) -> Lease:
        if self._open:
            raise StoreRefused(f"this store is open already, for {self._server}")
        self._server = server
        self._ttl = self._own_ttl or ttl
        # An answer that comes after the lease has run out is of no use.
        self._main = Link(self._conninfo, max(self._ttl, 2.0))
        self._side = Link(self._conninfo, max(self._ttl, 2.0))
        try:
            await self._main.work(self._prepare, writes=False)
            lease = await self._main.work(lambda db: self._first_lease(db, takeover), writes=False)
        except BaseException:
            await self._main.close()
            raise
        self._open = True
        ear = Link(self._conninfo, self._main.patience)
        self._news = News(self._side, ear, self._hear, lambda: self._me)
        self._news.listen()
        return lease

    async def _prepare(self, db: Db) -> None:
        """Check that the database keeps its word; make or change the tables."""
        settings = {}
        for name in ("fsync", "synchronous_commit", "synchronous_standby_names"):
            cursor = await db.execute(f"SHOW {name}".encode())
            row = await cursor.fetchone()
            settings[name] = row[0] if row else ""
        for name in ("fsync", "synchronous_commit"):
            if settings[name] == "off":
                raise StoreRefused(
                    f"PostgreSQL has {name} = off: it would forget jobs that it has accepted; "
                    f"set it to on"
                )
        if not settings["synchronous_standby_names"]:
            if self._require_standby:
                raise StoreRefused(
                    "require=standby, but synchronous_standby_names is empty: PostgreSQL waits "
                    "for no second machine"
                )
            log.info("no synchronous standby: jobs survive a crash of PostgreSQL, not its disk")
        await self._migrate(db)

    async def _migrate(self, db: Db) -> None:
        steps = migrations("postgres")
        async with db.transaction():
            await db.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})".encode())
            await db.execute(
                "CREATE TABLE IF NOT EXISTS gt_meta (name text PRIMARY KEY, value bigint NOT NULL)"
            )
            cursor = await db.execute("SELECT value FROM gt_meta WHERE name = 'format'")
            row = await cursor.fetchone()
            version = row[0] if row else 0
            if version > len(steps):
                raise StoreRefused(
                    f"the tables have format {version}, this geartrain knows up to {len(steps)}; "
                    f"they were made by a newer one: use that"
                )
            for step in steps[version:]:
                await db.execute(step.script.encode())
            await db.execute(
                "INSERT INTO gt_meta VALUES ('format', $1)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [len(steps)],
            )

    async def _first_lease(self, db: Db, takeover: bool) -> Lease:
        async with db.transaction():
            await db.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})".encode())
            for id, connected, left in await _ask(db, sql.NAMESAKES, {"server": self._server}):
                # A server that was killed is back before its lease has ended:
                # its session is gone, so nobody lives who could have this name.
                if connected and not takeover:
                    raise StoreRefused(
                        f"a server called {self._server!r} has this queue open; give this one "
                        f"another name, stop that one, or take over ({left:.0f} s to its end)"
                    )
                await _ask(db, sql.END_LEASES, {"ids": int8s([id])})
            self._me = await self._make_lease(db)
            return await self._lease(db)

    async def _make_lease(self, db: Db) -> LeaseId:
        values = {"server": self._server, "ttl": self._ttl}
        for _ in range(INSTANCES):
            ((id,),) = await _ask(db, sql.NEW_LEASE, values)
            ((others,),) = await _ask(db, sql.SAME_INSTANCE, {"id": id})
            if not others:
                return LeaseId(id)
            await _ask(db, sql.END_LEASES, {"ids": int8s([id])})
        raise StoreRefused(f"{INSTANCES} servers share this queue already")

    async def _lease(self, db: Db) -> Lease:
        ((floor,),) = await _ask(db, sql.FLOOR, {})
        return Lease(self._me, JobId(floor), self._ttl)

    async def close(self, *, release: bool = True) -> None:
        if not self._open:
            return
        self._open = False
        await self._news.close()
        if release:
            with suppress(StoreError):
                leases = int8s([self._me, *self._former])
                await self._main.run(sql.END_LEASES, {"ids": leases}, writes=False)
                self._news.tell(await self._release([self._me, *self._former]))
                await self._news.flush()
        await self._main.close()
        await self._side.close()

    # ── calls ────────────────────────────────────────────────────────────────

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

    # ── writing ──────────────────────────────────────────────────────────────

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        return await _whole(self._commit(plan(adds, ends, gives, self.traits)))

    async def _commit(self, todo: Plan) -> Committed:
        if not (todo.adds or todo.ends or todo.gives or todo.stillborn):
            self._check_open()
            return Committed(complete(todo.answers), [])
        for key in {
            (job.queue.tenant, job.queue.function)
            for job in [add.job for _, add in todo.adds] + [job for job, _ in todo.stillborn]
        }:
            await self._number(key, make=True)
        ((me, ended, given, added, pools),) = await self._write_batch(todo)
        if me is None:
            raise self._lost()
        left = self._answer(todo, set(added))
        for _ in range(10):
            if not left:
                break
            left = await self._settle(todo, left)
        else:
            raise StoreDown("others end and add jobs of the same key too fast to keep up with")
        done = {*ended, *given, *todo.elided}
        missed = [end.id for end in todo.ends if end.id not in done]
        missed += [give.id for give in todo.gives if give.id not in done]
        self._came(pools)
        return Committed(complete(todo.answers), missed)

    async def _write_batch(self, todo: Plan) -> Rows:
        careful = self._care.needed()
        statement, values = batch.commit(todo, self._functions, self._wall(), careful=careful)
        try:
            return await self._write(statement, values)
        except Clash:
            if careful:
                raise
        self._care.clash()
        statement, values = batch.commit(todo, self._functions, self._wall())
        return await self._write(statement, values)

    def _came(self, pools: Sequence[int]) -> None:
        """Rows came to these pools: tell the others; they may be older than those claimed last."""
        places = [(pool >> 2, pool & 3) for pool in pools]
        for place in places:
            self._marks.pop(place, None)
        self._news.tell(places)

    def _answer(self, todo: Plan, added: set[JobId]) -> list[tuple[int, Add]]:
        """Answer the adds that are written; return the others."""
        left = []
        for place, add in todo.adds:
            if add.job.id in added:
                mine = add.placement is Placement.MINE and add.job.run_at is None
                placement = Placement.MINE if mine else Placement.POOL
                todo.answers[place] = AddResult(Added.STORED, add.job.id, placement)
            else:
                left.append((place, add))
        return left

    async def _settle(self, todo: Plan, left: list[tuple[int, Add]]) -> list[tuple[int, Add]]:
        """Adds that were not written: is their id there already, or another of their key?

        Neither: what stood in the way is gone by now, so they are written again.
        """

        def placed(owner: int | None) -> Placement:
            return Placement.MINE if owner == self._me else Placement.POOL

        ids = int8s([add.job.id for _, add in left])
        same: dict[JobId, int | None] = dict(
            await self._main.run(sql.SAME_ID, {"ids": ids}, writes=True)
        )
        keyed = [(place, add) for place, add in left if add.job.id not in same and add.job.key]
        values = {
            "fns": int4s([self._functions[add.job.queue[:2]] for _, add in keyed]),
            "uniqs": byteas([add.job.key for _, add in keyed]),
        }
        rows = await self._main.run(sql.SAME_KEY, values, writes=True) if keyed else []
        holders = {keyed[number - 1][0]: (id, owner) for number, id, owner in rows}
        again = []
        for place, add in left:
            if add.job.id in same:
                placement = placed(same[add.job.id])
                todo.answers[place] = AddResult(Added.STORED, add.job.id, placement)
            elif place in holders:
                id, owner = holders[place]
                todo.answers[place] = AddResult(Added.MERGED, id, placed(owner))
            else:
                again.append((place, add))
        if not again:
            return []
        statement, values = batch.adding([add for _, add in again], self._functions)
        ((me, _, _, added, pools),) = await self._write(statement, values)
        if me is None:
            raise self._lost()
        self._came(pools)
        return self._answer(todo._replace(adds=again), set(added))

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        return await _whole(self._claim(queue, limit, max_bytes, max_body))

    async def _claim(
        self, queue: QueueKey, limit: int, max_bytes: int, max_body: int | None
    ) -> Sequence[StoredJob]:
        number = await self._number((queue.tenant, queue.function), make=False)
        if number is None:
            return []
        place = (number, queue.priority)
        mark = self._marks.get(place, 0)
        values = {
            "fn": number,
            "prio": queue.priority,
            "mark": mark,
            "limit": limit,
            "max_bytes": max_bytes,
            "max_body": _ANY_SIZE if max_body is None else max_body,
        }
        rows = await self._write(sql.CLAIM, values)
        if mark and rows[0][1] is None:
            # Nothing above the mark; rows may have come back below it.
            rows = await self._write(sql.CLAIM, {**values, "mark": 0})
        if rows[0][0] is None:
            raise self._lost()
        jobs = [
            StoredJob(
                id, queue, body, unique_of(uniq, shown), uniq, None, reducer, attempts,
                headers_of(headers),
            )
            for _, id, attempts, uniq, shown, reducer, headers, body in rows
            if id is not None
        ]  # fmt: skip
        self._marks[place] = jobs[-1].id if jobs else JobId(0)
        return jobs

    async def due(self, now: float, limit: int) -> Due:
        return await _whole(self._due(now, limit))

    async def _due(self, now: float, limit: int) -> Due:
        rows = await self._read(sql.DUE, {"now": now, "limit": limit})
        moved = {}
        for number, prio, count in rows:
            if name := await self._name(number):
                moved[QueueKey(*name, prio)] = count
            self._marks.pop((number, prio), None)
        self._news.tell((number, prio) for number, prio, _ in rows)
        ((first,),) = await self._read(sql.NEXT_DUE, {})
        return Due(moved, first)

    # ── the lease ────────────────────────────────────────────────────────────

    async def heartbeat(self) -> float:
        self._check_open()
        began = self._steady()
        if not self._main.pid:
            await self._main.work(_nothing, writes=False)
        values = {"pid": self._main.pid, "started": self._main.started}
        ((beats,),) = await self._read(sql.HEARTBEAT, values)
        if not beats:
            raise self._lost()
        return began + _MARGIN * self._ttl

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        return await _whole(self._renew(keep, ended))

    async def _renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        self._check_open()
        # The lease is made first: should the answer to all the rest be lost, its
        # number is known, and what it holds can be taken back.
        old, self._me = self._me, await self._main.work(self._make_lease, writes=True)
        self._former.append(old)
        self._marks.clear()

        async def take(db: Db) -> Renewed:
            async with db.transaction():
                former = int8s(self._former)
                # Waits for a batch of ours that may still be running there.
                await _ask(db, sql.END_LEASES, {"ids": former})
                values = {"me": self._me, "former": former}
                ids = int8s([*keep, *(end.id for end in ended)])
                taken = {id for (id,) in await _ask(db, sql.TAKE_BACK, {**values, "ids": ids})}
                if ended:
                    todo = plan([], ended, [], self.traits)
                    statement, ends = batch.commit(todo, {}, self._wall())
                    await _ask(db, statement, {**values, **ends})
                over = {end.id for end in ended}
                lease = await self._lease(db)
                return Renewed(lease, [id for id in keep if id in taken and id not in over])

        renewed = await self._main.work(take, writes=True)
        # Those that still hold something will be released by whoever adopts next.
        self._former = self._former[-100:]
        return renewed

    async def adopt(self) -> int:
        return await _whole(self._adopt())

    async def _adopt(self) -> int:
        now = self._steady()
        living = await self._read(sql.LIVING, {})
        # Expiry is on the database's clock, which may jump. A lease that has said
        # the same for two ttls of ours is taken away whatever that clock says.
        self._watch = {
            id: known if (known := self._watch.get(id)) and known[0] == expires else (expires, now)
            for id, _, expires in living
        }
        stuck = [id for id, ttl, _ in living if now - self._watch[id][1] > 2 * ttl]
        await self._read(sql.FENCE, {"stuck": int8s(stuck)})
        leases = [id for (id,) in await self._read(sql.ENDED, {})]
        if not leases:
            return 0
        freed = await self._release(leases)
        self._news.tell(freed)
        return sum(freed.values())

    async def _release(self, leases: Sequence[int]) -> dict[Place, int]:
        """Move the rows of ended leases to the pool; several servers may do it together."""
        freed: dict[Place, int] = {}
        values = {"me": self._me, "leases": int8s(leases), "limit": RELEASE_ROWS}
        while rows := await self._side.run(sql.RELEASE, values, writes=False):
            for number, prio, count in rows:
                freed[number, prio] = freed.get((number, prio), 0) + count
                self._marks.pop((number, prio), None)
        await self._side.run(sql.BURY_LEASES, values, writes=False)
        return freed

    # ── news ─────────────────────────────────────────────────────────────────

    def on_news(self, call: Callable[[QueueKey], None]) -> None:
        self._call = call

    async def _hear(self, place: Place) -> None:
        """Another server says that a pool has got rows."""
        self._marks.pop(place, None)
        name = await self._name(place[0])
        if self._call is not None and name is not None:
            self._call(QueueKey(*name, place[1]))

    # ── looking ──────────────────────────────────────────────────────────────

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        rows = await self._read(sql.LOAD, {"ids": int8s(ids)})
        return dict(rows)

    async def counts(self) -> Mapping[QueueKey, Count]:
        rows = await self._read(sql.COUNTS, {})
        return {
            QueueKey(tenant, name, prio): Count(ready, delayed)
            for tenant, name, prio, ready, delayed in rows
        }

    async def find(
        self, tenant: str, *, id: JobId | None = None, key: tuple[bytes, bytes] | None = None
    ) -> JobFacts | None:
        if key is not None:
            values = {"tenant": tenant, "name": key[0], "uniq": key[1]}
            rows = await self._read(sql.FIND_KEY, values)
        else:
            rows = await self._read(sql.FIND_ID, {"tenant": tenant, "id": id})
        return self._facts(rows[0]) if rows else None

    async def scan(
        self, tenant: str | None, after: JobId, limit: int, *, function: bytes | None = None
    ) -> Sequence[JobFacts]:
        values = {"tenant": tenant, "after": after, "limit": limit, "name": function}
        return [self._facts(row) for row in await self._read(sql.SCAN, values)]

    def _facts(self, row: tuple[Any, ...]) -> JobFacts:
        id, tenant, name, prio, uniq, shown, size, run_at, attempts, owner, server = row
        if run_at is not None:
            where = Where.DELAYED
        elif owner is None:
            where = Where.POOL
        else:
            where = Where.MINE if owner == self._me else Where.ELSEWHERE
        queue = QueueKey(tenant, name, prio)
        unique = unique_of(uniq, shown)
        return JobFacts(id, queue, unique, size, run_at, attempts, where, server or "")

    # ── the dead ─────────────────────────────────────────────────────────────

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        values = {"tenant": tenant, "after": after, "limit": limit, "name": function}
        rows = await self._read(sql.DEAD_LIST, {**values, "bodies": bodies})
        return [_dead(row) for row in rows]

    async def dead_show(self, id: JobId) -> DeadJob | None:
        rows = await self._read(sql.DEAD_SHOW, {"id": id, "bodies": True})
        return _dead(rows[0]) if rows else None

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        rows = await self._write(sql.DEAD_RETRY, {"ids": int8s(ids)})
        for _, number, prio in rows:
            self._marks.pop((number, prio), None)
        self._news.tell((number, prio) for _, number, prio in rows)
        return [id for id, _, _ in rows]

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        ((count,),) = await self._write(sql.DEAD_DELETE, {"ids": int8s(ids)})
        return int(count)

    # ── housekeeping ─────────────────────────────────────────────────────────

    def room(self) -> Room | None:
        return None

    async def tidy(self) -> bool:
        self._check_open()
        return False


async def _ask(db: Db, statement: sql.Statement, values: Mapping[str, Any]) -> Rows:
    """One statement within a transaction that is under way."""
    cursor = db.cursor(binary=True)
    await cursor.execute(statement.text, [values[name] for name in statement.names])
    return await cursor.fetchall() if cursor.description else []


async def _nothing(db: Db) -> None:
    """Connecting is all."""


async def _whole(work: Awaitable[T]) -> T:
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


def _dead(row: tuple[Any, ...]) -> DeadJob:
    id, tenant, name, prio, attempts, uniq, shown, reducer, headers, reason, worker = row[:11]
    died, size, body = row[11:]
    job = StoredJob(
        id, QueueKey(tenant, name, prio), body, unique_of(uniq, shown), uniq, None, reducer,
        attempts, headers_of(headers),
    )  # fmt: skip
    return DeadJob(job, size, reason, worker, died)
