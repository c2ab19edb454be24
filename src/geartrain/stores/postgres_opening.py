"""What a database has to be before a server relies on it: honest, and with our tables."""

from __future__ import annotations

import logging
from typing import Final

from geartrain.stores.port import StoreRefused
from geartrain.stores.postgres_link import Db
from geartrain.stores.sql import migrations

log = logging.getLogger("geartrain.stores.postgres")

#: Any number; it keeps two servers from making the tables, or taking one name, at once.
OPENING_LOCK: Final = 0x67656172
#: Seconds that may take, on a disk that is busy or with many rows to change. There is no
#: lease yet that could run out meanwhile.
OPENING_SECONDS: Final = 300.0


async def prepare(db: Db, require_standby: bool) -> None:
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
    if require_standby and settings["synchronous_commit"] == "local":
        raise StoreRefused(
            "require=standby, but synchronous_commit = local: PostgreSQL waits for its own disk "
            "alone; set it to on"
        )
    if not settings["synchronous_standby_names"]:
        if require_standby:
            raise StoreRefused(
                "require=standby, but synchronous_standby_names is empty: PostgreSQL waits "
                "for no second machine"
            )
        log.info("no synchronous standby: jobs survive a crash of PostgreSQL, not its disk")
    await _migrate(db)


async def _migrate(db: Db) -> None:
    steps = migrations("postgres")
    async with db.transaction():
        await db.execute(f"SELECT pg_advisory_xact_lock({OPENING_LOCK})".encode())
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
