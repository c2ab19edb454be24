"""What a server is to the others: its lease, and what becomes of the leases of the dead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from geartrain.stores import postgres_batch as batch
from geartrain.stores import postgres_sql as sql
from geartrain.stores.batch import plan
from geartrain.stores.ids import INSTANCES
from geartrain.stores.port import Ending, JobId, Lease, LeaseId, Renewed, StoreRefused, Traits
from geartrain.stores.postgres_columns import int8s
from geartrain.stores.postgres_link import Db, whole
from geartrain.stores.postgres_news import Place
from geartrain.stores.postgres_opening import OPENING_LOCK
from geartrain.stores.postgres_session import Session, ask_in, nothing

#: Rows of a dead server that are moved in one statement.
RELEASE_ROWS: Final = 5000
#: Share of the ttl in which jobs may be handed out after a heartbeat began.
MARGIN: Final = 0.8


class Leases(Session):
    """The verbs of the lease: taking, prolonging, renewing; ending those of others."""

    def __init__(
        self, conninfo: str, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        super().__init__(conninfo, wall, steady)
        #: {lease of another: (expires, since when it has said so, on our clock)}
        self._watch: dict[int, tuple[object, float]] = {}

    @property
    def traits(self) -> Traits:
        raise NotImplementedError

    async def _first_lease(self, db: Db, takeover: bool) -> Lease:
        async with db.transaction():
            await db.execute(f"SELECT pg_advisory_xact_lock({OPENING_LOCK})".encode())
            for id, connected in await ask_in(db, sql.NAMESAKES, {"server": self._server}):
                # A server that was killed is back before its lease has ended:
                # its session is gone, so nobody lives who could have this name.
                if connected and not takeover:
                    raise StoreRefused(
                        f"a server called {self._server!r} has this queue open, and lives; give "
                        f"this one another name (--server-name), or stop that one"
                    )
                await ask_in(db, sql.END_LEASES, {"ids": int8s([id])})
            self._me = await self._make_lease(db)
            return await self._lease(db)

    async def _make_lease(self, db: Db) -> LeaseId:
        values = {"server": self._server, "ttl": self._ttl}
        for _ in range(INSTANCES):
            ((id,),) = await ask_in(db, sql.NEW_LEASE, values)
            ((others,),) = await ask_in(db, sql.SAME_INSTANCE, {"id": id})
            if not others:
                return LeaseId(id)
            await ask_in(db, sql.END_LEASES, {"ids": int8s([id])})
        raise StoreRefused(f"{INSTANCES} servers share this queue already")

    async def _lease(self, db: Db) -> Lease:
        ((floor,),) = await ask_in(db, sql.FLOOR, {})
        return Lease(self._me, JobId(floor), self._ttl)

    async def heartbeat(self) -> float:
        self._check_open()
        began = self._steady()
        if not self._main.pid:
            await self._main.work(nothing, writes=False)
        values = {"pid": self._main.pid, "started": self._main.started}
        ((beats,),) = await self._read(sql.HEARTBEAT, values)
        if not beats:
            raise self._lost()
        return began + MARGIN * self._ttl

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        return await whole(self._renew(keep, ended))

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
                await ask_in(db, sql.END_LEASES, {"ids": former})
                values = {"me": self._me, "former": former}
                ids = int8s([*keep, *(end.id for end in ended)])
                taken = {id for (id,) in await ask_in(db, sql.TAKE_BACK, {**values, "ids": ids})}
                if ended:
                    todo = plan([], ended, [], self.traits)
                    statement, ends = batch.commit(todo, {}, self._wall())
                    await ask_in(db, statement, {**values, **ends})
                over = {end.id for end in ended}
                lease = await self._lease(db)
                return Renewed(lease, [id for id in keep if id in taken and id not in over])

        renewed = await self._main.work(take, writes=True)
        # Those that still hold something will be released by whoever adopts next.
        self._former = self._former[-100:]
        return renewed

    async def adopt(self) -> int:
        return await whole(self._adopt())

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
