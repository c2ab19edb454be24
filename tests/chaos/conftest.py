from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from geartrain.testing import EmbeddedServer
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.chaos.books import Books
from tests.chaos.proxy import Proxy
from tests.support import patient


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[Proxy]:
    with Proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def worker(server: EmbeddedServer, books: Books) -> Iterator[Worker]:
    """Does jobs, and keeps the books; its own connection is never cut."""

    def reverse(job: Job) -> bytes:
        books.note_run(job.workload)
        return job.workload[::-1]

    worker = Worker(server.address)
    worker.add_function("reverse", reverse)
    thread = threading.Thread(target=worker.work)
    thread.start()
    yield worker
    worker.stop()
    thread.join(patient(10))
    worker.close()
    assert not thread.is_alive()
