"""One connection to PostgreSQL: nobody loses it while somebody waits for an answer."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from geartrain.stores.port import Ambiguous
from geartrain.stores.postgres_link import Db, Link
from tests.stores.postgres_server import Cluster, Place
from tests.support import patient


class Witness:
    """What is asked of the database, and whether anybody waited when the connection was closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self.waited_at_close: list[int] = []
        #: Whether the library's memory was gone when somebody still waited.
        self.freed: list[bool] = []
        close = psycopg.AsyncConnection.close

        async def note(db: Db) -> None:
            self.waited_at_close.append(self.waiting)
            await close(db)

        monkeypatch.setattr(psycopg.AsyncConnection, "close", note)

    async def sleep(self, db: Db) -> str:
        self.waiting += 1
        try:
            await db.execute("SELECT pg_sleep(60)")
        finally:
            self.waiting -= 1
            self.freed.append(db.pgconn.pgconn_ptr is None)  # type: ignore[attr-defined]
        return "slept"


@pytest.fixture
def place(cluster: Cluster) -> Place:
    return Place(cluster)


async def one(db: Db) -> object:
    return await (await db.execute("SELECT 1")).fetchone()


async def test_connection_that_is_silent_is_closed_when_nobody_waits_any_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would look at what was freed."""
    witness = Witness(monkeypatch)
    link = Link(place.url(direct=True), 0.2)

    for _ in range(3):
        with pytest.raises(Ambiguous, match="no answer in"):
            await link.work(witness.sleep, writes=True)
        link.patience = patient(10.0)
        assert await link.work(one, writes=False) == (1,)
        link.patience = 0.2

    assert witness.waited_at_close == [0, 0, 0]
    assert witness.freed == [False, False, False]
    await link.close()


async def test_nobody_has_the_connection_of_one_who_was_cancelled_before_his_work_has_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(monkeypatch)
    link = Link(place.url(direct=True), patient(10.0))
    assert await link.work(one, writes=False) == (1,)
    link.patience = patient(0.5)
    cancelled = asyncio.create_task(link.work(witness.sleep, writes=False))
    while not witness.waiting:
        await asyncio.sleep(0)

    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert witness.waiting == 1
    await link.close()

    assert witness.waited_at_close == [0]
