"""Files of older formats, and the steps to today's."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from geartrain.stores import sqlite_file
from geartrain.stores.port import (
    Count,
    JobId,
    QueueKey,
    StoredJob,
    StoreRefused,
)
from geartrain.stores.sql import Migration, migrations
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import QUEUE, FakeServer
from tests.stores.sqlite.test_contract import recount

OLD = Path(__file__).parent.parent / "old"


async def test_a_file_of_format_1_opens_with_everything_in_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    db = sqlite3.connect(path)
    db.executescript((OLD / "sqlite-1.sql").read_text())
    db.close()

    server = await FakeServer(SqliteStore(path), "one").open()

    assert dict(await server.store.counts()) == {
        QUEUE: Count(ready=2),
        QueueKey("acme", b"mail", 0): Count(delayed=1),
    }
    body = bytes.fromhex("00ff")
    plain = StoredJob(JobId(1000), QUEUE, b"plain")
    full = StoredJob(
        JobId(1001), QUEUE, body, b"-", b"\0key", None, b"sum", 3, {"traceparent": "00-é"}
    )
    assert await server.claim() == [plain, full]
    later = await server.store.find("acme", id=JobId(1002))
    assert later
    assert (later.run_at, later.unique, later.size) == (4e9, b"u", 0)
    dead = await server.store.dead_show(JobId(900))
    assert dead
    assert (dead.reason, dead.worker, dead.died, dead.job.body) == ("tired", "w", 1.7e9, b"dead")
    assert server.lease.id == 8
    assert server.lease.floor >= 1002
    recount(server.store)
    await server.store.close()


def test_steps_are_taken_in_order_and_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    first = migrations("sqlite")
    step = Migration(
        len(first) + 1, "test", "CREATE TABLE extra (n INTEGER);\nINSERT INTO extra VALUES (1);\n"
    )
    sqlite_file.open_file(path, cache_bytes=1 << 20).close()

    for _ in range(2):
        db = sqlite_file.open_file(path, cache_bytes=1 << 20, steps=[*first, step])
        assert db.execute("SELECT * FROM extra").fetchall() == [(1,)]
        assert db.execute("PRAGMA user_version").fetchone() == (len(first) + 1,)
        db.close()


def test_a_step_that_fails_leaves_the_format_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    first = migrations("sqlite")
    step = Migration(len(first) + 1, "test", "CREATE TABLE extra (n INTEGER);\nNO SUCH THING;\n")
    sqlite_file.open_file(path, cache_bytes=1 << 20).close()

    with pytest.raises(StoreRefused, match="syntax error"):
        sqlite_file.open_file(path, cache_bytes=1 << 20, steps=[*first, step])

    db = sqlite_file.open_file(path, cache_bytes=1 << 20)
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    db.close()
