"""Connections to embedded servers; closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from geartrain.testing import EmbeddedServer
from tests.conformance.wire import Wire

Dial = Callable[..., Wire]


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Connect to a server in bytes."""
    wires: list[Wire] = []

    def one(server: EmbeddedServer, receive_buffer: int | None = None) -> Wire:
        wire = Wire((server.host, server.port), receive_buffer=receive_buffer)
        wires.append(wire)
        return wire

    yield one

    for wire in wires:
        wire.close()
