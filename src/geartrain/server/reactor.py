"""One turn: everything that is ready is read, then everything that was said is sent.

The sockets of a server stand in a poller of their own. Inside somebody's asyncio
program, the event loop watches that poller's one file descriptor and calls
``turn``: one callback, however many sockets were ready. In a process of its own the
server turns this round: ``run`` waits on the poller, and the event loop's own
poller is one descriptor in it (see ``loop``), so that a turn costs asyncio nothing.

A turn takes at most ``TURN`` sockets before the answers go out, so that the other
side has something to do while the rest is read.
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
from geartrain.server.bell import Bell
from geartrain.server.session import IN, Session

#: Most sockets read before answers are sent. Events of this many still fit into what
#: Python's small allocator serves; a few more would cost every turn a trip to malloc.
TURN: Final = 40
#: How long the wall clock is derived from the steady one before it is asked again.
CLOCKS_AGREE_SECONDS: Final = 0.02
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
        self.bell = Bell()
        self._bell_rang = False
        #: Set to make ``run`` return: the event loop has something to do.
        self.interrupted = False
        self._guest = -1
        self._guest_ready = False
        self._on_accept = on_accept
        self._on_close = on_close
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._epoll.register(self.bell.fileno(), IN)
        self._wall_ahead = 0.0
        self._compare_clocks_at = 0.0
        self._monotonic = steady
        self._real_time = time.monotonic
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
        session.connection.hang_up()
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
        self.bell.close()

    def watch_guest(self, number: int) -> None:
        """Watch an event loop's own poller; ``run`` returns when something is ready there."""
        self._guest = number
        self._epoll.register(number, IN)

    @property
    def unsent(self) -> bool:
        """Somebody's answers are still on their way."""
        return any(session.connection.out for session in self.sessions.values())

    # ── turns ────────────────────────────────────────────────────────────────

    def run(self, timeout: float) -> bool:
        """Serve sockets until the event loop has something to do.

        Args:
            timeout: seconds until then at the latest; 0.0 for a look, -1.0 for no end.

        Returns:
            True when the guest's poller has something ready.
        """
        self._guest_ready = False
        broker = self.broker
        if timeout == 0.0:
            events = self._poll(0, TURN)
            if events:
                self.serve(events)
            self.interrupted = False
            return self._guest_ready
        end = self._real_time() + timeout if timeout > 0.0 else 0.0
        if timeout > 0.0:
            self.bell.ring_at(end)
        while True:
            due = broker.next_deadline()
            if due >= 0.0:
                self.bell.ring_at(self._real_time() + due)
            # Without a timeout: a timer set and taken back at every turn costs the
            # kernel more than a read. The bell is set once and left alone.
            events = self._poll(-1, TURN)
            self.serve(events)
            if self.interrupted or self._guest_ready:
                self.interrupted = False
                return self._guest_ready
            if self._bell_rang:
                self._bell_rang = False
                self.send()
                if timeout > 0.0:
                    if self._real_time() >= end:
                        return False
                    self.bell.ring_at(end)

    def turn(self) -> None:
        """Serve every socket that is ready now."""
        events = self._poll(0, TURN)
        if events:
            self.serve(events)

    def serve(self, events: list[tuple[int, int]]) -> None:
        """Serve these sockets: read all, then send all."""
        self.turns += 1
        self._let_time_pass()
        sessions = self.sessions
        others = False
        for number, mask in events:
            session = sessions.get(number)
            if session is None:
                others = True
                continue
            if mask == IN:
                session.read()
                if session.ended or session.lost:
                    self._settle(session)
            else:
                self._serve_rare(session, mask)
        self.send()
        if others:
            for number, _ in events:
                listener = self.listeners.get(number)
                if listener is not None:
                    self.interrupted = True
                    self._on_accept(listener)
                elif number == self._guest:
                    self._guest_ready = True
                elif number == self.bell.fileno():
                    self.bell.hush()
                    self._bell_rang = True

    def _serve_rare(self, session: Session, mask: int) -> None:
        if mask & select.EPOLLOUT:
            session.blocked = False
            session.flush()
            if not session.blocked:
                session.connection.resume()
        if session.ended or session.connection.held_back:
            # Nobody is left to read what still has to be said or done.
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                session.lost = True
        elif mask & (IN | select.EPOLLHUP | select.EPOLLERR):
            session.read()
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
        """After something unusual: close, or watch for other things."""
        connection = session.connection
        if session.ended and connection.number in self.broker.state.peers:
            # As the C server: a peer that stops talking is gone for the broker,
            # but answers it has already earned are still sent.
            self.broker.leave(connection)
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
        self._let_time_pass()
        self.send()

    def _let_time_pass(self) -> None:
        steady = self._monotonic()
        # Asking one clock a turn is enough: how far the other is ahead changes
        # only when somebody sets it.
        if steady >= self._compare_clocks_at:
            self._compare_clocks_at = steady + CLOCKS_AGREE_SECONDS
            self._wall_ahead = self._time() - steady
        self.broker.tick(steady + self._wall_ahead, steady)
