"""What can happen to a file, a log or a disk while the server runs, and what the store says to it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any, Self

import pytest

from geartrain.stores.port import (
    FIRST,
    Add,
    Ambiguous,
    Ending,
    Placement,
    StoreDown,
    Where,
)
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import QUEUE, FakeServer
from tests.stores.sqlite.test_contract import SqliteContract, recount


async def test_a_full_disk_is_told_and_forgotten_when_there_is_room(one: FakeServer) -> None:
    contract = SqliteContract()
    await one.add(one.job(b"before"))
    await contract.take_away(one.store)

    with pytest.raises(StoreDown, match=r"disk full: no room for .*jobs\.db"):
        await one.add(one.job(b"x" * 100_000), one.job(queue=QUEUE._replace(function=b"new")))

    await contract.bring_back(one.store)
    await one.add(one.job(b"after"), one.job(queue=QUEUE._replace(function=b"new")))
    recount(one.store)
    assert await one.bodies() == [b"before", b"after"]


async def test_a_file_that_was_moved_away_is_noticed(one: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.rename(tmp_path / "elsewhere.db")

    with pytest.raises(StoreDown, match="is gone"):
        await one.add(one.job())

    path.touch()
    with pytest.raises(StoreDown, match="was replaced"):
        await one.add(one.job())
    path.unlink()
    (tmp_path / "elsewhere.db").rename(path)
    await one.add(one.job(b"again"))
    assert await one.bodies() == [b"again"]


async def test_a_log_that_was_removed_is_saved_and_made_anew(
    one: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await one.add(one.job(b"before"))
    (tmp_path / "jobs.db-wal").unlink()

    await one.add(one.job(b"after"))

    assert "jobs.db-wal was removed" in caplog.text
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(tmp_path / name, copy / name)
    found = await FakeServer(SqliteStore(copy / "jobs.db"), "two").open()
    assert await found.bodies() == [b"before", b"after"]
    await found.store.close()
    assert await one.bodies() == [b"before", b"after"]
    recount(one.store)


async def test_a_log_that_was_replaced_is_noticed(one: FakeServer, tmp_path: Path) -> None:
    await one.add(one.job(b"before"))
    log = tmp_path / "jobs.db-wal"
    log.rename(tmp_path / "away")
    log.touch()

    with pytest.raises(StoreDown, match=r"jobs\.db-wal was replaced .* put it back, or remove it"):
        await one.add(one.job())

    log.unlink()
    await one.add(one.job(b"after"))
    assert await one.bodies() == [b"before", b"after"]
    recount(one.store)


async def test_another_program_may_look_and_may_hold_the_file_for_a_while(
    one: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(one.store, SqliteStore)
    assert one.store._writer is not None
    one.store._writer.db.execute("PRAGMA busy_timeout = 1")
    shell = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreDown, match="another program has held"):
        await one.add(one.job())

    shell.execute("ROLLBACK")
    shell.close()
    await one.add(one.job())


async def test_a_row_removed_behind_our_back_does_not_stop_the_batch(
    one: FakeServer, tmp_path: Path
) -> None:
    jobs = [one.job() for _ in range(3)]
    await one.add(*jobs, placement=Placement.MINE)
    await one.store.scan(None, FIRST, 10)  # they have rows now
    shell = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    shell.execute("DELETE FROM job WHERE id = ?", [jobs[1].id])
    shell.close()

    assert await one.end(*[job.id for job in jobs]) == [jobs[1].id]


class FailingCommit(sqlite3.Cursor):
    """A cursor whose disk fails while it commits, once; before or after it took effect."""

    def __init__(self, db: sqlite3.Connection, *, kept: bool) -> None:
        super().__init__(db)
        self._kept = kept
        self._armed = True

    def execute(self, statement: str, *values: Any) -> Self:
        commits = not self.connection.in_transaction and statement.startswith("INSERT INTO log")
        if self._armed and (commits or statement == "COMMIT"):
            self._armed = False
            if self._kept:
                super().execute(statement, *values)
            elif not commits:
                super().execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return super().execute(statement, *values)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("ending", [True, False], ids=["a transaction", "a single statement"])
async def test_a_disk_that_fails_while_committing_leaves_doubt_that_renewing_ends(
    one: FakeServer, ending: bool, kept: bool
) -> None:
    assert isinstance(one.store, SqliteStore)
    before, during = one.job(b"before"), one.job(b"during", unique=b"k")
    await one.add(before, placement=Placement.MINE)
    writer = one.store._writer
    assert writer is not None
    writer._cursor = FailingCommit(writer.db, kept=kept)
    adds = [Add(during, Placement.MINE)]
    ends = [Ending(before.id)] if ending else []

    with pytest.raises(Ambiguous):
        await one.store.commit(adds, ends, [])
    others = [] if ending else [before.id]
    renewed = await one.renew([*others, during.id], ends)
    done = await one.store.commit(adds, ends, [])

    assert renewed.kept == [*others, *([during.id] if kept else [])]
    assert done.added[0].id == during.id
    assert await one.where(during.id) is Where.MINE
    assert await one.where(before.id) is (None if ending else Where.MINE)
    recount(one.store)


async def test_a_closed_store_says_so(one: FakeServer) -> None:
    await one.store.close()

    for call in (one.claim(), one.add(one.job()), one.store.heartbeat(), one.count()):
        with pytest.raises(StoreDown, match="closed"):
            await call
