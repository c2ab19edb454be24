"""A server that keeps its jobs in a SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import FakeServer


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[FakeServer]:
    server = await FakeServer(SqliteStore(tmp_path / "jobs.db"), "one").open()
    yield server
    await server.store.close()
