"""A blocking stream with deadlines.

Sending never blocks: what the network does not take at once is kept, and goes out
while we wait for something to read. A client that blocked in ``send`` while its
server blocked in sending to it would wait for ever.

The socket stays in blocking mode; ``MSG_DONTWAIT`` marks the calls that must not
wait. So a read that may wait for long is one system call. None waits for longer than
``NAP_SECONDS``: a signal that comes in the moment before the call does not interrupt
it, and its handler would else run when the next bytes arrive, if ever.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from geartrain.errors import ConnectTimeout, ServerUnavailable
from geartrain.transport.address import Address

if TYPE_CHECKING:
    import ssl

#: Pieces are joined up to this size; larger ones go out alone, uncopied.
_JOIN_BYTES: Final = 64 * 1024
_SMALLEST_READ: Final = 4 * 1024
_LARGEST_READ: Final = 256 * 1024
_DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)

#: No system call of ours waits for longer.
NAP_SECONDS: Final = 1.0

#: A peer that acknowledges nothing for so long is gone.
DEAD_PEER_SECONDS: Final = 60


def tune(sock: socket.socket) -> None:
    """Set what every TCP connection of ours has: no Nagle, keepalive, an end to silence."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    settings = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", DEAD_PEER_SECONDS * 1000),
    ]
    for level, name, value in settings:
        number = getattr(socket, name, None)
        if number is not None:
            try:
                sock.setsockopt(level, number, value)
            except OSError:  # a kernel without it does without it
                pass


def connect(
    address: Address, timeout: float | None = 4.0, tls: ssl.SSLContext | None = None
) -> Stream:
    """Open a stream to a server.

    Args:
        address: where; with ``address.tls`` and no context, the system's
            authorities are trusted.
        timeout: seconds for everything together: name, connection, handshake.
        tls: speak TLS with these settings.

    Raises:
        ConnectTimeout: not done in time.
        ServerUnavailable: refused, unknown, or the handshake failed.
    """
    try:
        if address.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                sock.connect(address.path)
            except BaseException:
                sock.close()
                raise
        else:
            sock = socket.create_connection((address.host, address.port), timeout)
    except TimeoutError as error:
        raise ConnectTimeout(f"{address} did not answer within {timeout:g} seconds") from error
    except OSError as error:
        raise ServerUnavailable("cannot connect", {str(address): _why(error)}) from error
    tune(sock)
    if tls is None and not address.tls:
        sock.settimeout(None)
        return Stream(sock)
    return _handshake(sock, address, timeout, tls)


def _handshake(
    sock: socket.socket, address: Address, timeout: float | None, tls: ssl.SSLContext | None
) -> Stream:
    if tls is None:
        from geartrain.transport.tls import client_context

        tls = client_context(True)
        assert tls is not None
    try:
        wrapped = tls.wrap_socket(sock, server_hostname=address.host or None)
    except TimeoutError as error:
        sock.close()
        raise ConnectTimeout(
            f"{address}: no TLS handshake within {timeout:g} seconds; is it a TLS port?"
        ) from error
    except OSError as error:
        from geartrain.transport.tls import no_handshake

        sock.close()
        why = no_handshake(error)
        raise ServerUnavailable("TLS handshake failed", {str(address): why}) from error
    wrapped.setblocking(False)
    return TlsStream(wrapped)


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _limit_reads(sock: socket.socket) -> bool:
    """Have a blocking read end after ``NAP_SECONDS``; False: here that cannot be had."""
    if sock.gettimeout() is not None or not _DONTWAIT:
        return False
    try:
        limit = struct.pack("@ll", int(NAP_SECONDS), int(NAP_SECONDS % 1 * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    except OSError:  # a kernel that wants another shape of it: poll() then does the waiting
        return False
    return True


class Stream:
    """A connected socket.

    One thread may read while another sends; callers see to it that not two of
    them do the same.

    Attributes:
        backlog: bytes that the network has not taken yet are waiting.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest: list[bytes | memoryview] = []
        self._read_size = _SMALLEST_READ
        self._poll_in = select.poll()
        self._poll_in.register(sock, select.POLLIN)
        self._naps = _limit_reads(sock)
        self.backlog = False
        self.closed = False

    def fileno(self) -> int:
        """The file descriptor, for ``select`` and its kin; -1 when closed."""
        return self._sock.fileno()

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send what the network takes now; keep the rest for ``flush`` and ``receive``.

        Raises:
            OSError: the connection is gone.
        """
        if self._rest:
            self._rest.extend(pieces)
            self.flush()
            return
        if len(pieces) == 1:
            data = pieces[0]
            try:
                sent = self._send_now(data)
            except BlockingIOError:
                sent = 0
            if sent != len(data):
                self._rest.append(memoryview(data)[sent:])
                self.backlog = True
            return
        run: list[bytes] = []
        size = 0
        for piece in pieces:
            if len(piece) >= _JOIN_BYTES:
                if run:
                    self._rest.append(b"".join(run))
                    run = []
                    size = 0
                self._rest.append(piece)
                continue
            run.append(piece)
            size += len(piece)
            if size >= _JOIN_BYTES:
                self._rest.append(b"".join(run))
                run = []
                size = 0
        if run:
            self._rest.append(b"".join(run))
        self.flush()

    def flush(self) -> bool:
        """Send more of what was kept; whether nothing is left.

        Raises:
            OSError: the connection is gone.
        """
        rest = self._rest
        done = 0
        try:
            while done < len(rest):
                piece = rest[done]
                sent = self._send_now(piece)
                if sent == len(piece):
                    done += 1
                else:
                    rest[done] = memoryview(piece)[sent:]
        except BlockingIOError:
            pass
        del rest[:done]
        self.backlog = bool(rest)
        return not rest

    def receive(self, deadline: float | None = None) -> bytes:
        """Wait for bytes, sending what was kept meanwhile.

        Args:
            deadline: of ``time.monotonic()``; None: wait for ever.

        Returns:
            What there is, at least one byte; empty: the other side has closed.

        Raises:
            TimeoutError: nothing until the deadline.
            OSError: the connection is gone.
        """
        while True:
            data = self.hear(deadline)
            if data is not None:
                return data
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError("nothing arrived in time")

    def hear(self, deadline: float | None) -> bytes | None:
        """Wait for bytes as ``receive`` does, but for no longer than ``NAP_SECONDS``.

        Returns:
            None: nothing has come; let signals in, look at the clock, and call again.

        Raises:
            OSError: the connection is gone.
        """
        seconds = NAP_SECONDS if deadline is None else deadline - time.monotonic()
        if self._naps and seconds >= NAP_SECONDS and not self.backlog:
            try:
                return self._sized(self._sock.recv(self._read_size))
            except BlockingIOError:
                return None
        if self.wait(seconds, self.backlog):
            if self.backlog:
                self.flush()
            return self.receive_now()
        return None

    def wait(self, seconds: float, writing: bool) -> bool:
        """Wait until there may be something to read (or, ``writing``, room to send).

        Args:
            seconds: so long at most, and never longer than ``NAP_SECONDS``.

        Returns:
            False: there is nothing yet.
        """
        milliseconds = max(0.0, min(seconds, NAP_SECONDS)) * 1000
        if writing:
            poll = select.poll()
            poll.register(self._sock, select.POLLIN | select.POLLOUT)
            return bool(poll.poll(milliseconds))
        return bool(self._poll_in.poll(milliseconds))

    def wait_writable(self) -> None:
        """Wait until the network takes more, or the connection is gone."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        poll.poll()

    def receive_now(self) -> bytes | None:
        """What has arrived, None if nothing has; empty: the other side has closed."""
        try:
            return self._sized(self._sock.recv(self._read_size, _DONTWAIT))
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Hang up; twice is fine. A thread that reads meanwhile is woken."""
        if self.closed:
            return
        self.closed = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()

    def abandon(self) -> None:
        """Close our copy of the descriptor only: after a fork the parent goes on with its own."""
        self.closed = True
        self._sock.close()

    def _send_now(self, data: bytes | memoryview) -> int:
        return self._sock.send(data, _DONTWAIT)

    def _sized(self, data: bytes) -> bytes:
        """Read more at once where much arrives: large reads cost small answers dearly."""
        if len(data) == self._read_size and self._read_size < _LARGEST_READ:
            self._read_size *= 2
        elif len(data) < self._read_size >> 3 and self._read_size > _SMALLEST_READ:
            self._read_size >>= 1
        return data


class TlsStream(Stream):
    """The same through TLS. The socket does not block: TLS may need to write in order to read."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self._tls: Any = sock

    def hear(self, deadline: float | None) -> bytes | None:
        # OpenSSL may hold bytes that poll() does not know of.
        data = self.receive_now()
        if data is not None:
            return data
        seconds = NAP_SECONDS if deadline is None else deadline - time.monotonic()
        if self.wait(seconds, self.backlog):
            if self.backlog:
                self.flush()
            return self.receive_now()
        return None

    def receive_now(self) -> bytes | None:
        import ssl

        try:
            return self._sized(self._tls.recv(self._read_size))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def _send_now(self, data: bytes | memoryview) -> int:
        import ssl

        try:
            sent: int = self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        return sent
