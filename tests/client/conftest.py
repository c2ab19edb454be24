from __future__ import annotations

from collections.abc import Iterator

import pytest

from geartrain.client.sync import Client
from geartrain.worker.connection import WorkerConnection
from tests.client.servers import KINDS, RawWorker, Server, raw_worker


@pytest.fixture(scope="package", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A job server: ours and the C one, one after the other."""
    with Server(request.param) as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may kill."""
    with Server(KINDS[0]) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(str(server), timeout=20) as client:
        yield client


def reverse(worker: WorkerConnection, handle: bytes, workload: bytes) -> None:
    worker.complete(handle, workload[::-1])


def fail(worker: WorkerConnection, handle: bytes, workload: bytes) -> None:
    worker.fail(handle)


def boom(worker: WorkerConnection, handle: bytes, workload: bytes) -> None:
    worker.exception(handle, b"boom: " + workload)


def chatty(worker: WorkerConnection, handle: bytes, workload: bytes) -> None:
    worker.send_data(handle, b"a")
    worker.send_warning(handle, b"careful")
    worker.send_status(handle, 1, 4)
    worker.send_data(handle, b"b")
    worker.complete(handle, b"c")


@pytest.fixture
def worker(server: Server) -> Iterator[RawWorker]:
    with raw_worker(server, reverse=reverse, fail=fail, boom=boom, chatty=chatty) as worker:
        yield worker
