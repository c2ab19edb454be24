"""Everything through TLS: a proxy that takes TLS off stands before a plain server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import geartrain
from geartrain.transport.tls import TLS, server_context
from tests.client.servers import Server
from tests.support import patient


class Proxy:
    """Takes TLS off what comes, and puts it on what goes back. Runs in a thread."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self.port = 0
        self._server = server
        self._context = context
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(patient(10))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._join, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        finally:
            writer.close()
            there[1].close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(patient(10))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, TLS]:
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    pem = folder / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return server_context(pem), TLS(ca_file=folder / "ca.pem")


@pytest.fixture
def secure(server: Server, settings: tuple[ssl.SSLContext, TLS]) -> Iterator[str]:
    """Address of the server behind TLS."""
    proxy = Proxy(server, settings[0])
    yield f"127.0.0.1:{proxy.port}"
    proxy.close()


LARGE = bytes(range(256)) * 20_000


def test_threads(secure: str, settings: tuple[ssl.SSLContext, TLS]) -> None:
    tls = settings[1]
    worker = geartrain.Worker(secure, tls=tls, concurrency=2)
    worker.add_function("reverse", lambda job: job.workload[::-1])
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        with geartrain.Client(secure, tls=tls, timeout=20) as client:
            assert client.do("reverse", "abc") == b"cba"
            assert client.do("reverse", LARGE) == LARGE[::-1]
            assert list(client.map("reverse", ["ab"] * 300)) == [b"ba"] * 300
        with geartrain.Client([secure, secure.replace("127.0.0.1", "localhost")], tls=tls) as two:
            assert two.do("reverse", "abc", timeout=20) == b"cba"
        with geartrain.AdminClient(secure, tls=tls) as admin:
            assert admin.version()
    finally:
        worker.stop()
        thread.join(patient(20))


async def test_event_loop(secure: str, settings: tuple[ssl.SSLContext, TLS]) -> None:
    tls = settings[1]
    worker = geartrain.AsyncWorker(secure, tls=tls, concurrency=2)

    @worker.function
    async def reverse(job: geartrain.Job) -> bytes:
        return job.workload[::-1]

    work = asyncio.ensure_future(worker.work())
    async with geartrain.AsyncClient(secure, tls=tls, timeout=20) as client:
        assert await client.do("reverse", "abc") == b"cba"
        assert await client.do("reverse", LARGE) == LARGE[::-1]
    worker.stop()
    await work


def test_server_that_cannot_be_trusted_is_not_used(secure: str) -> None:
    client = geartrain.Client(secure, tls=TLS())
    with client, pytest.raises(geartrain.ServerUnavailable, match="certificate"):
        client.do("reverse")
