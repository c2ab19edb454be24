"""Job: what a handler receives, and how it reports.

The same for threads and asyncio: reports go into the connection at once and never
wait for an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from logging import LoggerAdapter, getLogger
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

from geartrain._native import mypyc_attr
from geartrain.client.handle import Handle
from geartrain.client.options import Buffer, bytes_of
from geartrain.errors import Fail, JobFinished, Requeue, StopWorker
from geartrain.terms import JobHandle
from geartrain.transport.address import Address
from geartrain.values import Value
from geartrain.worker.blame import traceback_of
from geartrain.worker.events import JobAssigned

if TYPE_CHECKING:
    from geartrain.client.aio import AsyncClient
    from geartrain.client.sync import Client

T = TypeVar("T")

log = getLogger("geartrain.worker")

#: Seconds between two WORK_STATUS of ``Job.track``.
TRACK_SECONDS: Final = 0.1

_current: ContextVar[Job] = ContextVar("geartrain.current_job")


def current_job() -> Job:
    """The job that this thread, or this asyncio task, is doing.

    Raises:
        LookupError: none.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError("no job is being done here: current_job() is for handlers") from None


class Status(Value):
    """Yield it from a generator handler to send WORK_STATUS."""

    __slots__ = ("denominator", "numerator")
    __match_args__: ClassVar = ("numerator", "denominator")

    def __init__(self, numerator: int, denominator: int) -> None:
        self.numerator: Final = numerator
        self.denominator: Final = denominator


class Reports(Protocol):
    """A ``WorkerConnection``, as its jobs need it: what is said of which handle."""

    closed: bool

    def send_data(self, handle: JobHandle, data: bytes) -> None:
        """WORK_DATA."""

    def send_warning(self, handle: JobHandle, data: bytes) -> None:
        """WORK_WARNING."""

    def send_status(self, handle: JobHandle, numerator: int, denominator: int) -> None:
        """WORK_STATUS."""

    def complete(self, handle: JobHandle, data: bytes) -> None:
        """WORK_COMPLETE."""

    def fail(self, handle: JobHandle) -> None:
        """WORK_FAIL."""

    def exception(self, handle: JobHandle, data: bytes) -> None:
        """WORK_EXCEPTION."""

    def drop(self, handle: JobHandle) -> None:
        """Forget a job without a word."""


class Link(Protocol):
    """One connection, as its jobs need it."""

    @property
    def address(self) -> Address:
        """Of its server."""

    @property
    def connection(self) -> Reports:
        """What is said through it."""

    def push(self) -> None:
        """Send what the connection has to send."""

    def hang_up(self) -> None:
        """Close the connection: the server gives its jobs to others."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Job:
    """A job to do.

    As a context manager it ends itself: well, or, if an exception escapes, with
    that exception.

    Attributes:
        function: name, without the worker's namespace.
        unique: the client's key; empty for none.
        reducer: function that is to merge results, or None.
        workload: what the client sent.
        args: the workload, decoded by the function's codec.
        server: where it came from.
        context: what the worker carries for its jobs.
        ended: completed, failed, raised, or given back.
    """

    __slots__ = (
        "_connection",
        "_current_link",
        "_handle",
        "_home",
        "_home_connection",
        "_log",
        "_make_aio_client",
        "_make_client",
        "_wire_handle",
        "args",
        "context",
        "ended",
        "function",
        "reducer",
        "server",
        "taken",
        "unique",
        "wire_function",
        "workload",
    )

    def __init__(
        self,
        link: Link,
        event: JobAssigned,
        function: str,
        reducer: str | None = None,
        context: Any = None,
        make_client: Callable[[], Client] | None = None,
        make_aio_client: Callable[[], AsyncClient] | None = None,
    ) -> None:
        self._home = link
        self._home_connection = link.connection
        self._current_link: Link = link
        self._connection: Reports = self._home_connection
        self._wire_handle = event.handle
        self._handle: Handle | None = None
        self._make_client = make_client
        self._make_aio_client = make_aio_client
        self._log: LoggerAdapter[Any] | None = None
        self.function = function
        #: With the namespace, as bytes: what the worker's functions are found by.
        self.wire_function: bytes = event.function
        self.unique: bytes = event.unique
        self.reducer = reducer
        self.workload = event.workload
        self.args: Any = event.workload
        self.server = link.address
        self.context = context
        self.ended = False
        #: The server has taken the job away: what is reported now is dropped.
        self.taken = False

    def __repr__(self) -> str:
        return f"<Job {self.function} {self.handle}{' (ended)' if self.ended else ''}>"

    @property
    def handle(self) -> Handle:
        """The server's name for it, which also knows the server."""
        if self._handle is None:
            name = self._wire_handle.decode("utf-8", "surrogateescape")
            self._handle = Handle(name, self.server)
        return self._handle

    def is_called(self, handle: bytes) -> bool:
        """Whether this is its handle on the wire."""
        return self._wire_handle == handle

    def text(self) -> str:
        """The workload as UTF-8 text."""
        return self.workload.decode()

    def json(self) -> Any:
        """The workload as JSON."""
        import json

        return json.loads(self.workload)

    @property
    def client(self) -> Client:
        """A client for the worker's servers, to submit further jobs.

        Not for coroutines, which it would keep waiting: see ``aio_client``.

        Raises:
            LookupError: this runs in an event loop, or inline.
        """
        if self._make_client is None:
            raise LookupError("this job has no client: it did not come from a server")
        if self._make_aio_client is not None and _runs_on_a_loop():
            raise LookupError(
                "job.client would keep the event loop waiting: await job.aio_client.do(...)"
            )
        return self._make_client()

    @property
    def aio_client(self) -> AsyncClient:
        """The same for handlers of an ``AsyncWorker`` that are ``async def``; await its methods.

        Raises:
            LookupError: no ``AsyncWorker`` does this job.
        """
        if self._make_aio_client is None:
            raise LookupError("job.aio_client is for an AsyncWorker; here there is job.client")
        return self._make_aio_client()

    @property
    def log(self) -> LoggerAdapter[Any]:
        """A logger whose records carry ``handle``, ``unique``, ``function`` and ``server``."""
        if self._log is None:
            fields = {
                "handle": str(self.handle),
                "unique": self.unique.decode("utf-8", "backslashreplace"),
                "function": self.function,
                "server": str(self.server),
            }
            self._log = LoggerAdapter(getLogger("geartrain.job"), fields)
        return self._log

    # ── reports ──────────────────────────────────────────────────────────────

    def send_data(self, data: Buffer, /) -> None:
        """WORK_DATA: a piece of the result.

        Raises:
            JobFinished: the job has ended, as with all reports.
        """
        if self._may_report():
            self._connection.send_data(self._wire_handle, bytes_of(data))
            self._link.push()

    def send_warning(self, data: Buffer, /) -> None:
        """WORK_WARNING: something that the client should know."""
        if self._may_report():
            self._connection.send_warning(self._wire_handle, bytes_of(data))
            self._link.push()

    def send_status(self, numerator: int, denominator: int, /) -> None:
        """WORK_STATUS: so much of so much is done."""
        if self._may_report():
            self._connection.send_status(self._wire_handle, numerator, denominator)
            self._link.push()

    def send_complete(self, data: Buffer = b"", /) -> None:
        """WORK_COMPLETE: the end, with the last piece of the result."""
        if self._may_end():
            self._connection.complete(self._wire_handle, bytes_of(data))
            self._current_link.push()

    def send_fail(self) -> None:
        """WORK_FAIL: the end, without a word why."""
        if self._may_end():
            self._connection.fail(self._wire_handle)
            self._link.push()

    def send_exception(self, data: Buffer, /) -> None:
        """WORK_EXCEPTION: the end, and why."""
        if self._may_end():
            self._connection.exception(self._wire_handle, bytes_of(data))
            self._link.push()

    def requeue(self) -> None:
        """Give the job back by closing the connection: another worker gets it."""
        if self._may_end() and self._link.connection is self._connection:
            self._link.hang_up()

    def speak_through(self, link: Link) -> None:
        """Report through another link to the same connection, as from another thread.

        A link may connect anew while a handler runs; what this job has to say
        belongs to the connection that it came through, so that one is kept.
        """
        self._current_link = link
        self._connection = self._home_connection if link is self._home else link.connection

    @property
    def _link(self) -> Link:
        return self._current_link

    @_link.setter
    def _link(self, link: Link) -> None:
        self.speak_through(link)

    @property
    def is_lost(self) -> bool:
        """Its connection has gone: the server gives it to another worker."""
        return self._connection.closed

    def track(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Go through ``items`` and send WORK_STATUS now and then.

        Args:
            total: how many there are, where ``len(items)`` does not tell.
        """
        if total is None:
            total = len(items) if isinstance(items, Sized) else 0
        due = 0.0
        done = 0
        for item in items:
            now = time.monotonic()
            if now >= due and not self.ended:
                due = now + TRACK_SECONDS
                self.send_status(done, total)
            yield item
            done += 1
        if not self.ended:
            self.send_status(done, total or done)

    def _may_report(self) -> bool:
        if self.ended:
            raise JobFinished(self.handle)
        return not self.taken and not self._connection.closed

    def _may_end(self) -> bool:
        if self.ended:
            raise JobFinished(self.handle)
        self.ended = True
        if self.taken:
            self._connection.drop(self._wire_handle)
            self._link.push()
            return False
        return not self._connection.closed

    # ── the end, by itself ───────────────────────────────────────────────────

    def end_with(self, error: BaseException, traceback_text: str = "") -> None:
        """End the job as ``error`` wants it, if it has not ended yet."""
        if self.ended:
            return
        if isinstance(error, Requeue):
            self.requeue()
        elif isinstance(error, StopWorker):
            result = error.result
            self.send_complete(b"" if result is None else bytes_of(result))  # type: ignore[arg-type]
        elif isinstance(error, Fail):
            if error.reason:
                self.send_exception(error.reason)
            else:
                self.send_fail()
        elif isinstance(error, Exception):
            self.send_exception(describe(error, traceback_text))
        else:
            # The process is being ended: somebody else is to do it.
            self.requeue()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None:
            if not self.ended:
                self.send_complete()
            return False
        self.end_with(error, traceback_of(error))
        return isinstance(error, (Fail, Requeue))


def _runs_on_a_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def describe(error: BaseException, traceback_text: str) -> bytes:
    """The payload of WORK_EXCEPTION: ``Type: message``, an empty line, the traceback.

    The first line is what a person at a terminal wants; ``JobException`` takes the
    rest apart again.
    """
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ == "geartrain.errors":
        name = f"geartrain.{name}"
    elif kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    text = f"{name}: {error}" if str(error) else name
    if traceback_text:
        text = f"{text}\n\n{traceback_text}"
    return text.encode("utf-8", "backslashreplace")
