"""Who comes in: connections are accepted, greeted, and led through TLS if that is asked for.

Some at a time, so that a crowd at the door keeps nobody waiting who is inside. When the
process has no descriptor left, the listener is left alone for a while instead of asking again
and again. Faults that repeat are logged once a second at most. While somebody shakes hands,
those who do not come to an end with it are looked for.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable

from geartrain.broker.tables import Peer
from geartrain.errors import ConfigurationError
from geartrain.server.listener import tune
from geartrain.server.reactor import ACCEPTS, Reactor
from geartrain.server.session import Session
from geartrain.server.settings import Settings
from geartrain.server.tls_context import tls_context, verification
from geartrain.server.tls_session import LOOK_SECONDS, Door

log = logging.getLogger("geartrain.server")

#: Seconds without accepting after the process ran out of file descriptors.
_FULL_SECONDS = 0.5


class Reception:
    """Lets connections in.

    Args:
        settings: how many, and how.
        steady: the clock that handshakes are timed by.

    Attributes:
        door: leads through TLS; None where there is none.
    """

    def __init__(self, settings: Settings, steady: Callable[[], float]) -> None:
        self._settings = settings
        self._steady = steady
        self._reactor: Reactor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refused_at = 0.0
        self.door: Door | None = None
        self._door_watched = False
        self._turned_away_at = 0.0

    def open(
        self,
        reactor: Reactor,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext | None,
    ) -> None:
        """From now on let them in here.

        Args:
            reactor: serves them.
            loop: calls when there is something to be seen to.
            context: for TLS, or None.
        """
        self._reactor = reactor
        self._loop = loop
        if context is not None:
            self.door = Door(
                context, self._settings.ssl_handshake_timeout, self._steady, reactor.dismiss,
                reactor.attend, self._turned_away,
            )  # fmt: skip
            log.info("TLS: certificates of clients: %s", verification(self._settings))

    def close(self) -> None:
        """Let nobody in any more."""
        self._reactor = None

    def accept(self, listener: socket.socket) -> None:
        """Take in some of those who wait."""
        reactor = self._reactor
        if reactor is None:
            return
        for _ in range(ACCEPTS):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._cannot_accept(listener, error)
                return
            limit = self._settings.max_connections
            if limit and len(reactor.sessions) >= limit:
                sock.close()
                self._complain(f"refusing connections: max-connections {limit} reached")
                continue
            try:
                tune(sock, self._settings)
            except OSError:
                sock.close()  # gone before we could greet it
                continue
            # Who reaches a unix socket is on this machine, and the file's mode lets it in.
            door = self.door if sock.family != socket.AF_UNIX else None
            session = reactor.admit(sock, door)
            where = address[0] if isinstance(address, tuple) else "unix"
            session.connection.address = str(where).encode()
            log.debug("connection %d from %s", session.number, where)
            if door is not None and not self._door_watched:
                self._look_at_door()

    def _cannot_accept(self, listener: socket.socket, error: OSError) -> None:
        """Out of descriptors (or worse): look away for a while instead of spinning."""
        reactor, loop = self._reactor, self._loop
        assert reactor is not None
        assert loop is not None
        reactor.unlisten(listener)
        loop.call_later(_FULL_SECONDS, self._listen_again, listener)
        if error.errno in (errno.EMFILE, errno.ENFILE):
            self._complain(
                "cannot accept connections: out of file descriptors; raise --file-descriptors"
            )
        else:
            self._complain(f"cannot accept connections: {error.strerror}")

    def _listen_again(self, listener: socket.socket) -> None:
        if self._reactor is not None:
            self._reactor.listen(listener)

    def _complain(self, text: str) -> None:
        """Log a fault that repeats, once a second at most."""
        now = time.monotonic()
        if now - self._refused_at >= 1.0:
            self._refused_at = now
            log.error("%s", text)

    def left(self, session: Session) -> None:
        """A connection has gone."""
        log.debug("connection %d closed", session.number)

    # ── TLS ──────────────────────────────────────────────────────────────────

    def reload(self) -> None:
        """Read the files for TLS anew; connections that there are stay as they are."""
        if self.door is None:
            return
        try:
            context = tls_context(self._settings)
        except ConfigurationError as error:
            log.error("TLS goes on with the certificate it had: %s", error)
            return
        if context is not None:
            self.door.context = context
            log.info("TLS: certificate read anew")

    def look(self) -> None:
        """Turn away who has taken too long to shake hands."""
        if self.door is not None:
            self.door.look()

    def _look_at_door(self) -> None:
        """While somebody shakes hands, see to those who do not come to an end."""
        door, loop, reactor = self.door, self._loop, self._reactor
        self._door_watched = False
        if door is None or loop is None or reactor is None:
            return
        door.look()
        reactor.send()
        if door.outside:
            self._door_watched = True
            loop.call_later(LOOK_SECONDS, self._look_at_door)

    # ── who cannot be talked to ──────────────────────────────────────────────

    def misdialled(self, peer: Peer, text: str) -> None:
        """Somebody speaks what is not spoken here, and is turned away."""
        self._tell_apart(peer, f"closing the connection from {peer.address.decode()}: {text}")

    def _turned_away(self, session: Session, reason: str) -> None:
        self._tell_apart(
            session.connection, f"no TLS with {session.connection.address.decode()}: {reason}"
        )

    def _tell_apart(self, peer: Peer, text: str) -> None:
        """Log who cannot be talked to: once a second at most, for they try again and again."""
        log.debug("connection %d: %s", peer.number, text)
        now = time.monotonic()
        if now - self._turned_away_at >= 1.0:
            self._turned_away_at = now
            log.warning("%s", text)
