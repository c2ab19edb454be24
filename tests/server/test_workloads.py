"""Large workloads come from the store, and one that cannot be read holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from geartrain.server.workloads import Workloads
from geartrain.stores.ids import id_of
from geartrain.stores.memory import MemoryStore
from geartrain.stores.port import JobId, StoreDown
from tests.broker.test_keeping import Keeper
from tests.broker.test_large import LARGE, grab


class Damaged(MemoryStore):
    """One of its rows cannot be read for now; the others are all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: JobId | None = None

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        if self.bad in ids:
            raise StoreDown("a page is damaged")
        return dict.fromkeys(ids, LARGE)


async def test_workload_that_cannot_be_read_is_tried_again_behind_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper, store = Keeper(), Damaged()
    client = keeper.mind.join()
    for _ in range(2):
        keeper.ask(client, workload=LARGE)
    first, second = (job.handle for job in keeper.store_all())
    workers = [keeper.mind.worker(), keeper.mind.worker()]
    for worker in workers:
        grab(keeper, worker)
        worker.heard()
    store.bad = id_of(first)
    told = asyncio.Event()
    workloads = Workloads(store, keeper.broker, told.set)
    running = asyncio.create_task(workloads.run())

    try:
        async with asyncio.timeout(10):
            while not workers[1].said:
                await asyncio.sleep(0.01)
            assert workers[1].said == [("assigned", 0, second)]
            assert workers[0].said == []

            store.bad = None
            while not workers[0].said:
                await asyncio.sleep(0.01)
        assert workers[0].said == [("assigned", 0, first)]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert f"the workload of {first.decode()} cannot be read: a page is damaged" in caplog.text
