"""The PostgreSQL store: several servers share one queue, and any of them may die.

Three connections: one writes (commit, claim, renew), one does what must not
wait behind a large batch (heartbeats, lookups, news, adoption), one listens.

The parts: ``postgres_opening`` (tables), ``postgres_leases``, ``postgres_writing``
and ``postgres_looking`` (the port's verbs), ``postgres_news`` (from server to
server); below them ``postgres_sql`` (every statement), ``postgres_batch`` (a commit
-> parameters), and ``postgres_link`` (what a lost connection means).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from geartrain.stores import postgres_sql as sql
from geartrain.stores.port import (
    Lease,
    Room,
    StoreError,
    StoreRefused,
    Traits,
)
from geartrain.stores.postgres_columns import int8s
from geartrain.stores.postgres_leases import Leases
from geartrain.stores.postgres_link import Link
from geartrain.stores.postgres_looking import Looking
from geartrain.stores.postgres_opening import OPENING_SECONDS, prepare
from geartrain.stores.postgres_writing import Writing
from geartrain.stores.url import StoreUrl

#: An array of bodies must stay below 1 GB, and is copied a few times on its way.
MAX_BODY: Final = 256 << 20
MAX_BATCH: Final = 20_000

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


class PostgresStore(Leases, Writing, Looking):
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
        super().__init__(conninfo, wall, steady)
        self._own_ttl = ttl
        self._require_standby = require_standby

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
            await self._main.work(
                lambda db: prepare(db, self._require_standby),
                writes=False,
                patience=OPENING_SECONDS,
            )
            lease = await self._main.work(lambda db: self._first_lease(db, takeover), writes=False)
        except BaseException:
            await self._main.close()
            raise
        self._open = True
        ear = Link(self._conninfo, self._main.patience)
        self._news = self._make_news(ear)
        self._news.listen()
        return lease

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

    # ── housekeeping ─────────────────────────────────────────────────────────

    def room(self) -> Room | None:
        return None

    async def tidy(self) -> bool:
        self._check_open()
        return False
