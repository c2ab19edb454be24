"""Metrics: what ``status`` says, as Prometheus reads it, on a port of this machine.

The manager has one thread and must not wait for anybody: a connection is read when the
system says that there is something, and closed when too many are open.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from geartrain.errors import ConfigurationError

log = logging.getLogger("geartrain.manager")

#: Connections at once; the oldest goes first.
MOST_CONNECTIONS: Final = 16
#: No request that asks for metrics is longer.
MOST_BYTES: Final = 8192
PATIENCE_SECONDS: Final = 0.2
STATES: Final = (
    "loading", "waiting", "idle", "working", "quiet", "leaving", "killed", "pausing",
)  # fmt: skip


def exposition(status: dict[str, Any]) -> str:
    """A status in the text format 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: dict[str, Any]) -> Iterator[str]:
    rows = status["processes"]
    ended = status["ended"]
    yield from _family("processes", "gauge", "Processes by what they do now.")
    states = Counter(row["state"] for row in rows)
    for state in STATES:
        yield f'gearman_worker_processes{{state="{state}"}} {states[state]}'
    for name, key, text in (
        ("jobs", "jobs", "Jobs that have ended, well or not."),
        ("failures", "failures", "Jobs that an exception has ended."),
    ):
        yield from _family(f"{name}_total", "counter", text)
        yield f"gearman_worker_{name}_total {ended[key] + sum(row[key] for row in rows)}"
    yield from _family("crashes_total", "counter", "Processes that have ended unasked.")
    yield f"gearman_worker_crashes_total {status['crashes']}"
    yield from _family("running", "gauge", "Jobs that are being done.")
    yield f"gearman_worker_running {sum(row['running'] for row in rows)}"
    yield from _family("start_time_seconds", "gauge", "When the manager was started.")
    yield f"gearman_worker_start_time_seconds {status['since']:.3f}"
    for name, key, text in (
        ("process_memory_bytes", "memory_bytes", "Resident memory."),
        ("process_age_seconds", "age_seconds", "Time since the process was started."),
        (
            "process_job_seconds",
            "job_seconds",
            "Time that the job takes which began last; 0: none.",
        ),
    ):
        yield from _family(name, "gauge", text)
        for row in rows:
            yield f'gearman_worker_{name}{{process="{_escaped(row["name"])}"}} {row[key]}'


def _family(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP gearman_worker_{name} {text}"
    yield f"# TYPE gearman_worker_{name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsPort:
    """Answers ``GET /metrics``.

    Args:
        place: ``9100``, ``10.0.0.7:9100`` or ``[::1]:9100``; without a host 127.0.0.1.
        selector: where its sockets wait; the key's data is to be called.
        status: what is the case.

    Raises:
        ConfigurationError: it cannot listen there.
    """

    def __init__(
        self,
        place: str,
        selector: selectors.BaseSelector,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        host, _, port = place.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ConfigurationError(f"metrics = {place!r}: want a port, or host:port")
        self._selector = selector
        self._status = status
        #: The oldest first.
        self._asking: dict[socket.socket, bytes] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, int(port)), family=family)
        except OSError as error:
            raise ConfigurationError(
                f"metrics = {place!r}: cannot listen there: {error.strerror or error}"
            ) from None
        self._socket.setblocking(False)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)
        shown = f"[{host}]" if ":" in host else host
        log.info("metrics: http://%s:%d/metrics", shown, self._socket.getsockname()[1])

    def close(self) -> None:
        """Close all of it. (The selector is closed by whoever made it.)"""
        self._socket.close()
        for connection in self._asking:
            connection.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._asking[connection] = b""
        if len(self._asking) > MOST_CONNECTIONS:
            self._drop(next(iter(self._asking)))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection))

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        asked = self._asking[connection] + data
        if data and b"\r\n\r\n" not in asked and len(asked) < MOST_BYTES:
            self._asking[connection] = asked
            return
        if data:
            # One that does not read is not worth waiting for: children may be.
            connection.settimeout(PATIENCE_SECONDS)
            with suppress(OSError):
                connection.sendall(self._answer(asked))
        self._drop(connection)

    def _answer(self, asked: bytes) -> bytes:
        words = asked.split(b"\r\n", 1)[0].split()
        status, body = "200 OK", b""
        if len(words) != 3 or words[0] != b"GET":
            status = "405 Method Not Allowed"
        elif words[1].split(b"?")[0] != b"/metrics":
            status = "404 Not Found"
        else:
            body = exposition(self._status()).encode()
        head = (
            f"HTTP/1.1 {status}\r\n"
            f"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        del self._asking[connection]
