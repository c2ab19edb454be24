"""Servers and connections for the conformance tests.

``server`` runs a test twice, against ours and against the C server: where both
must behave alike, the C server proves the test. ``ours`` is for where we behave
otherwise on purpose. One server of a kind serves all tests of a module, so each
test takes function names of its own (``name``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.servers import OURS, C, Server
from tests.conformance.wire import Wire

Dial = Callable[..., Wire]
Start = Callable[..., Server]


# The C server proves a test; that is done once, whatever ours is run by.
@pytest.fixture(scope="module", params=[OURS, pytest.param(C, marks=pytest.mark.once)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which server: runs the test once for each."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    """A server with default settings, ours and then the C one."""
    with Server(kind) as started:
        yield started


@pytest.fixture(scope="module")
def ours() -> Iterator[Server]:
    """Our server with default settings, for what the C server does otherwise."""
    with Server(OURS) as started:
        yield started


@pytest.fixture
def start() -> Iterator[Start]:
    """Start more servers, with options; they are gone after the test."""
    with ExitStack() as stack:

        def one(kind: str, *options: str, limit_files: int | None = None) -> Server:
            return stack.enter_context(Server(kind, *options, limit_files=limit_files))

        yield one


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Connect to a server; the connection is closed after the test."""
    wires: list[Wire] = []

    def one(server: Server, receive_buffer: int | None = None) -> Wire:
        wire = server.connect(receive_buffer)
        wires.append(wire)
        return wire

    yield one

    for wire in wires:
        wire.close()


_numbers = itertools.count(1)


@pytest.fixture
def name() -> bytes:
    """A function name that no other test uses."""
    return b"f%d" % next(_numbers)
