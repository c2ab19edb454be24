"""Conversations with servers: begun when one is needed, listened to by the thread that leads.

With one server the leader reads from its socket and nothing else, which costs a job least.
With several it polls them, and a socket of its own that wakes it when another thread has
connected meanwhile. A connection that was quiet for a while is looked at before it is used
again.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from geartrain._native import mypyc_attr, take_signals
from geartrain.client.channel import Channel
from geartrain.client.connection import ClientConnection
from geartrain.client.leading import Leading
from geartrain.client.seldom import chance, why
from geartrain.errors import ConnectTimeout, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.servers import ServerBook
from geartrain.transport.sync import NAP_SECONDS, TlsStream, connect

if TYPE_CHECKING:
    import ssl

#: A connection that was quiet for so long is looked at before it is used again: the
#: server may have closed it, and a job sent into it would be in doubt.
QUIET_SECONDS: Final = 0.5


@mypyc_attr(allow_interpreted_subclasses=True)
class Hearing(Leading):
    """The channels, and what comes through them.

    Args:
        servers: where.
        connect_timeout: seconds, or None.
        tls: for every server; or None.
        exceptions: ask servers to pass WORK_EXCEPTION on.
    """

    def __init__(
        self,
        servers: tuple[Address, ...],
        connect_timeout: float | None,
        tls: ssl.SSLContext | None,
        exceptions: bool,
    ) -> None:
        super().__init__()
        self.servers = servers
        self.book = ServerBook()
        self.closed = False
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._exceptions = exceptions
        self._channels: dict[Address, Channel] = {}
        self._lone = len(servers) == 1
        # The only channel there can be, or None: an address as a key has its price.
        self._only: Channel | None = None

    def _new_threading(self) -> None:
        super()._new_threading()
        self._connecting = threading.RLock()

    # ── what is done with what comes ─────────────────────────────────────────

    def _heard(self, channel: Channel, data: bytes) -> None:
        """Bytes have come; none at the end."""
        raise NotImplementedError

    def _lost(self, channel: Channel, cause: str) -> None:
        """A connection has gone: close it, and tell everybody who waits on it."""
        raise NotImplementedError

    # ── channels ─────────────────────────────────────────────────────────────

    def channel(self, address: Address) -> Channel:
        """The conversation with a server, begun if there is none.

        Raises:
            ServerUnavailable, ConnectTimeout: it cannot be reached.
        """
        channel = self._found(address)
        if channel is not None:
            self._look_at(channel)
            channel = self._found(address)
            if channel is not None:
                return channel
        if self.closed:
            raise ServerUnavailable("the client is closed")
        with self._connecting:
            channel = self._channels.get(address)
            if channel is not None:
                return channel
            try:
                stream = connect(address, self._connect_timeout, self._tls)
            except (ServerUnavailable, ConnectTimeout):
                self.book.failed(address, time.monotonic(), chance())
                raise
            self.book.succeeded(address)
            channel = Channel(address, ClientConnection(self._exceptions), stream)
            channel.used_at = time.monotonic()
            with self.lock:
                self._channels[address] = channel
                self._only = channel if self._lone else None
            self._wake_leader()
            return channel

    def _found(self, address: Address) -> Channel | None:
        only = self._only
        if only is not None and only.address is address:
            return only
        return self._channels.get(address)

    def _look_at(self, channel: Channel) -> None:
        """Notice that the server has closed a quiet connection before a job is sent into it."""
        now = time.monotonic()
        quiet = now - channel.used_at > QUIET_SECONDS
        channel.used_at = now
        if quiet and not self._leader and not channel.requests:
            try:
                data = channel.stream.receive_now()
            except OSError as error:
                self._lost(channel, why(error))
                return
            if data is not None:
                self._heard(channel, data)

    # ── listening ────────────────────────────────────────────────────────────

    def _step(self, deadline: float | None) -> bool:
        """Wait once for anything, and deal with it; False: the deadline came first."""
        take_signals()
        self._calls.run()
        end = deadline
        if self._again:
            self._run_due()
            if self._again and (end is None or self._again[0][0] < end):
                end = self._again[0][0]
        only = self._only
        if only is not None:
            try:
                data = only.stream.hear(end)
            except (OSError, ValueError) as error:
                self._lost(only, why(error))
            else:
                if data is None:
                    return deadline is None or time.monotonic() < deadline
                self._heard(only, data)
        else:
            # First the waker, then the look: who connects meanwhile sees the one, or is
            # seen by the other.
            self._open_waker()
            channels = list(self._channels.values())
            if not channels and end is None:
                # Nothing can arrive: whatever is waited for has been dealt with just
                # now by another thread, or never will be.
                return self._nothing_left()
            if not self._wait_for_some(channels, end):
                return deadline is None or time.monotonic() < deadline
        self._calls.run()
        return True

    def _nothing_left(self) -> bool:
        if self.closed:
            raise ServerUnavailable("the client is closed")
        time.sleep(0.001)
        return True

    def _wait_for_some(self, channels: Iterable[Channel], end: float | None) -> bool:
        ready: dict[int, Channel] = {}
        heard = False
        poll = select.poll()
        for channel in channels:
            stream = channel.stream
            if isinstance(stream, TlsStream):
                heard = self._read(channel) or heard
            number = stream.fileno()
            if number >= 0:
                poll.register(
                    number, select.POLLIN | select.POLLOUT if stream.backlog else select.POLLIN
                )
                ready[number] = channel
        if heard:
            return True
        waker = self._open_waker()
        poll.register(waker, select.POLLIN)
        seconds = NAP_SECONDS if end is None else min(NAP_SECONDS, end - time.monotonic())
        found = poll.poll(max(0.0, seconds) * 1000)
        for number, what in found:
            if number == waker.fileno():
                waker.recv(1024)
                continue
            channel = ready[number]
            if what & select.POLLOUT:
                try:
                    with self.lock:
                        channel.stream.flush()
                except OSError as error:
                    self._lost(channel, why(error))
                    continue
            if what & ~select.POLLOUT:
                self._read(channel)
        return bool(found)

    def _hear_now(self, channel: Channel) -> None:
        """Take what has arrived, unless another thread sees to that."""
        me = threading.get_ident()
        before = -1
        try:
            with self.lock:
                before = self._leader
                if before == 0:
                    self._leader = me
            if before in (0, me):
                self._read(channel)
        finally:
            if before == 0 and self._leader == me:
                self._resign()

    def _read(self, channel: Channel) -> bool:
        try:
            data = channel.stream.receive_now()
        except (OSError, ValueError) as error:
            self._lost(channel, why(error))
            return True
        if data is None:
            return False
        self._heard(channel, data)
        return True
