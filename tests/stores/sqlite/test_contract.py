"""SQLite: the contract, and what only a file can do wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from geartrain.stores.port import QueueStore
from geartrain.stores.sqlite import SqliteStore
from geartrain.stores.sqlite_log import JobLog
from geartrain.testing.store_contract import MakeStore, StoreContract


def recount(store: QueueStore) -> None:
    """What the store counts must be what the file holds."""
    assert isinstance(store, SqliteStore)
    if store._writer is None:
        return
    db = store._writer.db
    counted = {
        (fn, prio): (ready, delayed)
        for fn, prio, ready, delayed in db.execute("SELECT * FROM counter WHERE fn > 0")
        if ready or delayed
    }
    there = {
        (fn, prio): (ready, delayed)
        for fn, prio, ready, delayed in db.execute(
            "SELECT fn, prio, sum(run_at IS NULL), sum(run_at IS NOT NULL) FROM job GROUP BY 1, 2"
        )
    }
    assert counted == there
    told, log = JobLog(), store._writer.log
    told.load(db)
    assert told.where.keys() == log.where.keys()
    assert [(one.no, one.live) for one in told.entries] == [
        (one.no, one.live) for one in log.entries
    ]
    assert {fn: keys for fn, keys in told.keys.items() if keys} == {
        fn: keys for fn, keys in log.keys.items() if keys
    }
    for job in log.where.values():
        number, key = job.queue, job.key
        ready, delayed = there.get((number >> 2, number & 3), (0, 0))
        there[number >> 2, number & 3] = ready + 1, delayed
        assert (
            key is None
            or not db.execute(
                "SELECT 1 FROM job WHERE fn = ? AND uniq = ?", [number >> 2, key]
            ).fetchone()
        )
    in_memory = {
        (q.number >> 2, q.number & 3): (q.ready, q.delayed)
        for q in store._known.queues.values()
        if q.ready or q.delayed
    }
    assert in_memory == there
    for queue in store._known.queues.values():
        assert queue.mine == sum(number == queue.number for number in store._known.mine.values())
    assert -1 not in store._known.mine.values()


class SqliteContract(StoreContract):
    async def verify(self, store: QueueStore) -> None:
        recount(store)

    async def take_away(self, store: QueueStore) -> None:
        assert isinstance(store, SqliteStore)
        assert store._writer is not None
        db = store._writer.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        # What is left on the last pages is used up.
        with pytest.raises(sqlite3.OperationalError, match="full"):
            db.execute("CREATE TABLE filler AS SELECT zeroblob(100000)")

    async def bring_back(self, store: QueueStore) -> None:
        assert isinstance(store, SqliteStore)
        assert store._writer is not None
        store._writer.db.execute("PRAGMA max_page_count = 1000000000")


class TestSqliteStore(SqliteContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda: SqliteStore(tmp_path / "jobs.db")
