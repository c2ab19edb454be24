"""What can be wrong with a file, a disk or an owner, and what the store says to it."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from geartrain.stores import registry, sqlite_file
from geartrain.stores.port import (
    FIRST,
    Add,
    Ambiguous,
    Count,
    Ending,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
    StoreDown,
    StoreRefused,
    Where,
)
from geartrain.stores.sql import Migration, migrations
from geartrain.stores.sqlite import SqliteStore
from geartrain.stores.sqlite_file import LONGEST_LOG_BYTES
from geartrain.testing.store_kit import TTL, FakeServer, MakeStore
from tests.stores.test_sqlite import SqliteContract, recount
from tests.support import patient

OLD = Path(__file__).parent / "old"
QUEUE = QueueKey("", b"resize", 1)


class TestSpillFile(SqliteContract):
    """``memory://``: the same store, on a file without a name."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        store = registry.from_url(f"memory://?spill-dir={tmp_path}")
        return lambda: store

    @pytest.mark.skip(reason="nothing survives")
    async def test_everything_is_there_after_a_restart(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.skip(reason="nothing survives")
    async def test_keys_hold_across_a_restart(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.skip(reason="nothing survives")
    async def test_a_lease_is_never_used_twice(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.skip(reason="nothing survives")
    async def test_new_ids_are_above_all_old_ones(self) -> None:  # type: ignore[override]
        """Not here."""

    async def test_the_file_has_no_name_and_ends_with_the_store(
        self, one: FakeServer, tmp_path: Path
    ) -> None:
        await one.add(*[one.job(b"x" * 10_000) for _ in range(200)])

        assert list(tmp_path.iterdir()) == []
        assert one.store.traits.durable == "none"


def test_a_spill_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    store = registry.from_url(f"memory://?spill-dir={tmp_path / 'nowhere'}")

    with pytest.raises(StoreRefused, match="cannot make a spill file"):
        asyncio.run(store.open("one", TTL))


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[FakeServer]:
    server = await FakeServer(SqliteStore(tmp_path / "jobs.db"), "one").open()
    yield server
    await server.store.close()


async def refusal(path: Path) -> str:
    store = SqliteStore(path)
    with pytest.raises(StoreRefused) as caught:
        await store.open("one", TTL)
    await store.close()
    return str(caught.value)


async def test_small_commits_find_the_log_as_long_as_they_need_it(
    one: FakeServer, tmp_path: Path
) -> None:
    log = tmp_path / "jobs.db-wal"
    before = log.stat().st_size

    for _ in range(20):
        await one.add(one.job(b"x"))

    assert log.stat().st_size == before == sqlite_file.LOG_BYTES


async def test_a_log_that_cannot_be_made_long_grows_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        server = await FakeServer(SqliteStore(tmp_path / "jobs.db"), "one").open()

    await server.add(server.job(b"x"))
    assert 0 < (tmp_path / "jobs.db-wal").stat().st_size < sqlite_file.LOG_BYTES
    await server.store.close()


# ── refused at the start ─────────────────────────────────────────────────────


async def test_a_second_server_is_told_who_has_the_file(one: FakeServer, tmp_path: Path) -> None:
    text = await refusal(tmp_path / "jobs.db")

    assert f"in use by one (process {os.getpid()})" in text
    assert "postgresql://" in text


@pytest.mark.parametrize("way", ["symlink", "hard link", "no lock file"])
async def test_a_second_server_is_refused_by_whatever_name_it_comes(
    one: FakeServer, tmp_path: Path, way: str
) -> None:
    path = tmp_path / "other.db"
    if way == "symlink":
        path.symlink_to(tmp_path / "jobs.db")
    elif way == "hard link":
        path.hardlink_to(tmp_path / "jobs.db")
    else:
        path = tmp_path / "jobs.db"
        (tmp_path / "jobs.db.lock").unlink()

    assert f"{path} is in use by" in await refusal(path)

    await one.add(one.job(b"x"))
    await one.store.close()
    await open_and_close(path)


async def test_a_lock_without_room_for_a_name_is_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", full)
        server = await FakeServer(SqliteStore(tmp_path / "jobs.db"), "one").open()

    assert "is in use by another process" in await refusal(tmp_path / "jobs.db")
    await server.store.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"no folder {tmp_path / 'not'}" in await refusal(tmp_path / "not" / "jobs.db")


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a folder; name a file in it" in await refusal(tmp_path)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"Dear diary, " * 1000)

    assert "damaged (file is not a database)" in await refusal(path)
    assert path.read_bytes().startswith(b"Dear diary")


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE bookmark (url TEXT)")

    assert "some other program" in await refusal(path)


async def test_the_queue_of_a_c_server_is_refused_with_the_way_to_import_it(tmp_path: Path) -> None:
    path = tmp_path / "gearman.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE gearman_queue (unique_key TEXT)")

    assert f"gearadmin import sqlite://{path}" in await refusal(path)


async def test_a_file_from_the_future_is_refused(one: FakeServer, tmp_path: Path) -> None:
    await one.store.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db, db:
        db.execute("PRAGMA user_version = 99")

    text = await refusal(tmp_path / "jobs.db")

    assert f"has format 99, this geartrain knows up to {len(migrations('sqlite'))}" in text


@pytest.mark.parametrize("what", ["file", "folder"])
def test_no_permission_is_told(tmp_path: Path, what: str) -> None:
    """In a process that may not: root may everything."""
    folder = tmp_path / "store"
    folder.mkdir()
    path = folder / "jobs.db"
    asyncio.run(open_and_close(path))
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    (path if what == "file" else folder).chmod(0o555)
    (folder / "jobs.db.lock").chmod(0o666)
    if what == "file":
        folder.chmod(0o777)
    script = f"""
import asyncio, os
from pathlib import Path
from geartrain.stores.port import StoreRefused
from geartrain.stores.sqlite_file import LONGEST_LOG_BYTES
from geartrain.stores.sqlite import SqliteStore
if os.getuid() == 0:
    os.setuid(65534)
store = SqliteStore(Path({str(path)!r}))
try:
    asyncio.run(store.open("one", 60))
except StoreRefused as error:
    print(error)
"""
    answer = subprocess.run(
        [sys.executable, "-B", "-c", script],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=patient(30),
    )
    folder.chmod(0o755)

    wanted = "no permission to read and write" if what == "file" else "cannot write to"
    assert wanted in answer.stdout, answer.stderr


async def open_and_close(path: Path) -> None:
    store = SqliteStore(path)
    await store.open("one", TTL)
    await store.close()


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    asyncio.run(open_and_close(tmp_path / "jobs.db"))

    assert (tmp_path / "jobs.db").stat().st_mode & 0o777 == 0o600


def test_urls_name_files(tmp_path: Path) -> None:
    absolute, relative = registry.from_url("sqlite:///var/a%20b.db"), registry.from_url(
        "sqlite://jobs.db?cache=1M"
    )  # fmt: skip

    assert isinstance(absolute, SqliteStore)
    assert isinstance(relative, SqliteStore)
    assert (absolute.path, relative.path) == (Path("/var/a b.db"), Path("jobs.db"))
    with pytest.raises(StoreRefused, match="names no file"):
        registry.from_url("sqlite://")


# ── going wrong on the way ───────────────────────────────────────────────────


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
    """A cursor whose disk fails at COMMIT, once; before or after it took effect."""

    def __init__(self, db: sqlite3.Connection, *, kept: bool) -> None:
        super().__init__(db)
        self._kept = kept
        self._armed = True

    def execute(self, statement: str, *values: Any) -> Self:
        if statement == "COMMIT" and self._armed:
            self._armed = False
            super().execute("COMMIT" if self._kept else "ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return super().execute(statement, *values)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_disk_that_fails_while_committing_leaves_doubt_that_renewing_ends(
    one: FakeServer, kept: bool
) -> None:
    assert isinstance(one.store, SqliteStore)
    before, during = one.job(b"before"), one.job(b"during", unique=b"k")
    await one.add(before, placement=Placement.MINE)
    writer = one.store._writer
    assert writer is not None
    writer._cursor = FailingCommit(writer.db, kept=kept)
    adds, ends = [Add(during, Placement.MINE)], [Ending(before.id)]

    with pytest.raises(Ambiguous):
        await one.store.commit(adds, ends, [])
    renewed = await one.renew([during.id], ends)
    done = await one.store.commit(adds, ends, [])

    assert renewed.kept == ([during.id] if kept else [])
    assert done.added[0].id == during.id
    assert await one.where(during.id) is Where.MINE
    assert await one.where(before.id) is None
    recount(one.store)


async def test_a_damaged_page_is_told_and_nothing_crashes(one: FakeServer, tmp_path: Path) -> None:
    await one.add(*[one.job(b"x" * 3000) for _ in range(300)])
    await one.store.close()
    path = tmp_path / "jobs.db"
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xde\xad" * (4096 * 100))
    store = SqliteStore(path)

    try:
        again = await FakeServer(store, "one").open()
    except StoreRefused as error:
        assert "damaged" in str(error)  # noqa: PT017
        return
    for _ in range(3):
        with pytest.raises(StoreDown, match="damaged"):
            await again.claim()
            await again.add(again.job(b"x" * 100_000))
    await store.close()


@pytest.mark.parametrize("where", ["beginning", "middle"])
async def test_a_damaged_log_is_refused_and_left_alone(
    one: FakeServer, tmp_path: Path, where: str
) -> None:
    for n in range(20):
        await one.add(one.job(b"%d" % n))
    copy = crashed(tmp_path)
    log = copy / "jobs.db-wal"
    with log.open("r+b") as file:
        file.seek(0 if where == "beginning" else 32 + 12 * (24 + 4096) + 2000)
        file.write(b"\xde\xad" * 20)
    before = log.read_bytes()

    assert "jobs.db-wal is damaged: at least" in await refusal(copy / "jobs.db")
    assert log.read_bytes() == before


async def test_a_commit_that_a_crash_cut_off_is_no_damage(one: FakeServer, tmp_path: Path) -> None:
    for n in range(20):
        await one.add(one.job(b"%d" % n))
    copy = crashed(tmp_path)
    frames = frames_of(copy)
    log = copy / "jobs.db-wal"
    with log.open("r+b") as file:
        file.seek(32 + (frames - 1) * (24 + 4096) + 2000)
        file.write(b"\xde\xad" * 20)

    again = await FakeServer(SqliteStore(copy / "jobs.db"), "two").open()

    assert await again.bodies() == [b"%d" % n for n in range(19)]
    await again.store.close()


def crashed(folder: Path) -> Path:
    """What a crash would leave of the files now, in a folder of its own."""
    copy = folder / "copy"
    copy.mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(folder / name, copy / name)
    return copy


def frames_of(folder: Path) -> int:
    """How many frames of SQLite's log are valid."""
    other = folder / "other"
    other.mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(folder / name, other / name)
    db = sqlite3.connect(other / "jobs.db")
    (_, frames, _) = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    db.close()
    return int(frames)


async def test_a_cancelled_caller_leaves_the_counts_right(one: FakeServer) -> None:
    job = one.job()
    task = asyncio.ensure_future(one.add(job, placement=Placement.MINE))
    await asyncio.sleep(0)
    task.cancel()

    while await one.where(job.id) is not Where.MINE:
        await asyncio.sleep(0)
    await one.store.tidy()  # stands behind the commit in the writer's line

    recount(one.store)
    assert await one.count() == Count()


def held_open(folder: Path) -> list[str]:
    """Files in a folder that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in found if name.startswith(str(folder))]


async def test_an_opening_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.db")
    task = asyncio.ensure_future(store.open("one", 60.0))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert held_open(tmp_path) == []


async def test_a_closing_that_is_cancelled_closes_all_the_same(
    one: FakeServer, tmp_path: Path
) -> None:
    task = asyncio.ensure_future(one.store.close())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert held_open(tmp_path) == []


async def test_a_spill_file_that_cannot_be_made_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite_file, "migrate", full)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        sqlite_file.open_spill(str(tmp_path), cache_bytes=1 << 20)

    assert held_open(tmp_path) == []
    assert os.listdir(tmp_path) == []


async def test_a_row_is_not_claimed_while_it_is_cancelled(one: FakeServer) -> None:
    jobs = [one.job(b"%d" % n) for n in range(400)]
    await one.add(*jobs)
    cancelled: set[JobId] = set()
    claimed: set[JobId] = set()

    async def cancel(id: JobId) -> None:
        missed = await one.end(id)
        assert missed in ([], [id])
        if not missed:
            cancelled.add(id)

    async def claim() -> None:
        claimed.update(job.id for job in await one.claim(limit=7))

    for at in range(0, 400, 40):
        await asyncio.gather(
            *[cancel(job.id) for job in jobs[at : at + 40 : 5]], *[claim() for _ in range(5)]
        )
    while page := await one.claim():
        claimed |= {job.id for job in page}

    assert cancelled | claimed == {job.id for job in jobs}
    present = {facts.id for facts in await one.store.scan(None, FIRST, 1000)}
    assert present == claimed - cancelled
    recount(one.store)


async def test_a_long_queue_given_back_shrinks_the_file(one: FakeServer, tmp_path: Path) -> None:
    jobs = [one.job(b"x" * 20_000) for _ in range(500)]
    await one.add(*jobs, placement=Placement.MINE)
    await one.store.tidy()
    full = (tmp_path / "jobs.db").stat().st_size
    await one.end(*[job.id for job in jobs])

    while await one.store.tidy():
        pass
    await one.store.tidy()

    assert (tmp_path / "jobs.db").stat().st_size < full / 2


async def test_room_that_a_large_job_took_in_the_log_of_sqlite_is_given_back(
    one: FakeServer, tmp_path: Path
) -> None:
    log = tmp_path / "jobs.db-wal"
    await one.add(one.job(body=b"x" * 40_000_000))
    assert log.stat().st_size > 40_000_000

    while await one.store.tidy():
        pass
    await one.store.tidy()
    await one.add(one.job())

    assert log.stat().st_size <= LONGEST_LOG_BYTES


async def test_room_is_that_of_the_folder_of_the_file(one: FakeServer, tmp_path: Path) -> None:
    room = one.store.room()

    assert room is not None
    assert room.folder == str(tmp_path)
    assert 0 <= room.free < room.size


async def test_a_closed_store_says_so(one: FakeServer) -> None:
    await one.store.close()

    for call in (one.claim(), one.add(one.job()), one.store.heartbeat(), one.count()):
        with pytest.raises(StoreDown, match="closed"):
            await call


async def test_the_documented_repair_brings_back_what_can_be_read(
    one: FakeServer, tmp_path: Path, root: Path
) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("no sqlite3 on the path (apt-get install sqlite3)")
    text = (root / "docs" / "durability.md").read_text()
    section = text.partition("\n## A damaged file\n")[2].partition("\n## ")[0]
    count = re.search(r"<!-- file: count.sql -->\n```sql\n(.*?)```", section, re.DOTALL)
    assert count
    (tmp_path / "count.sql").write_text(count[1])
    script = [
        line[2:] for line in section.splitlines() if re.match(r"\$ (mkdir|cp|sqlite3) ", line)
    ]
    assert len(script) > 2
    await one.add(*[one.job(b"x" * 500, unique=b"%d" % n) for n in range(1000)])
    await one.store.close()
    with (tmp_path / "jobs.db").open("r+b") as file:
        file.seek(4096 * 60)
        file.write(b"\xde\xad" * 2048)

    subprocess.run("\n".join(script), shell=True, cwd=tmp_path, check=True)

    again = await FakeServer(SqliteStore(tmp_path / "new.db"), "one").open()
    assert (await again.count()).ready >= 900
    recount(again.store)
    await again.store.close()


# ── formats ──────────────────────────────────────────────────────────────────


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


# ── kill -9 ──────────────────────────────────────────────────────────────────

_VICTIM = """
import asyncio, sys, time
from pathlib import Path
from geartrain.stores.sqlite_file import LONGEST_LOG_BYTES
from geartrain.stores.sqlite import SqliteStore
from geartrain.stores.port import *
from geartrain.testing.store_kit import FakeServer

async def main():
    one = await FakeServer(SqliteStore(Path(sys.argv[1])), "one").open()
    before = []
    while True:
        jobs = [one.job(b"x" * 300) for _ in range(20)]
        await one.store.commit([Add(j, Placement.MINE) for j in jobs],
                               [Ending(j.id) for j in before], [])
        print(*["+%d" % j.id for j in jobs], *["-%d" % j.id for j in before], flush=True)
        before = jobs[::2]

asyncio.run(main())
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged_and_brings_nothing_back(
    tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "jobs.db"
    added: set[int] = set()
    ended: set[int] = set()
    for round in range(5):
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, str(path)],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert victim.stdout
        lines = []
        for line in victim.stdout:
            lines.append(line)
            if len(lines) == 20 + 37 * round:
                victim.kill()
        victim.stdout.close()
        victim.wait()
        for line in lines:
            if not line.endswith("\n"):
                continue
            for word in line.split():
                (added if word[0] == "+" else ended).add(int(word[1:]))
        there = asyncio.run(everything(path))
        assert added - ended <= there | batch_of(lines), "an acknowledged job is lost"
        # What the last commit, whose answer was not read, ended or added is in doubt.
        assert len(there & ended) == 0, "an ended job is back"
        assert len((added - ended) - there) <= 10
        ended |= (added - ended) - there
        added |= there


def batch_of(lines: list[str]) -> set[int]:
    """Jobs that the commit after the last answer may have ended."""
    return {int(word[1:]) for word in lines[-1].split() if word[0] == "+"} | {
        int(word[1:]) for word in lines[-2].split() if word[0] == "+"
    }


async def everything(path: Path) -> set[int]:
    server = await FakeServer(SqliteStore(path), "after").open()
    recount(server.store)
    seen: set[int] = set()
    after = FIRST
    while page := await server.store.scan(None, after, 1000):
        seen |= {facts.id for facts in page}
        after = page[-1].id
    await server.store.close()
    return seen
