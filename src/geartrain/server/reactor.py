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
from geartrain.server.bell import Bell
from geartrain.server.session import IN, Session
from geartrain.server.tls_session import Door

#: Sockets read before answers are sent.
GRAIN: Final = 8
#: Most sockets served in a turn. Events of this many still fit into what Python's small
#: allocator serves; a few more would cost every turn a trip to malloc.
TURN: Final = 40
#: Rings of the bell that are so close together need not be two.
BELL_SLACK_SECONDS: Final = 0.001
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
        on_wishes: called when the broker wants something of the store, after the
            answers of that moment have been sent.
        on_surrenders: called when the broker has given jobs up.
        max_output_bytes: answers waiting for one peer at which it is disconnected, not
            counting the two largest parts of them: nobody is cut off for one large
            packet that takes its time, nor for one behind another.
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
        on_wishes: Callable[[], None] | None = None,
        on_surrenders: Callable[[], None] | None = None,
    ) -> None:
        self.house = house
        self.broker: Broker = house.broker
        self.touched: list[GearConnection] = []
        self.sessions: dict[int, Session] = {}
        #: The same by descriptor, which is a small number: a list finds it faster.
        self._seats: list[Session | None] = [None] * 1024
        self.listeners: dict[int, socket.socket] = {}
        self.max_output_bytes = max_output_bytes
        self.turns = 0
        #: How many times any peer was listened to.
        self.heard = 0
        self.bell = Bell()
        #: When it rings; 0.0 while it is not set.
        self._bell_at = 0.0
        #: Set to make ``run`` return: the event loop has something to do.
        self.interrupted = False
        self._guest = -1
        self._guest_ready = False
        self._calls = -1
        self._on_calls: Callable[[], None] | None = None
        self._on_accept = on_accept
        self._on_close = on_close
        self._on_wishes = on_wishes
        self._on_surrenders = on_surrenders
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._bell_number = self.bell.fileno()
        self._epoll.register(self._bell_number, IN)
        self._wall_ahead = 0.0
        self._compare_clocks_at = 0.0
        self._monotonic = steady
        self._time = wall

    def fileno(self) -> int:
        """What an event loop should watch for reading."""
        return self._epoll.fileno()

    # ── who is here ──────────────────────────────────────────────────────────

    def listen(self, sock: socket.socket) -> None:
        """Watch a listening socket."""
        self._seat(sock.fileno())
        self.listeners[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), IN)

    def unlisten(self, sock: socket.socket) -> None:
        """Stop watching a listening socket; it stays open."""
        if self.listeners.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def admit(self, sock: socket.socket, door: Door | None = None) -> Session:
        """Let an accepted, non-blocking socket in; through ``door`` if it is to speak TLS."""
        connection = GearConnection(sock.fileno(), self.house, self.touched)
        if door is not None:
            session = door.session(sock, connection, self.touched)
        else:
            session = Session(sock, connection, self._monotonic())
        self.sessions[session.number] = session
        self._seat(session.number)
        self._seats[session.number] = session
        self.broker.join(connection)
        self._epoll.register(session.number, IN)
        return session

    def _seat(self, number: int) -> None:
        """Make sure that there is a seat for a descriptor."""
        while len(self._seats) <= number:
            self._seats.extend([None] * len(self._seats))

    def dismiss(self, session: Session) -> None:
        """Close a session; what its connection held goes back to the broker."""
        if self.sessions.pop(session.number, None) is None:
            return
        self._seats[session.number] = None
        session.lost = True
        self._epoll.unregister(session.number)
        self.broker.leave(session.connection)
        session.connection.hang_up()
        session.close()
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
        self._seat(number)
        self._guest = number
        self._epoll.register(number, IN)

    def watch_calls(self, number: int, on_calls: Callable[[], None]) -> None:
        """Watch a descriptor by which other threads call; ``on_calls`` does what they want."""
        self._seat(number)
        self._calls = number
        self._on_calls = on_calls
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
        end = -1.0
        if timeout > 0.0:
            end = self._monotonic() + timeout
            self._ring_at(end)
        while True:
            due = broker.next_deadline()
            if due >= 0.0:
                self._ring_at(broker.state.steady + due)
            # Without a timeout: a timer set and taken back at every turn costs the
            # kernel more than a read. The bell is set once and left alone.
            self.serve(self._poll(-1, TURN))
            if self.interrupted or self._guest_ready:
                self.interrupted = False
                return self._guest_ready
            if end >= 0.0 and broker.state.steady >= end:
                return False
            if end >= 0.0 and self._bell_at == 0.0:
                self._ring_at(end)

    def _ring_at(self, when: float) -> None:
        """Have the bell rung at ``when``, on the steady clock, unless it rings earlier."""
        if self._bell_at == 0.0 or when < self._bell_at - BELL_SLACK_SECONDS:
            self._bell_at = when
            self.bell.ring_in(when - self._monotonic())

    def turn(self) -> None:
        """Serve every socket that is ready now."""
        events = self._poll(0, TURN)
        if events:
            self.serve(events)

    def serve(self, events: list[tuple[int, int]]) -> None:
        """Serve these sockets: read all, then send all."""
        self.turns += 1
        self._let_time_pass()
        seats = self._seats
        others = False
        count = 0
        for number, mask in events:
            session = seats[number]
            if session is None:
                others = True
                continue
            if mask == IN:
                session.read()
                if session.ended or session.lost:
                    self._settle(session)
            else:
                self._serve_rare(session, mask)
            count += 1
            self.heard += 1
            if count == GRAIN:
                count = 0
                self.send()
        self.send()
        if others:
            for number, _ in events:
                listener = self.listeners.get(number)
                if listener is not None:
                    self.interrupted = True
                    self._on_accept(listener)
                elif number == self._calls and self._on_calls is not None:
                    self._on_calls()
                    self.interrupted = True
                elif number == self._guest:
                    self._guest_ready = True
                elif number == self._bell_number:
                    self.bell.hush()
                    self._bell_at = 0.0
        if self.broker.state.wishes:
            self._wish()

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
        touched = self.touched
        at = 0
        # What is settled may touch others, which are then at the end of the list.
        while at < len(touched):
            connection = touched[at]
            at += 1
            session = self._seats[connection.number]
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
        if at:
            touched.clear()
        if self.broker.state.throttled:
            self._relieve()
        if self.broker.state.surrenders and self._on_surrenders is not None:
            self._on_surrenders()

    def _relieve(self) -> None:
        """Read again from those who submit, if there is room for more."""
        for peer in self.broker.relieved():
            session = self._seats[peer.number]
            if session is not None and session.connection is peer:
                session.connection.relieve()
                self._settle(session)

    def _wish(self) -> None:
        self.broker.state.wishes = False
        if self._on_wishes is not None:
            self.interrupted = True
            self._on_wishes()

    def attend(self, session: Session) -> None:
        """Something has happened to a session that no socket has told us of."""
        if session.number in self.sessions:
            self._settle(session)

    def _settle(self, session: Session) -> None:
        """After something unusual: close, or watch for other things."""
        connection = session.connection
        if session.ended and connection.number in self.broker.state.peers:
            # As the C server: a peer that stops talking is gone for the broker,
            # but answers it has already earned are still sent.
            self.broker.leave(connection)
        session.flush()
        if connection.out_bytes <= self.max_output_bytes:
            session.tolerated = 0
        elif self._is_too_much(session):
            session.lost = True
        if session.finished:
            self.dismiss(session)
            return
        wants = session.wants()
        if wants != session.interest:
            session.interest = wants
            self._epoll.modify(session.number, wants)

    def _is_too_much(self, session: Session) -> bool:
        """Whether more waits for this peer than may, the two largest parts left aside."""
        connection = session.connection
        waiting = connection.out_bytes
        # What was looked through once is looked through again only when so much has come
        # since that it could matter, or a flood of small parts would be counted for each.
        if waiting < session.tolerated:
            return False
        rest = first = second = 0
        for part in connection.out:
            size = len(part)
            rest += size
            if size > first:
                first, second = size, first
            elif size > second:
                second = size
        rest -= first + second
        if rest > self.max_output_bytes:
            return True
        session.tolerated = waiting + max(self.max_output_bytes - rest, self.max_output_bytes >> 4)
        return False

    def tick(self) -> None:
        """Let time pass without a socket being ready."""
        self._let_time_pass()
        self.send()
        if self.broker.state.wishes:
            self._wish()

    def _let_time_pass(self) -> None:
        steady = self._monotonic()
        # Asking one clock a turn is enough: how far the other is ahead changes
        # only when somebody sets it.
        if steady >= self._compare_clocks_at:
            self._compare_clocks_at = steady + CLOCKS_AGREE_SECONDS
            self._wall_ahead = self._time() - steady
        self.broker.tick(steady + self._wall_ahead, steady)
