"""Fixtures for pytest, there as soon as geartrain is installed.

::

    def test_a_thumbnail_is_made(gearman_worker, tmp_path):
        gearman_worker(images.app)

        assert images.shrink_image.do("a.jpg", str(tmp_path / "b.jpg"), width=20)

A real server for each test that asks for one, on a free port; ``-p no:geartrain``
turns all of this off. Nothing is imported before a test asks for it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from geartrain.client.admin import AdminClient
    from geartrain.client.aio import AsyncClient
    from geartrain.client.sync import Client
    from geartrain.testing.server import EmbeddedServer
    from geartrain.worker.sync import Worker

#: Seconds that a worker may take to end; a test that hangs there fails.
_PATIENCE = 10.0 * float(os.environ.get("GEARTRAIN_PATIENCE") or 1)


class WorkerFactory(Protocol):
    """What ``gearman_worker`` is: start workers, which stop with the test."""

    def __call__(self, *apps: Any, **functions: Callable[[Any], Any]) -> Worker: ...


@pytest.fixture
def gearman_server() -> Iterator[EmbeddedServer]:
    """A real job server on a free port; ``advance(seconds)`` turns its clock."""
    from geartrain.testing.server import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def gearman_client(gearman_server: EmbeddedServer) -> Iterator[Client]:
    """A ``Client`` of ``gearman_server``."""
    from geartrain.client.sync import Client

    with Client(gearman_server.address) as client:
        yield client


@pytest.fixture
def gearman_admin(gearman_server: EmbeddedServer) -> Iterator[AdminClient]:
    """An ``AdminClient`` of ``gearman_server``."""
    from geartrain.client.admin import AdminClient

    with AdminClient(gearman_server.address) as admin:
        yield admin


@pytest.fixture
def gearman_worker(gearman_server: EmbeddedServer) -> Iterator[WorkerFactory]:
    """Starts workers of ``gearman_server``, in threads, which stop with the test.

    ``gearman_worker(app)`` does an app's functions, and has the app call them there
    too. ``gearman_worker(reverse=lambda job: job.workload[::-1])`` does plain ones.
    An app's lifespan ends with its last worker.
    """
    from geartrain.worker.sync import Worker

    running: list[tuple[Worker, threading.Thread]] = []
    moved: list[tuple[Any, Any]] = []
    lock = threading.Lock()
    busy: Counter[int] = Counter()

    def work(worker: Worker, apps: tuple[Any, ...]) -> None:
        with ExitStack() as stack:
            for app in apps:
                stack.callback(leave, app)
            worker.work()

    def leave(app: Any) -> None:
        # What an app has opened is closed with its last worker, and in that thread: the
        # next test is to find it as it would be in a process of its own.
        with lock:
            busy[id(app)] -= 1
            if not busy[id(app)] and hasattr(app, "lifespans"):
                with app.lifespans():
                    pass

    def start(*apps: Any, **functions: Callable[[Any], Any]) -> Worker:
        worker = Worker(gearman_server.address)
        for app in apps:
            app.register(worker)
            with lock:
                busy[id(app)] += 1
            if hasattr(app, "servers"):
                moved.append((app, app.servers))
                app.servers = gearman_server.address
        for name, function in functions.items():
            worker.add_function(name, function)
        thread = threading.Thread(
            target=work, args=(worker, apps), name="gearman_worker", daemon=True
        )
        thread.start()
        running.append((worker, thread))
        return worker

    yield start
    for worker, _ in running:
        worker.stop()
    for worker, thread in running:
        thread.join(_PATIENCE)
        worker.close()
    for app, servers in reversed(moved):
        app.servers = servers
    late = [thread for _, thread in running if thread.is_alive()]
    if late:
        pytest.fail(f"{len(late)} workers were still at a job {_PATIENCE:g} seconds after the test")


def _async_fixture(fn: Any) -> Any:
    """``fn`` as an asyncio fixture; without pytest-asyncio, one that says so."""
    try:
        import pytest_asyncio
    except ImportError:

        @pytest.fixture(name=fn.__name__)
        def absent() -> None:
            pytest.fail(f"{fn.__name__} needs pytest-asyncio: pip install pytest-asyncio")

        return absent
    return pytest_asyncio.fixture(fn)


@_async_fixture
async def gearman_async_client(gearman_server: EmbeddedServer) -> AsyncIterator[AsyncClient]:
    """An ``AsyncClient`` of ``gearman_server``; needs pytest-asyncio."""
    from geartrain.client.aio import AsyncClient

    async with AsyncClient(gearman_server.address) as client:
        yield client
