"""AsyncAdminClient: ``AdminClient`` for asyncio, with the same names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from geartrain.client.admin import answer_of, one_server
from geartrain.client.aio_engine import AsyncEngine
from geartrain.client.answers import (
    FunctionStatus,
    JobInfo,
    PriorityStatus,
    WorkerInfo,
    check_answer,
    function_name,
    max_queue_line,
    read_jobs,
    read_priority_status,
    read_status,
    read_value,
    read_workers,
)
from geartrain.client.connection import ClientConnection
from geartrain.client.events import EchoReply, Event, LineReply
from geartrain.client.options import Seconds, flag_of, seconds_of
from geartrain.client.routing import Routing
from geartrain.errors import GearmanTimeout, JobNotFound, ProtocolError, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.tls import TLSLike, client_context

if TYPE_CHECKING:
    from typing import Self


class AsyncAdminClient:
    """Asks one server about itself; arguments, answers and errors as for ``AdminClient``."""

    def __init__(
        self,
        server: str | Address | None = None,
        *,
        timeout: Seconds | None = 10.0,
        tls: TLSLike = None,
    ) -> None:
        self.server = one_server(server)
        self._timeout = seconds_of(timeout)
        servers = (self.server,)
        context = client_context(tls)
        self._engine = AsyncEngine(servers, Routing(servers), self._timeout, context, False)

    async def status(self) -> list[FunctionStatus]:
        """Jobs and workers of each function, in the server's order."""
        return read_status(await self._lines("status"))

    async def priority_status(self) -> list[PriorityStatus]:
        """Queued jobs of each function by priority."""
        return read_priority_status(await self._lines("prioritystatus"))

    async def workers(self) -> list[WorkerInfo]:
        """All connections of the server, this one among them."""
        return read_workers(await self._lines("workers"))

    async def show_jobs(self) -> list[JobInfo]:
        """All jobs of the server."""
        return read_jobs(await self._lines("show jobs"))

    async def show_unique_jobs(self) -> list[str]:
        """The unique keys of all jobs; empty for a job without one."""
        return await self._lines("show unique jobs")

    async def version(self) -> str:
        """The server's version."""
        return read_value(await self._lines("version"))

    async def verbose(self) -> str:
        """The server's log level, such as ``INFO``."""
        return read_value(await self._lines("verbose"))

    async def getpid(self) -> int:
        """The server's process id."""
        return int(read_value(await self._lines("getpid")))

    async def ping(self, payload: bytes = b"ping") -> float:
        """Seconds until the server gives the same bytes back."""
        start = time.perf_counter()
        reply = await self._ask(lambda connection: connection.echo(payload))
        if not isinstance(reply, EchoReply) or reply.data != payload:
            raise ProtocolError(f"{self.server} gave other bytes back than it was sent")
        return time.perf_counter() - start

    async def command(self, line: str, *, is_list: bool | None = None) -> list[str]:
        """Send any command; return the lines of its answer, without a closing dot."""
        return await self._lines(line, is_list)

    async def cancel_job(self, handle: str, /) -> bool:
        """Take a queued job away; False: the server does not know it."""
        try:
            await self._lines(f"cancel job {function_name(handle)}")
        except JobNotFound:
            return False
        return True

    async def create_function(self, name: str, /) -> None:
        """Have the server list a function before anybody offers or asks for it."""
        await self._lines(f"create function {function_name(name)}")

    async def drop_function(self, name: str, /) -> None:
        """Have the server forget a function that has neither workers nor jobs."""
        await self._lines(f"drop function {function_name(name)}")

    async def max_queue(self, function: str, /, *limits: int) -> None:
        """Limit a function's queue; see ``AdminClient.max_queue``."""
        await self._lines(max_queue_line(function, limits))

    async def shutdown(self, *, graceful: bool = False) -> None:
        """Have the server end, where it allows that."""
        said = "shutdown graceful" if flag_of(graceful, "graceful") else "shutdown"
        try:
            await self._lines(said)
        except ServerUnavailable:
            pass  # gone before the answer was out

    async def _lines(self, line: str, is_list: bool | None = None) -> list[str]:
        data = line.encode("utf-8", "surrogateescape")
        reply = await self._ask(lambda connection: connection.admin(data, is_list))
        lines = list(reply.lines) if isinstance(reply, LineReply) else []
        check_answer(lines)
        return lines

    async def _ask(self, question: Callable[[ClientConnection], int]) -> Event:
        waiting = await self._engine.ask(self.server, question)
        try:
            async with asyncio.timeout(self._timeout):
                event = await waiting.answer
        except TimeoutError:
            raise GearmanTimeout(
                f"{self.server} has not answered within {self._timeout} seconds"
            ) from None
        found = answer_of(event, getattr(event, "request", 0), self.server)
        assert found is not None
        return found

    async def close(self) -> None:
        """Hang up."""
        await self._engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
