"""One turn: everything that is ready is read, then everything that was said is sent.

The sockets of a server stand in a poller of their own. Inside somebody's asyncio
program, the event loop watches that poller's one file descriptor and calls
``turn``: one callback, however many sockets were ready. In a process of its own the
server turns this round: ``run`` waits on the poller, and the event loop's own
poller is one descriptor in it (see ``loop``), so that a turn costs asyncio nothing.

Inside a turn sockets are served in grains: after ``GRAIN`` of them the answers go
out, so that the other side has something to do while the rest is read.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.frontends.gear import GearConnection
from geartrain.frontends.port import House
from geartrain.server.session import IN, Session

#: Sockets read before answers are sent.
GRAIN: Final = 16
#: Most sockets served before the event loop has its turn again.
TURN: Final = 256
#: Most connections accepted in one turn.
ACCEPTS: Final = 128


class Reactor:
    """The sockets of a server and what happens on them.

    Args:
        house: the server around the connections.
        on_accept: called with a listening socket that has connections waiting.
        on_close: called with a session that has ended.
        max_output_bytes: answers waiting for one peer at which it is disconnected.
        wall: seconds since 1970; epoch jobs follow it.
        steady: seconds of a clock that never jumps; time limits follow it.
    """

    def __init__(
        self,
        house: House,
        on_accept: Callable[[socket.socket], None],
        on_close: Callable[[Session], None],
        max_output_bytes: int,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.house = house
        self.broker: Broker = house.broker
        self.touched: list[GearConnection] = []
        self.sessions: dict[int, Session] = {}
        self.listeners: dict[int, socket.socket] = {}
        self.max_output_bytes = max_output_bytes
        self.turns = 0
        #: Set to make ``run`` return: the event loop has something to do.
        self.interrupted = False
        self._guest = -1
        self._guest_ready = False
        self._on_accept = on_accept
        self._on_close = on_close
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._monotonic = steady
        self._time = wall

    def fileno(self) -> int:
        """What an event loop should watch for reading."""
        return self._epoll.fileno()

    # ── who is here ──────────────────────────────────────────────────────────

    def listen(self, sock: socket.socket) -> None:
        """Watch a listening socket."""
        self.listeners[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), IN)

    def unlisten(self, sock: socket.socket) -> None:
        """Stop watching a listening socket; it stays open."""
        if self.listeners.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def admit(self, sock: socket.socket) -> Session:
        """Let an accepted, non-blocking socket in."""
        connection = GearConnection(sock.fileno(), self.house, self.touched)
        session = Session(sock, connection, self._monotonic())
        self.sessions[session.number] = session
        self.broker.join(connection)
        self._epoll.register(session.number, IN)
        return session

    def dismiss(self, session: Session) -> None:
        """Close a session; what its connection held goes back to the broker."""
        if self.sessions.pop(session.number, None) is None:
            return
        session.lost = True
        self._epoll.unregister(session.number)
        self.broker.leave(session.connection)
        session.socket.close()
        self.interrupted = True
        self._on_close(session)

    def close(self) -> None:
        """Close every session, and the poller."""
        for session in list(self.sessions.values()):
            self.dismiss(session)
        for sock in list(self.listeners.values()):
            self.unlisten(sock)
        self._epoll.close()

    def watch_guest(self, number: int) -> None:
        """Watch an event loop's own poller; ``run`` returns when something is ready there."""
        self._guest = number
        self._epoll.register(number, IN)

    # ── turns ────────────────────────────────────────────────────────────────

    def run(self, timeout: float) -> bool:
        """Serve sockets until the event loop has something to do.

        Args:
            timeout: seconds until then at the latest; 0.0 for a look, -1.0 for no end.

        Returns:
            True when the guest's poller has something ready.
        """
        end = self._monotonic() + timeout if timeout > 0.0 else 0.0
        self._guest_ready = False
        while True:
            left = timeout
            if timeout > 0.0:
                left = max(0.0, end - self.broker.state.steady)
            due = self.broker.next_deadline()
            if due >= 0.0 and (left < 0.0 or due < left):
                left = due
            events = self._poll(left, TURN)
            if events:
                self.serve(events)
            else:
                self.tick()
            if self.interrupted or self._guest_ready:
                self.interrupted = False
                return self._guest_ready
            if timeout >= 0.0 and self.broker.state.steady >= end:
                return False

    def turn(self) -> None:
        """Serve every socket that is ready now."""
        events = self._poll(0, TURN)
        if events:
            self.serve(events)

    def serve(self, events: list[tuple[int, int]]) -> None:
        """Serve these sockets: read all, then send all, a grain at a time."""
        self.turns += 1
        self.broker.tick(self._time(), self._monotonic())
        sessions = self.sessions
        accepting = False
        count = 0
        for number, mask in events:
            session = sessions.get(number)
            if session is None:
                accepting = True
                continue
            if mask == IN:
                session.read()
                if session.ended or session.lost:
                    self._settle(session)
            else:
                self._serve_rare(session, mask)
            count += 1
            if count == GRAIN:
                self.send()
                count = 0
        self.send()
        if accepting:
            for number, _ in events:
                listener = self.listeners.get(number)
                if listener is not None:
                    self.interrupted = True
                    self._on_accept(listener)
                elif number == self._guest:
                    self._guest_ready = True

    def _serve_rare(self, session: Session, mask: int) -> None:
        if mask & select.EPOLLOUT:
            session.blocked = False
            session.flush()
            if not session.blocked:
                session.connection.resume()
        if mask & (IN | select.EPOLLHUP | select.EPOLLERR) and not session.ended:
            session.read()
        elif mask & select.EPOLLHUP:
            session.lost = True
        self._settle(session)

    def send(self) -> None:
        """Send what connections have written down: one write for each."""
        self.broker.end_turn()
        while self.touched:
            touched = self.touched[:]
            self.touched.clear()
            for connection in touched:
                session = self.sessions.get(connection.number)
                if session is None or session.connection is not connection:
                    continue
                session.flush()
                if (
                    session.blocked
                    or session.lost
                    or connection.held_back
                    or connection.closing
                    or session.ended
                ):
                    self._settle(session)

    def _settle(self, session: Session) -> None:
        """After something unusual: resume, close, or watch for other things."""
        connection = session.connection
        if session.ended and connection.number in self.broker.state.peers:
            # As the C server: a peer that stops talking is gone for the broker,
            # but answers it has already earned are still sent.
            self.broker.leave(connection)
        session.flush()
        while connection.held_back and not session.blocked and not session.lost:
            connection.resume()
            session.flush()
        if connection.out_bytes > self.max_output_bytes and len(connection.out) > 3:
            session.lost = True
        if session.finished:
            self.dismiss(session)
            return
        wants = session.wants()
        if wants != session.interest:
            session.interest = wants
            self._epoll.modify(session.number, wants)

    def tick(self) -> None:
        """Let time pass without a socket being ready."""
        self.broker.tick(self._time(), self._monotonic())
        self.send()
