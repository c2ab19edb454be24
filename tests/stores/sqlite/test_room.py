"""How much room the file and its log take, and give back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from geartrain.stores import sqlite_file
from geartrain.stores.port import (
    Placement,
)
from geartrain.stores.sqlite import SqliteStore
from geartrain.stores.sqlite_file import LONGEST_LOG_BYTES
from geartrain.testing.store_kit import FakeServer


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
