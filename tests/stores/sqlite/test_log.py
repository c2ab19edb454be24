"""Jobs that are in the log of a SQLite store, and how they become rows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from geartrain.stores.port import FIRST, Add, Added, Ending, JobId, Placement, StoreDown, Where
from geartrain.stores.sqlite import SqliteStore
from geartrain.stores.sqlite_log import ENTRY_BYTES, LARGEST_BODY, JobLog
from geartrain.testing.store_kit import QUEUE, FakeServer
from tests.stores.sqlite.test_contract import recount


def log_of(server: FakeServer) -> JobLog:
    assert isinstance(server.store, SqliteStore)
    assert server.store._writer is not None
    return server.store._writer.log


def rows(path: Path) -> list[int]:
    db = sqlite3.connect(path / "jobs.db")
    try:
        return [id for (id,) in db.execute("SELECT id FROM job ORDER BY id")]
    finally:
        db.close()


async def test_plain_jobs_are_not_rows_and_leave_nothing(one: FakeServer, tmp_path: Path) -> None:
    jobs = [one.job(b"%d" % n) for n in range(3)]
    await one.add(*jobs, placement=Placement.MINE)
    assert rows(tmp_path) == []
    assert len(log_of(one).where) == 3

    await one.end(jobs[1].id)
    await one.end(jobs[0].id, jobs[2].id)

    assert rows(tmp_path) == []
    assert not log_of(one).entries
    db = sqlite3.connect(tmp_path / "jobs.db")
    assert db.execute("SELECT count(*) FROM log").fetchone() == (0,)
    db.close()


async def test_what_ended_in_the_log_does_not_come_back(one: FakeServer, tmp_path: Path) -> None:
    jobs = [one.job(b"%d" % n) for n in range(4)]
    await one.add(*jobs[:3], placement=Placement.MINE)
    await one.add(jobs[3], placement=Placement.MINE)
    await one.end(jobs[1].id, jobs[3].id)
    await one.store.close()

    again = await FakeServer(SqliteStore(tmp_path / "jobs.db"), "one").open()

    assert (await again.count()).ready == 2
    assert [job.id for job in await again.claim(limit=10)] == [jobs[0].id, jobs[2].id]
    assert again.lease.floor >= jobs[3].id
    recount(again.store)
    await again.store.close()


async def test_ids_are_not_given_again_when_the_log_was_emptied(
    one: FakeServer, tmp_path: Path
) -> None:
    job = one.job()
    await one.add(job, placement=Placement.MINE)
    await one.end(job.id)
    await one.store.close()

    again = await FakeServer(SqliteStore(tmp_path / "jobs.db"), "one").open()

    assert again.lease.floor >= job.id
    await again.store.close()


@pytest.mark.parametrize("size", [0, LARGEST_BODY, LARGEST_BODY + 1])
async def test_large_bodies_are_rows_at_once(one: FakeServer, tmp_path: Path, size: int) -> None:
    job = one.job(b"x" * size)
    await one.add(job, placement=Placement.MINE)

    assert rows(tmp_path) == ([job.id] if size > LARGEST_BODY else [])
    assert await one.store.load([job.id]) == {job.id: b"x" * size}


async def test_order_is_kept_between_rows_and_the_log(one: FakeServer) -> None:
    jobs = [one.job(b"x" * (LARGEST_BODY + 1 if n % 3 == 0 else 1)) for n in range(10)]
    for job in jobs:
        await one.add(job)

    assert [job.id for job in await one.claim(limit=4)] == [job.id for job in jobs[:4]]
    assert [job.id for job in await one.claim(limit=10)] == [job.id for job in jobs[4:]]
    recount(one.store)


async def test_a_long_log_moves_its_oldest_jobs_on(one: FakeServer, tmp_path: Path) -> None:
    log_of(one).most_jobs = 3
    jobs = [one.job(b"%d" % n, unique=b"%d" % n) for n in range(8)]
    for job in jobs:
        await one.add(job, placement=Placement.MINE)

    assert rows(tmp_path) == [job.id for job in jobs[:4]]
    again = one.job(unique=b"0")
    (answer,) = await one.add(again)
    assert (answer.outcome, answer.id) == (Added.MERGED, jobs[0].id)
    recount(one.store)


async def test_tidying_makes_rows_of_all(one: FakeServer, tmp_path: Path) -> None:
    jobs = [one.job(b"%d" % n) for n in range(5)]
    await one.add(*jobs, placement=Placement.MINE)
    while await one.store.tidy():
        continue

    assert rows(tmp_path) == [job.id for job in jobs]
    assert await one.claim(limit=10) == []
    assert await one.end(*[job.id for job in jobs]) == []
    recount(one.store)


async def test_one_commit_is_several_entries_when_it_is_large(one: FakeServer) -> None:
    jobs = [one.job(b"x" * (ENTRY_BYTES // 4)) for _ in range(10)]
    await one.add(*jobs)

    assert len(log_of(one).entries) == 3
    assert [job.id for job in await one.claim(limit=20)] == [job.id for job in jobs]
    recount(one.store)


async def test_who_is_looked_for_becomes_a_row(one: FakeServer, tmp_path: Path) -> None:
    first, second, third = (one.job(b"x", unique=unique) for unique in (b"a", b"b", b"c"))
    await one.add(first, second, third, placement=Placement.MINE)

    facts = await one.store.find("", id=second.id)
    assert facts
    assert (facts.id, facts.where, facts.unique) == (second.id, Where.MINE, b"b")
    assert rows(tmp_path) == [second.id]
    facts = await one.store.find("", key=(third.queue.function, b"c"))
    assert facts
    assert facts.id == third.id
    assert rows(tmp_path) == [second.id, third.id]
    assert [facts.id for facts in await one.store.scan("", FIRST, 10)] == [
        first.id,
        second.id,
        third.id,
    ]
    recount(one.store)


async def test_a_dead_job_that_was_in_the_log_keeps_its_body(one: FakeServer) -> None:
    job = one.job(b"body", unique=b"u")
    await one.add(job, placement=Placement.MINE)
    await one.store.commit([], [Ending(job.id, "tired", 3, "w")], [])

    dead = await one.store.dead_show(job.id)
    assert dead
    assert (dead.job.body, dead.job.unique, dead.job.attempts) == (b"body", b"u", 3)
    await one.add(one.job(b"other", unique=b"u"), placement=Placement.MINE)
    assert await one.store.dead_retry([job.id]) == []
    recount(one.store)


async def test_a_commit_that_fails_leaves_the_log_as_it_was(
    one: FakeServer, tmp_path: Path
) -> None:
    first, second = one.job(b"1", unique=b"a"), one.job(b"2", unique=b"b")
    await one.add(first, placement=Placement.MINE)
    shell = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    assert isinstance(one.store, SqliteStore)
    assert one.store._writer is not None
    one.store._writer.db.execute("PRAGMA busy_timeout = 1")
    shell.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreDown):
        await one.store.commit([Add(second, Placement.MINE)], [Ending(first.id)], [])

    shell.execute("ROLLBACK")
    shell.close()
    (answer,) = await one.add(one.job(unique=b"a"))
    assert (answer.outcome, answer.id) == (Added.MERGED, first.id)
    (answer,) = await one.add(second, placement=Placement.MINE)
    assert (answer.outcome, answer.id) == (Added.STORED, JobId(second.id))
    assert await one.end(first.id, second.id) == []
    recount(one.store)


async def test_a_claim_leaves_the_jobs_of_other_queues_in_the_log(
    one: FakeServer, tmp_path: Path
) -> None:
    other = QUEUE._replace(function=b"other")
    for n in range(30):
        await one.add(one.job(b"%d" % n), one.job(b"%d" % n))
    wanted = [one.job(b"x", queue=other) for _ in range(2)]
    await one.add(one.job(), wanted[0], one.job(), wanted[1])
    again = await FakeServer(await reopened(one, tmp_path), "one").open()

    assert [job.id for job in await again.claim(other)] == [job.id for job in wanted]
    assert rows(tmp_path) == [job.id for job in wanted]
    recount(again.store)
    assert len(await again.claim()) == 62
    recount(again.store)
    await again.store.close()


async def test_an_old_job_does_not_keep_those_that_are_over_in_memory(
    one: FakeServer, tmp_path: Path
) -> None:
    old = one.job(b"old", unique=b"old")
    await one.add(old)
    jobs = [one.job(b"%d" % n, unique=b"%d" % n) for n in range(20)]
    for job in jobs:
        await one.add(job, placement=Placement.MINE)
        await one.end(job.id)
    again = await FakeServer(await reopened(one, tmp_path), "one").open()

    log = log_of(again)
    assert list(log.where) == [old.id]
    assert log.keys == {log.where[old.id].queue >> 2: {b"old": old.id}}
    assert [entry.live for entry in log.entries] == [1] + [0] * 40
    assert [job.id for job in await again.claim()] == [old.id]
    assert await again.end(old.id) == []
    recount(again.store)
    await again.store.close()


async def reopened(server: FakeServer, folder: Path) -> SqliteStore:
    await server.store.close()
    return SqliteStore(folder / "jobs.db")
