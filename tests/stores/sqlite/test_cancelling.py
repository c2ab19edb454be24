"""A caller that goes away while the store is at work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from geartrain.stores.port import (
    FIRST,
    Count,
    JobId,
    Placement,
    Where,
)
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import FakeServer
from tests.stores.sqlite.files import held_open
from tests.stores.sqlite.test_contract import recount


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
