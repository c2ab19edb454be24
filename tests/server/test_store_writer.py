"""The one that writes to the store: what goes to it when, and who is told when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from geartrain.server.store_writer import StoreWriter
from geartrain.stores.memory import MemoryStore
from geartrain.stores.port import Add, Committed, Ending, Give, StoreDown
from geartrain.terms import NORMAL
from tests.broker.mind import Ear, Mind


class Diary(MemoryStore):
    """A store that commits when it is told to, and writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[str] = []
        self.gates: list[asyncio.Future[None]] = []
        self.begun = asyncio.Semaphore(0)

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        bodies = b" ".join([add.job.body or b"" for add in adds]).decode()
        self.entries.append(f"write {bodies}" if bodies else f"end {len(ends)}")
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        self.begun.release()
        await gate
        return await super().commit(adds, ends, gives)

    def go(self) -> None:
        """The disk has the oldest batch that it was given."""
        self.gates.pop(0).set_result(None)

    def fail(self) -> None:
        """It is full."""
        self.gates.pop(0).set_exception(StoreDown("disk full"))


class House:
    """A broker, its store, and the one between them."""

    def __init__(self) -> None:
        self.store = Diary()
        self.mind = Mind(durable=True)
        self.client = self.mind.join()
        self.writer = StoreWriter(
            self.store, self.mind.broker, b"H:test:", self._tell, server="test", patience=0.0
        )
        self.told = asyncio.Event()

    def _tell(self) -> None:
        heard = self._heard(self.client)
        if heard:
            self.store.entries.append(" ".join(heard))
            self.told.set()

    @staticmethod
    def _heard(ear: Ear) -> list[str]:
        return [str(word[0]) for word in ear.heard() if word[0] != "promised"]

    async def __aenter__(self) -> House:
        await self.writer.open()
        self.writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        stopping = asyncio.ensure_future(self.writer.stop())
        while not stopping.done():
            for gate in self.store.gates:
                if not gate.done():
                    gate.set_result(None)
            await asyncio.sleep(0)
        await stopping

    def submit(self, *workloads: bytes) -> None:
        for workload in workloads:
            self.mind.broker.submit(self.client, b"f", b"", workload, NORMAL, True, 0, b"")
        self.writer.wished()

    async def given(self) -> None:
        """Until the store has been given one batch more."""
        async with asyncio.timeout(10):
            await self.store.begun.acquire()

    async def answered(self) -> None:
        """Until the client has been told something."""
        async with asyncio.timeout(10):
            await self.told.wait()
        self.told.clear()


async def test_batch_that_is_ready_goes_to_the_store_before_the_last_is_answered_for() -> None:
    async with House() as house:
        house.submit(b"a")
        await house.given()
        house.submit(b"b", b"c")
        house.store.go()
        await house.given()
        await house.answered()
        house.store.go()
        await house.answered()

        assert house.store.entries == ["write a", "write b c", "redeemed", "redeemed redeemed"]


async def test_single_job_waits_until_the_last_batch_is_answered_for() -> None:
    async with House() as house:
        house.submit(b"a")
        await house.given()
        house.submit(b"b")
        house.store.go()
        await house.given()

        assert house.store.entries == ["write a", "redeemed", "write b"]


async def test_batch_that_is_answered_for_late_is_not_repeated_when_the_next_fails() -> None:
    async with House() as house:
        house.submit(b"a")
        await house.given()
        house.submit(b"b", b"c")
        house.store.go()
        await house.given()
        house.store.fail()
        await house.answered()
        await house.answered()

        assert house.store.entries == ["write a", "write b c", "redeemed", "reneged reneged"]
        assert house.mind.counts()[0] == 1


async def test_lines_are_counted_when_the_broker_knows_all_that_is_stored() -> None:
    async with House() as house:
        house.submit(b"a")
        await house.given()
        house.submit(b"b", b"c")
        counting = asyncio.ensure_future(house.writer.recount())
        house.store.go()
        await counting

        assert house.store.entries[:2] == ["write a", "redeemed"]
        assert house.mind.counts()[0] == 3


async def test_nothing_is_idle_as_long_as_somebody_is_to_be_told() -> None:
    async with House() as house:
        house.submit(b"a")
        await house.given()
        assert not house.writer.idle
        house.store.go()
        await house.answered()
        assert house.writer.idle


@pytest.mark.parametrize("count", [2, 1000, 2500])
async def test_every_job_is_answered_for_once_however_many_batches_there_are(count: int) -> None:
    async with House() as house:
        house.submit(*[b"%d" % n for n in range(count)])
        heard = 0
        while heard < count:
            await house.given()
            house.store.go()
            await asyncio.sleep(0)
            heard = sum(entry.count("redeemed") for entry in house.store.entries)
            while heard < count and not house.store.gates:
                await asyncio.sleep(0)
                heard = sum(entry.count("redeemed") for entry in house.store.entries)

        assert heard == count
        assert house.mind.counts()[0] == count
