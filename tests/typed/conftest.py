from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from geartrain.testing import EmbeddedServer
from geartrain.typed.app import App
from tests.support import patient

Serving = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="package")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def serving(server: EmbeddedServer) -> Serving:
    """``with serving(app):`` has its functions done in a thread, and called there."""

    @contextlib.contextmanager
    def serve(app: App, **settings: Any) -> Iterator[Any]:
        app.servers = server.address
        worker = app.worker(**settings)
        thread = threading.Thread(target=worker.work)
        thread.start()
        try:
            with app, app.lifespans():
                yield worker
        finally:
            worker.stop()
            thread.join(patient(40))
            worker.close()
            assert not thread.is_alive()

    return serve


@pytest.fixture(params=["inline", "served"])
def ready(request: pytest.FixtureRequest, serving: Serving) -> Callable[[App], Any]:
    """``with ready(app):`` once inline, once through a server: both must do the same."""
    if request.param == "inline":
        return lambda app: app.inline()
    return serving
