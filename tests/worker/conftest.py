from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from geartrain.client.sync import Client
from geartrain.worker.sync import Worker
from tests.client.servers import KINDS, Server
from tests.support import patient

Running = Callable[[Worker], AbstractContextManager[Worker]]


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


@pytest.fixture
def worker(server: Server) -> Worker:
    worker = Worker(str(server), worker_id="my worker")
    worker.add_function("reverse", lambda job: job.workload[::-1])
    return worker


@pytest.fixture
def running() -> Running:
    """``with running(worker):`` works in a thread, and stops at the end of the block."""

    @contextlib.contextmanager
    def run(worker: Worker) -> Iterator[Worker]:
        thread = threading.Thread(target=worker.work)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(patient(40))
            worker.close()
            assert not thread.is_alive()

    return run
