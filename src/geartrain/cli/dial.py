"""Finding a server, and a socket to it that never blocks.

``Wire`` is one connection: it keeps what the network does not take at once, and
hands over what has come. The loops of ``gearman`` and ``gearadmin`` wait for many
things at a time, so nothing here waits but ``dial``, which has a deadline.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from geartrain.errors import ConfigurationError, ConnectTimeout, ServerUnavailable
from geartrain.terms import DEFAULT_PORT

if TYPE_CHECKING:
    import ssl

#: Seconds that one address may take to answer.
CONNECT_SECONDS: Final = 10.0

#: Bytes asked of the network at once.
READ_BYTES: Final = 256 * 1024

#: Small pieces are joined up to this: one copy is cheaper than sixty-four addresses.
JOIN_BYTES: Final = 64 * 1024

_PIECES: Final = 64


class Address:
    """Where a server listens: host and port, or the path of a unix socket."""

    def __init__(self, name: str, host: str, port: str, path: str) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.path = path


def address(name: str) -> Address:
    """Read ``host``, ``host:port``, ``[::1]:port``, ``unix:/path`` or ``/path``.

    Raises:
        ConfigurationError: it is none of those.
    """
    if name.startswith(("unix:", "/")):
        path = name.removeprefix("unix:")
        return Address(f"unix:{path}", "", "", path)
    if name.startswith("["):
        host, closed, rest = name[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ConfigurationError(f"server '{name}': want [address]:port")
        port = rest[1:]
    elif name.count(":") > 1:
        host, port = name, ""
    else:
        host, _, port = name.partition(":")
    port = port or str(DEFAULT_PORT)
    if not host or not _is_port(port):
        raise ConfigurationError(f"server '{name}': want host, host:port, [address]:port or unix:/path")
    shown = f"[{host}]" if ":" in host else host
    return Address(f"{shown}:{port}", host, port, "")


def _is_port(text: str) -> bool:
    if text.isdecimal():
        return 0 < int(text) < 65536
    return bool(text) and text.replace("-", "").isalnum()


class Wire:
    """A connected socket, its unsent bytes, and its silence about everything else.

    Attributes:
        where: the server's name, for messages.
        unsent: bytes that the network has not taken yet.
        heard: an instant (of the caller's clock) when bytes last moved; the caller's to set.
    """

    def __init__(self, sock: socket.socket, where: str) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.where = where
        self.unsent = 0
        self.heard = 0.0
        self._out: deque[bytes | memoryview] = deque()
        self._fd = sock.fileno()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def put(self, pieces: Sequence[bytes]) -> None:
        """Take bytes to send, and send what goes.

        Raises:
            OSError: the connection is gone.
        """
        if not pieces:
            return
        total = sum(map(len, pieces))
        if not self._out and total <= JOIN_BYTES:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                if not _would_block(error):
                    raise
                sent = 0
            if sent < total:
                self._out.append(memoryview(data)[sent:])
                self.unsent = total - sent
            return
        self._out.extend(pieces)
        self.unsent += total
        self.flush()

    def flush(self) -> None:
        """Send what goes.

        Raises:
            OSError: the connection is gone.
        """
        out = self._out
        while out:
            try:
                if hasattr(self.sock, "pending"):  # TLS has no gathering write
                    sent = self.sock.send(out[0])
                else:
                    count = min(len(out), _PIECES)
                    sent = self.sock.sendmsg([out[at] for at in range(count)])
            except OSError as error:
                if _would_block(error):
                    return
                raise
            self.unsent -= sent
            while sent:
                size = len(out[0])
                if sent < size:
                    out[0] = memoryview(out[0])[sent:]
                    break
                sent -= size
                out.popleft()

    def receive(self) -> bytes | None:
        """What has come: bytes, ``b""`` when the other side is done, None when nothing is here.

        Raises:
            OSError: the connection is gone.
        """
        try:
            return self.sock.recv(READ_BYTES)
        except OSError as error:
            if _would_block(error):
                return None
            raise

    def close(self) -> None:
        """Hang up; what is unsent is lost."""
        self._out.clear()
        self.sock.close()


def _would_block(error: OSError) -> bool:
    # ssl.SSLWantReadError and SSLWantWriteError (2 and 3) without importing ssl.
    if isinstance(error, BlockingIOError):
        return True
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def dial(
    where: Address, timeout: float | None = None, context: ssl.SSLContext | None = None
) -> Wire:
    """Connect, trying each of a host's addresses.

    Args:
        where: the server.
        timeout: seconds for each address; None: ``CONNECT_SECONDS``.
        context: speak TLS.

    Raises:
        ServerUnavailable: it cannot be reached.
        ConnectTimeout: it does not answer.
    """
    limit = CONNECT_SECONDS if timeout is None else max(timeout, 0.001)
    try:
        sock = _connect(where, limit)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=where.host or "localhost")
    except TimeoutError:
        raise ConnectTimeout(
            f"{where.name} did not answer within {limit:g} s; is it the right host and port?"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ServerUnavailable(f"cannot connect to {where.name}: {reason}") from None
    return Wire(sock, where.name)


def _connect(where: Address, limit: float) -> socket.socket:
    if where.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(limit)
            sock.connect(where.path)
        except OSError:
            sock.close()
            raise
        return sock
    fault: OSError = OSError("no address")
    for family, kind, number, _, place in socket.getaddrinfo(
        where.host, where.port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, number)
        try:
            sock.settimeout(limit)
            sock.connect(place)
        except OSError as error:
            sock.close()
            fault = error
            continue
        _keep_alive(sock)
        return sock
    raise fault


def _keep_alive(sock: socket.socket) -> None:
    """Small packets at once, and news within minutes of a peer that fell silent for good."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        number = getattr(socket, name, None)
        if number is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


def tls_context(environ: dict[str, str]) -> ssl.SSLContext:
    """TLS as the environment has it (``GEARMAND_CA_CERTIFICATE``, ``GEARMAN_CLIENT_PEM``, ``_KEY``).

    The server's certificate is checked, against the machine's authorities where no
    file is named.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    import ssl

    authority = environ.get("GEARMAND_CA_CERTIFICATE") or None
    certificate = environ.get("GEARMAN_CLIENT_PEM") or None
    key = environ.get("GEARMAN_CLIENT_KEY") or None
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        reason = error.strerror or str(error)
        files = ", ".join(name for name in (authority, certificate, key) if name)
        raise ConfigurationError(f"TLS: cannot use {files or 'the settings'}: {reason}") from None
    return context
