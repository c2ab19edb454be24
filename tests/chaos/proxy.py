"""A network that can be cut: a TCP proxy with scissors.

What it does not do as a real network does: both directions are cut in the same
moment, and bytes that one side has sent before the cut may still be read by the other.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
from types import TracebackType

from tests.support import patient

#: SO_LINGER with 0 seconds: close() sends RST, and drops what was not delivered.
_RESET = struct.pack("ii", 1, 0)


class Cut:
    """Where to cut: after so many bytes in one direction.

    Args:
        up: after so many bytes to the server; None: not there.
        down: after so many bytes from the server; None: not there.
        reset: with RST instead of FIN.
        stall: do not close at all; just say nothing any more.
        times: so many connections; the others are left alone.
    """

    def __init__(
        self,
        up: int | None = None,
        down: int | None = None,
        *,
        reset: bool = False,
        stall: bool = False,
        times: int = 1_000_000,
    ) -> None:
        self.up = up
        self.down = down
        self.reset = reset
        self.stall = stall
        self.times = times

    def __repr__(self) -> str:
        where = f"up {self.up}" if self.up is not None else f"down {self.down}"
        how = "stall" if self.stall else "reset" if self.reset else "close"
        return f"<Cut {where} {how} x{self.times}>"


class _Pair:
    """One connection through the proxy."""

    def __init__(self, near: socket.socket, far: socket.socket, cut: Cut | None) -> None:
        self.near = near
        self.far = far
        self.cut = cut
        self.passed = {near: 0, far: 0}
        self.stalled = False

    def allowed(self, source: socket.socket, size: int) -> int:
        """Bytes of this piece that may pass; less than all: then cut."""
        if self.cut is None:
            return size
        limit = self.cut.up if source is self.near else self.cut.down
        return size if limit is None else max(0, min(size, limit - self.passed[source]))


class Proxy:
    """Listens on a free port, and passes bytes to a server and back.

    Attributes:
        cut: for connections made from now on.
        connections: how many there have been.
        bytes_up, bytes_down: passed through all of them.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.cut: Cut | None = None
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._wake_end = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, _Pair] = {}
        self._orders: list[float] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut_now(self, part: float = 1.0) -> None:
        """Cut this part of all connections that there are."""
        self._orders.append(part)
        self._wake_end.send(b"c")

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._listener:
                    self._accept()
                elif sock is self._wake:
                    self._wake.recv(100)
                    while self._orders:
                        part = self._orders.pop()
                        for pair in set(self._pairs.values()):
                            if random.random() < part:
                                self._close(pair, reset=random.random() < 0.5)
                elif sock in self._pairs:
                    self._pass(self._pairs[sock], sock)

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        self.connections += 1
        try:
            far = socket.create_connection(self._target, timeout=2.0)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            near.close()
            return
        cut = self.cut
        if cut is not None:
            if cut.times <= 0:
                cut = None
            else:
                cut.times -= 1
        for sock in (near, far):
            # Small pieces, all of them taken at once by a kernel's buffer: the
            # proxy may block in sending without harm to these tests.
            sock.settimeout(2.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(near, far, cut)
        for sock in (near, far):
            self._pairs[sock] = pair
            self._selector.register(sock, selectors.EVENT_READ)
        self._maybe_cut(pair)

    def _maybe_cut(self, pair: _Pair) -> None:
        """A cut after no bytes at all comes before anything can pass."""
        if pair.cut is not None and 0 in (pair.cut.up, pair.cut.down):
            self._end(pair)

    def _pass(self, pair: _Pair, source: socket.socket) -> None:
        sink = pair.far if source is pair.near else pair.near
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        if pair.stalled:
            if not data:
                self._close(pair, reset=False)
            return
        if not data:
            self._close(pair, reset=False)
            return
        allowed = pair.allowed(source, len(data))
        # Counted before they are sent: whoever reads them may look at the counts.
        pair.passed[source] += allowed
        if source is pair.near:
            self.bytes_up += allowed
        else:
            self.bytes_down += allowed
        if allowed:
            try:
                sink.sendall(data[:allowed])
            except OSError:
                self._close(pair, reset=False)
                return
        cut = pair.cut
        if cut is not None:
            limit = cut.up if source is pair.near else cut.down
            if limit is not None and pair.passed[source] >= limit:
                self._end(pair)

    def _end(self, pair: _Pair) -> None:
        assert pair.cut is not None
        if pair.cut.stall:
            pair.stalled = True
        else:
            self._close(pair, pair.cut.reset)

    def _close(self, pair: _Pair, reset: bool) -> None:
        for sock in (pair.near, pair.far):
            if self._pairs.pop(sock, None) is None:
                continue
            self._selector.unregister(sock)
            if reset:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()

    def close(self) -> None:
        self._stopping = True
        self._wake_end.send(b"x")
        self._thread.join(patient(10))
        for pair in set(self._pairs.values()):
            self._close(pair, reset=False)
        for sock in (self._listener, self._wake, self._wake_end):
            sock.close()
        self._selector.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
