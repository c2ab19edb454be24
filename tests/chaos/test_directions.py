"""One of three servers down or dumb; and names that lead elsewhere from one day to the next."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from geartrain.client.aio import AsyncClient
from geartrain.client.sync import Client
from geartrain.errors import GearmanError, ServerUnavailable
from geartrain.server.settings import Settings
from geartrain.testing import EmbeddedServer
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.chaos.books import DONE, SAFE, UNKNOWN, Books
from tests.support import patient, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture
def deaf() -> Iterator[str]:
    """A host that takes no connection and refuses none: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        yield f"127.0.0.1:{address[1]}"
        for filler in fillers:
            filler.close()


def refusing() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("how", ["refusing", "deaf"])
def test_one_of_three_servers_down_costs_one_connect_timeout_and_no_job(
    server: EmbeddedServer, worker: Worker, books: Books, deaf: str, how: str
) -> None:
    down = deaf if how == "deaf" else refusing()
    other = EmbeddedServer()
    with other:
        second = Worker(other.address)
        second.functions = worker.functions
        thread = threading.Thread(target=second.work)
        thread.start()
        servers = [down, server.address, other.address]
        start = time.monotonic()
        with Client(servers, timeout=20, connect_timeout=0.5) as client:
            for _ in range(200):
                assert books.do(client) == DONE
        second.stop()
        thread.join(patient(20))
        second.close()

    assert time.monotonic() - start < patient(10)
    books.balance(at_most_once=True)


def test_all_servers_down_is_said_at_once_with_each_cause(books: Books, deaf: str) -> None:
    gone = refusing()
    with Client([gone, deaf], timeout=20, connect_timeout=0.3) as client:
        start = time.monotonic()
        with pytest.raises(ServerUnavailable) as caught:
            client.do("reverse", b"x")

    assert time.monotonic() - start < patient(3)
    assert set(caught.value.causes) == {gone, deaf}


class Names:
    """A resolver in which one name may be pointed anywhere."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = "127.0.0.1"
        self.asked = 0
        real = socket.getaddrinfo

        def getaddrinfo(host: object, port: object, *rest: object, **more: object) -> object:
            if host in ("gearman.test", b"gearman.test"):
                self.asked += 1
                if not self.host:
                    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
                host = self.host
            return real(host, port, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def test_client_and_worker_follow_a_name_that_leads_elsewhere(names: Names, books: Books) -> None:
    def reverse(job: Job) -> bytes:
        books.note_run(job.workload)
        return job.workload[::-1]

    first = EmbeddedServer()
    first.start()
    port = first.port
    worker = Worker(f"gearman.test:{port}")
    worker.add_function("reverse", reverse)
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        with Client(f"gearman.test:{port}", timeout=20) as client:
            assert books.do(client) == DONE
            # The server moves to another address, and for a while there is none.
            names.host = ""
            first.stop()
            assert books.do(client) in (SAFE, UNKNOWN)
            names.host = "127.0.0.2"
            with EmbeddedServer(Settings(listen=(f"127.0.0.2:{port}",))) as second:
                assert second.host == "127.0.0.2"
                assert books.do(client) == DONE
                assert asyncio.run(_async_do(f"gearman.test:{port}")) == b"cba"
                worker.stop()
                thread.join(patient(20))
    finally:
        worker.stop()
        thread.join(patient(20))
        worker.close()
        first.stop()

    books.balance(at_most_once=True)
    assert names.asked >= 5


async def _async_do(server: str) -> bytes:
    async with AsyncClient(server, timeout=20) as client:
        return await client.do("reverse", b"abc")


def test_a_name_that_leads_nowhere_is_said_with_the_name(names: Names) -> None:
    names.host = ""
    with (
        Client("gearman.test:4730", timeout=5) as client,
        pytest.raises(ServerUnavailable, match=r"gearman\.test:4730.*not known"),
    ):
        client.do("reverse", b"x")


def test_a_server_that_restarts_is_found_again_by_everybody(books: Books) -> None:
    server = EmbeddedServer()
    server.start()
    address, port = server.address, server.port

    def reverse(job: Job) -> bytes:
        books.note_run(job.workload)
        return job.workload[::-1]

    worker = Worker(address)
    worker.add_function("reverse", reverse)
    thread = threading.Thread(target=worker.work)
    thread.start()
    client = Client(address, timeout=20)
    try:
        for _ in range(4):
            assert books.do(client) == DONE
            server.stop()
            server = EmbeddedServer(Settings(listen=(f"127.0.0.1:{port}",)))
            server.start()
        wait_until(lambda: _answers(client), within=30)
    finally:
        worker.stop()
        thread.join(patient(20))
        worker.close()
        client.close()
        server.stop()
    books.balance()


def _answers(client: Client) -> bool:
    try:
        return client.do("reverse", b"ab") == b"ba"
    except GearmanError:
        return False
