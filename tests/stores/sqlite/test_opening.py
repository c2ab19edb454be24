"""Which files are refused at the start, and what is said to it."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from geartrain.stores import registry
from geartrain.stores.port import (
    StoreRefused,
)
from geartrain.stores.sql import migrations
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import TTL, FakeServer
from tests.stores.sqlite.files import refusal
from tests.support import patient


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
