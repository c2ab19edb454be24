"""AdminClient: the admin text protocol, with typed answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

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
from geartrain.client.events import EchoReply, Event, LineReply, Lost, Unanswered
from geartrain.client.options import Seconds, flag_of, seconds_of
from geartrain.errors import (
    ConfigurationError,
    GearmanError,
    GearmanTimeout,
    JobNotFound,
    ProtocolError,
    ServerUnavailable,
)
from geartrain.transport.address import Address
from geartrain.transport.environment import find_servers
from geartrain.transport.sync import Stream, connect
from geartrain.transport.tls import TLSLike, client_context

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")


def one_server(server: str | Address | None) -> Address:
    """The one server that an admin client speaks to; None: the environment's first.

    Raises:
        ConfigurationError: several were given.
    """
    found = find_servers(server)
    if server is not None and len(found) > 1:
        raise ConfigurationError(f"{server!r} are {len(found)} servers; an admin client has one")
    return found[0]


def answer_of(event: Event, request: int, address: Address) -> Event | None:
    """The event, if it answers ``request``.

    Raises:
        ServerUnavailable: there will be no answer.
    """
    if getattr(event, "request", 0) != request:
        return None
    if isinstance(event, (Lost, Unanswered)):
        cause = event.cause if isinstance(event, Lost) else ""
        raise ServerUnavailable(
            "no answer to an admin command",
            {str(address): cause or "the server closed the connection"},
        )
    return event


class AdminClient:
    """Asks one server about itself, and tells it what to do.

    Connects on first use, and again after a loss. For one thread at a time.

    Args:
        server: one address; None: the first of the environment.
        timeout: seconds for each answer, and for connecting.
        tls: as for ``Client``.

    All methods raise ``ServerUnavailable``, ``GearmanTimeout``, and ``ServerError``
    where the server answers ``ERR``.
    """

    def __init__(
        self,
        server: str | Address | None = None,
        *,
        timeout: Seconds | None = 10.0,
        tls: TLSLike = None,
    ) -> None:
        self.server = one_server(server)
        self._timeout = seconds_of(timeout)
        self._tls = client_context(tls)
        self._stream: Stream | None = None
        self._connection = ClientConnection(exceptions=False)

    # ── asking ───────────────────────────────────────────────────────────────

    def status(self) -> list[FunctionStatus]:
        """Jobs and workers of each function, in the server's order."""
        return read_status(self._lines("status"))

    def priority_status(self) -> list[PriorityStatus]:
        """Queued jobs of each function by priority (C server 1.1.15 and later)."""
        return read_priority_status(self._lines("prioritystatus"))

    def workers(self) -> list[WorkerInfo]:
        """All connections of the server, this one among them."""
        return read_workers(self._lines("workers"))

    def show_jobs(self) -> list[JobInfo]:
        """All jobs of the server."""
        return read_jobs(self._lines("show jobs"))

    def show_unique_jobs(self) -> list[str]:
        """The unique keys of all jobs; empty for a job without one."""
        return self._lines("show unique jobs")

    def version(self) -> str:
        """The server's version."""
        return read_value(self._lines("version"))

    def verbose(self) -> str:
        """The server's log level, such as ``INFO``."""
        return read_value(self._lines("verbose"))

    def getpid(self) -> int:
        """The server's process id."""
        return int(read_value(self._lines("getpid")))

    def ping(self, payload: bytes = b"ping") -> float:
        """Seconds until the server gives the same bytes back."""
        start = time.perf_counter()
        reply = self._ask(lambda connection: connection.echo(payload))
        if not isinstance(reply, EchoReply) or reply.data != payload:
            raise ProtocolError(f"{self.server} gave other bytes back than it was sent")
        return time.perf_counter() - start

    def command(self, line: str, *, is_list: bool | None = None) -> list[str]:
        """Send any command; return the lines of its answer, without a closing dot.

        Args:
            is_list: whether the answer ends with a dot; None: as is known of the
                command's words.
        """
        return self._lines(line, is_list)

    # ── telling ──────────────────────────────────────────────────────────────

    def cancel_job(self, handle: str, /) -> bool:
        """Take a queued job away; False: the server does not know it."""
        try:
            self._lines(f"cancel job {function_name(handle)}")
        except JobNotFound:
            return False
        return True

    def create_function(self, name: str, /) -> None:
        """Have the server list a function before anybody offers or asks for it."""
        self._lines(f"create function {function_name(name)}")

    def drop_function(self, name: str, /) -> None:
        """Have the server forget a function that has neither workers nor jobs."""
        self._lines(f"drop function {function_name(name)}")

    def max_queue(self, function: str, /, *limits: int) -> None:
        """Limit a function's queue: no number lifts it, one is for all, three are high, normal, low.

        The C server forgets limits of functions that it does not know yet.
        """
        self._lines(max_queue_line(function, limits))

    def shutdown(self, *, graceful: bool = False) -> None:
        """Have the server end (servers before 1.1.15, and ours where that is allowed)."""
        said = "shutdown graceful" if flag_of(graceful, "graceful") else "shutdown"
        try:
            self._lines(said)
        except ServerUnavailable:
            pass  # gone before the answer was out

    # ── inside ───────────────────────────────────────────────────────────────

    def _lines(self, line: str, is_list: bool | None = None) -> list[str]:
        data = line.encode("utf-8", "surrogateescape")
        reply = self._ask(lambda connection: connection.admin(data, is_list))
        lines = list(reply.lines) if isinstance(reply, LineReply) else []
        check_answer(lines)
        return lines

    def _ask(self, question: Callable[[ClientConnection], int]) -> Event:
        stream = self._open()
        connection = self._connection
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        try:
            request = question(connection)
            stream.send(connection.data_to_send())
            while True:
                data = stream.receive(deadline)
                events = connection.receive_data(data) if data else connection.receive_eof()
                for event in events:
                    found = answer_of(event, request, self.server)
                    if found is not None:
                        return found
        except GearmanError:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise GearmanTimeout(
                f"{self.server} has not answered within {self._timeout:g} seconds"
            ) from error
        except OSError as error:
            self.close()
            cause = error.strerror or str(error)
            raise ServerUnavailable("connection lost", {str(self.server): cause}) from error

    def _open(self) -> Stream:
        """The stream; a new one if the server has closed the last one meanwhile."""
        stream = self._stream
        if stream is not None:
            try:
                if stream.receive_now() is None:
                    return stream
            except OSError:
                pass
            self.close()
        self._connection = ClientConnection(exceptions=False)
        self._stream = connect(self.server, self._timeout, self._tls)
        return self._stream

    def close(self) -> None:
        """Hang up."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
