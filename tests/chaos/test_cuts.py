"""Connections cut at every byte, of the client's side and of the worker's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.aio import AsyncClient
from geartrain.client.sync import Client
from geartrain.testing import EmbeddedServer
from geartrain.transport.servers import ServerBook
from geartrain.worker.aio import AsyncWorker
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.chaos.books import DONE, UNKNOWN, Books, in_loop
from tests.chaos.proxy import Cut, Proxy
from tests.support import patient, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

#: Seconds that a call may take at most, and what a busy machine may add.
TIMEOUT = 2.0
SLACK = patient(3.0)


def settled(server: EmbeddedServer) -> bool:
    """Whether the server has no job any more."""
    with AdminClient(server.address) as admin:
        return all(row.total == 0 for row in admin.status())


def offsets(up: int, down: int, *, step: int = 1) -> Iterator[dict[str, Any]]:
    """Every place to cut, in both directions."""
    yield from ({"up": at} for at in range(0, up + 1, step))
    yield from ({"down": at} for at in range(0, down + 1, step))


def one_job(
    books: Books, proxy: Proxy, background: bool, kind: str, timeout: float = TIMEOUT
) -> str:
    """A new client, and one job through the proxy."""
    if kind == "async":
        make = lambda: AsyncClient(str(proxy), timeout=timeout, submit_timeout=timeout)  # noqa: E731
        return in_loop(books, make, background)[0]
    with Client(str(proxy), timeout=timeout, submit_timeout=timeout) as client:
        return books.do(client, background)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_a_clients_connection_cut_at_every_byte(
    server: EmbeddedServer,
    proxy: Proxy,
    worker: Worker,
    books: Books,
    background: bool,
    kind: str,
) -> None:
    assert one_job(books, proxy, background, kind) == DONE
    up, down = proxy.bytes_up, proxy.bytes_down
    assert up > 40

    for times in (1, 1_000_000):
        for reset in (False, True):
            for where in offsets(up, down):
                proxy.cut = Cut(**where, reset=reset, times=times)
                one_job(books, proxy, background, kind)
                assert books.longest < TIMEOUT + SLACK, proxy.cut
    proxy.cut = None
    assert one_job(books, proxy, background, kind) == DONE

    wait_until(lambda: settled(server))
    print(books.summary())
    books.balance()
    if not background:
        # After the first cut another attempt was made. (A background job without
        # a key is not sent twice: it would run twice.)
        assert sum(outcome == DONE for outcome in books.outcomes.values()) > up + down


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_a_connection_that_falls_silent_costs_no_more_than_the_timeout(
    server: EmbeddedServer,
    proxy: Proxy,
    worker: Worker,
    books: Books,
    background: bool,
    kind: str,
    seconds: float,
) -> None:
    one_job(books, proxy, background, kind)
    up, down = proxy.bytes_up, proxy.bytes_down
    short = patient(0.3)
    # Each of these costs the whole timeout, and there are four such tests.
    step = max(1, round((up + down) * short * 4 / seconds))

    for where in offsets(up - 1, down - 1, step=step):
        proxy.cut = Cut(**where, stall=True)
        assert one_job(books, proxy, background, kind, short) == UNKNOWN
        assert books.longest < short + SLACK, proxy.cut

    print(books.summary())
    books.balance()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that come back at once: nothing but the pauses takes time here."""
    for module in ("slot", "aio_slot"):
        monkeypatch.setattr(f"geartrain.worker.{module}.ServerBook", partial(ServerBook, 0.01))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_workers_connection_cut_at_every_byte(
    server: EmbeddedServer, proxy: Proxy, books: Books, kind: str
) -> None:
    def reverse(job: Job) -> bytes:
        books.note_run(job.workload)
        job.send_status(1, 2)
        return job.workload[::-1]

    with working(kind, str(proxy), reverse), Client(server.address, timeout=20) as client:
        assert books.do(client) == DONE
        up, down = proxy.bytes_up, proxy.bytes_down
    for where in offsets(up, down):
        proxy.cut = Cut(**where, times=1, reset=bool(sum(where.values()) % 2))
        with working(kind, str(proxy), reverse), Client(server.address, timeout=20) as client:
            assert books.do(client) == DONE, proxy.cut

    print(books.summary())
    books.balance()
    # A job whose worker was cut off is done once more; most were not.
    assert sum(books.ran.values()) < 2 * len(books.outcomes)


class working:  # noqa: N801
    """A worker of either kind, working in a thread."""

    def __init__(self, kind: str, server: str, handler: object) -> None:
        import asyncio

        self.worker: Worker | AsyncWorker
        if kind == "async":
            worker = self.worker = AsyncWorker(server)
            self._thread = threading.Thread(target=lambda: asyncio.run(worker.work()))
        else:
            self.worker = Worker(server)
            self._thread = threading.Thread(target=self.worker.work)
        self.worker.add_function("reverse", handler)  # type: ignore[arg-type]

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        start = time.monotonic()
        self._thread.join(patient(20))
        assert not self._thread.is_alive()
        assert time.monotonic() - start < patient(10)
