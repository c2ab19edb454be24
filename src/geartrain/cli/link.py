"""A worker's connection to one server: made, served, lost, and made again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from geartrain.cli.loop import READ, WRITE, Loop
from geartrain.cli.redial import Redial
from geartrain.errors import ProtocolError
from geartrain.transport.address import Address
from geartrain.transport.sync import Stream, TlsStream
from geartrain.worker.connection import GRAB_ALL, WorkerConnection
from geartrain.worker.events import ServerVersion, WorkerEvent

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS: Final = 10.0


class Link:
    """One of the worker's slots at one of its servers.

    Args:
        hear: takes the events of the connection.
        lost: called when the connection is gone, with the cause.

    Attributes:
        connection: None while there is none.
        explain: the server is known to handle WORK_EXCEPTION well.
        stuck: bytes wait to be sent; send no more than must be.
    """

    def __init__(
        self,
        loop: Loop,
        address: Address,
        functions: list[bytes],
        tls: ssl.SSLContext | None,
        hear: Callable[[Link, list[WorkerEvent]], None],
        lost: Callable[[Link, str], None],
        ready: Callable[[Link], None],
    ) -> None:
        self.where = str(address)
        self.connection: WorkerConnection | None = None
        self.explain = False
        self._loop = loop
        self._address = address
        self._functions = functions
        self._tls = tls
        self._hear = hear
        self._lost = lost
        self._ready = ready
        self._stream: Stream | None = None
        self._grab = GRAB_ALL
        self._redial: Redial | None = None

    @property
    def stuck(self) -> bool:
        return self._stream is not None and self._stream.backlog

    @property
    def busy(self) -> bool:
        """A job is under way here."""
        return self.connection is not None and self.connection.running > 0

    def dial(self) -> None:
        """Begin to connect; ``ready`` is called when it is done, however long it takes."""
        redial = Redial([self._address], CONNECT_SECONDS, self._tls, None)
        self._redial = redial
        self._loop.watch(redial.fileno(), READ, self._answered)

    @property
    def fault(self) -> str:
        """Why there is no connection yet."""
        return self._redial.last_fault if self._redial is not None else ""

    def push(self) -> None:
        """Send what the connection has to say."""
        connection, stream = self.connection, self._stream
        if connection is None or stream is None:
            return
        pieces = connection.data_to_send()
        try:
            if pieces:
                stream.send(pieces)
        except OSError as error:
            self._gone(error.strerror or str(error))
            return
        self._loop.watch(stream.fileno(), READ | WRITE if stream.backlog else READ, self._serve)

    def close(self, cause: str = "") -> None:
        """Hang up; a cause makes it a loss."""
        if cause:
            self._gone(cause)
        elif self._stream is not None:
            self._loop.forget(self._stream.fileno())
            self._stream.close()
            self._stream = None
            self.connection = None

    # ── inside ───────────────────────────────────────────────────────────────

    def _answered(self) -> None:
        assert self._redial is not None
        self._loop.forget(self._redial.fileno())
        self._stream, _ = self._redial.result()
        self._redial = None
        self.explain = False
        connection = WorkerConnection(self._grab)
        connection.tick(time.monotonic())
        connection.ask_version()
        for function in self._functions:
            connection.can_do(function)
        self.connection = connection
        self._ready(self)
        self.push()

    def _serve(self) -> None:
        stream, connection = self._stream, self.connection
        assert stream is not None
        assert connection is not None
        try:
            if stream.backlog:
                stream.flush()
            while (data := stream.receive_now()) is not None:
                if not data:
                    self._gone("the server closed the connection")
                    return
                connection.tick(time.monotonic())
                self._understand(connection.receive_data(data))
                # OpenSSL may hold bytes that poll() does not know of.
                if self.connection is not connection or not isinstance(stream, TlsStream):
                    break
        except ProtocolError as error:
            self._gone(str(error))
            return
        except OSError as error:
            self._gone(error.strerror or str(error))
            return
        self.push()

    def _understand(self, events: list[WorkerEvent]) -> None:
        for event in events:
            if isinstance(event, ServerVersion):
                self.explain = passes_exceptions(event.version)
        self._hear(self, events)

    def _gone(self, cause: str) -> None:
        connection = self.connection
        if connection is None:
            return
        self._grab = connection.grab_mode
        connection.receive_eof()
        self.close()
        self._lost(self, cause)


def passes_exceptions(version: str) -> bool:
    """Whether a server of this version may be sent WORK_EXCEPTION for any client.

    Ours names itself. The C server's 1.x and 2.x turn it into a WORK_FAIL that hangs
    libgearman 1.x clients; Perl's wants a WORK_FAIL after it.
    """
    return "geartrain" in version


def environment(handle: bytes, function: bytes, unique: bytes) -> dict[bytes, bytes]:
    """The environment of a job's command: ours, and what the job is called."""
    return {
        **os.environb,
        b"GEARMAN_HANDLE": handle,
        b"GEARMAN_FUNCTION": function,
        b"GEARMAN_UNIQUE": unique,
    }
