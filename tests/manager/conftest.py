from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geartrain.client.sync import Client
from geartrain.testing import EmbeddedServer
from tests.manager.running import Running


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Client]:
    with Client(server.address, timeout=20) as client:
        yield client


@pytest.fixture
def manager(tmp_path: Path, server: EmbeddedServer) -> Iterator[Running]:
    """A gearman-worker that is yet to be started."""
    with Running(tmp_path, server.address) as running:
        yield running
