"""Connections to embedded servers; closed after the test."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import pytest

from geartrain.testing import EmbeddedServer
from tests.conformance.wire import Wire
from tests.server.tls import Papers, Secure, SecureWire, make_papers

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


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates; nobody changes them."""
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def secure(papers: Papers) -> Iterator[Secure]:
    """Connect to a server through TLS."""
    wires: list[SecureWire] = []

    def one(
        server: EmbeddedServer,
        certificate: str = "",
        receive_buffer: int | None = None,
        version: ssl.TLSVersion | None = None,
    ) -> SecureWire:
        context = papers.context(certificate)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        wire = SecureWire(server, context, receive_buffer)
        wires.append(wire)
        return wire

    yield one

    for wire in wires:
        wire.close()
