"""EmbeddedServer: a real job server for a test, on a free port, gone after it.

It runs in a thread of its own, so that blocking clients and workers can be tested
from the same process::

    with EmbeddedServer() as server:
        client = Client(server.address)

or, in a coroutine, ``async with EmbeddedServer() as server``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from geartrain.server.jobserver import JobServer
from geartrain.server.settings import Settings
from geartrain.testing.clock import TurnableClock

T = TypeVar("T")

#: Seconds that starting or stopping may take before something is wrong.
_PATIENCE = 10.0


class EmbeddedServer:
    """A job server in a thread.

    Args:
        settings: everything but the address, which is 127.0.0.1 and a free port
            unless the settings name another.
        changes: single settings by name, such as ``job_retries=2``.

    Attributes:
        clock: ``advance`` it to make epoch jobs and time limits fall due.
    """

    def __init__(self, settings: Settings | None = None, **changes: Any) -> None:
        settings = dataclasses.replace(settings or Settings(), **changes)
        if not settings.listen:
            settings = dataclasses.replace(settings, listen=("127.0.0.1:0",))
        self.settings = settings
        self.clock = TurnableClock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: JobServer | None = None

    # ── life ─────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Start it; returns when it listens.

        Raises:
            ConfigurationError: the settings cannot be had.
        """
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="geartrain-server", daemon=True
        )
        self._thread.start()
        started.result(_PATIENCE)

    async def _run(self, started: Future[None]) -> None:
        try:
            server = JobServer(self.settings, wall=self.clock.wall, steady=self.clock.steady)
            await server.start()
        except BaseException as error:
            started.set_exception(error)
            return
        self._loop = asyncio.get_running_loop()
        self._server = server
        started.set_result(None)
        await server.serve_until_ended()
        await server.stop()

    def stop(self) -> None:
        """Stop it; every connection is closed."""
        if self._thread is None:
            return
        if self._loop is not None and self._server is not None and self._thread.is_alive():
            # A loop that is closed by now: the server has just ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._server.end)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise RuntimeError(f"the embedded server did not stop within {_PATIENCE} seconds")
        self._thread = None

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> EmbeddedServer:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    # ── what a test wants to know ────────────────────────────────────────────

    @property
    def host(self) -> str:
        """Address it listens on."""
        return str(self._first()[0])

    @property
    def port(self) -> int:
        """Port it listens on."""
        return int(self._first()[1])

    @property
    def address(self) -> str:
        """``host:port``, as clients take it."""
        return f"{self.host}:{self.port}"

    @property
    def server(self) -> JobServer:
        """The server itself; look at it only through ``call``."""
        if self._server is None:
            raise RuntimeError("the embedded server is not running; use it as a context manager")
        return self._server

    def _first(self) -> tuple[str, int]:
        first = self.server.addresses[0]
        if isinstance(first, str):
            raise RuntimeError(f"this server listens on the unix socket {first}, it has no port")
        return first

    def call(self, function: Callable[[JobServer], T]) -> T:
        """Run a function on the server's thread, where nothing moves meanwhile."""
        server, loop = self.server, self._loop
        assert loop is not None
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function(server))
            except BaseException as error:
                answer.set_exception(error)

        loop.call_soon_threadsafe(run)
        return answer.result(_PATIENCE)

    def advance(self, seconds: float) -> None:
        """Let time pass for the server; what falls due has happened when this returns."""
        self.clock.advance(seconds)
        self.call(JobServer.tick)
