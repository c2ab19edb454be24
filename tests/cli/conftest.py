"""A server for a whole module, and the tools to use on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.tools import Server, Tools


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def tools(server: Server) -> Iterator[Tools]:
    found = Tools(server.port)
    yield found
    found.close()
