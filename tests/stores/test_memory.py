"""The reference store, under the contract and a clock that the test turns."""

from __future__ import annotations

import pytest

from geartrain.stores.memory import MemoryStore, MemoryWorld
from geartrain.stores.port import Lease, QueueStore
from geartrain.testing.store_contract import MakeStore, StoreContract


def the_world(store: QueueStore) -> MemoryWorld:
    assert isinstance(store, MemoryStore)
    return store.world


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        world = MemoryWorld(clock=lambda: 1000.0)
        return lambda: MemoryStore(world)

    async def expire(self, store: QueueStore, lease: Lease) -> None:
        the_world(store).leases[lease.id].expires = 0.0

    async def lose_next_answer(self, store: QueueStore) -> None:
        the_world(store).lose_next_answer = True

    async def take_away(self, store: QueueStore) -> None:
        the_world(store).down = "the test took it away"

    async def bring_back(self, store: QueueStore) -> None:
        the_world(store).down = ""

    async def verify(self, store: QueueStore) -> None:
        world = the_world(store)
        ready = {id for id, row in world.rows.items() if row.owner is None and not row.job.run_at}
        assert ready == {id for pool in world.pools.values() for id in pool}
        assert len(world.keys) == sum(row.job.key is not None for row in world.rows.values())
