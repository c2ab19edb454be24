"""A session that speaks TLS, between two ends of a socket pair that takes little at a time."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme

from geartrain.broker.broker import Broker
from geartrain.broker.handles import HandleMaker
from geartrain.broker.state import Rules
from geartrain.frontends.gear import GearConnection
from geartrain.frontends.port import Bounds, House
from geartrain.server.session import Session
from geartrain.server.tls_session import OPEN, Door, TlsSession
from tests.conformance.wire import T, packet


class Pair:
    """A session, and the client at the other end."""

    def __init__(self) -> None:
        authority = trustme.CA()
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(served)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        here, self.there = socket.socketpair()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        here.setblocking(False)
        self.there.setblocking(False)
        self.broker = Broker(Rules(), HandleMaker(b"H:t:"))
        house = House(self.broker, Bounds())
        self.connection = GearConnection(here.fileno(), house, [])
        self.broker.join(self.connection)
        door = Door(served, 5.0, lambda: 0.0, _nothing, _nothing, lambda _session, _why: None)
        session = door.session(here, self.connection, [])
        assert isinstance(session, TlsSession)
        self.session = session
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.heard = b""
        self.said = b""
        self.shaken = False

    def step(self) -> bool:
        """What a turn does, at both ends; whether anything was sent to the client."""
        if not self.shaken:
            try:
                self.tls.do_handshake()
                self.shaken = True
            except ssl.SSLWantReadError:
                pass
        self.said += self._outgoing.read()
        if self.said:
            sent = self.there.send(self.said[:2000])
            self.said = self.said[sent:]
        self.session.read()
        self.session.blocked = False
        self.session.flush()
        try:
            came = self.there.recv(1500)
        except BlockingIOError:
            return False
        self._incoming.write(came)
        while self.shaken:
            try:
                self.heard += self.tls.read(65536)
            except ssl.SSLWantReadError:
                break
        return True

    def close(self) -> None:
        self.session.close()
        self.there.close()


def _nothing(_session: Session) -> None:
    pass


@pytest.fixture
def pair() -> Iterator[Pair]:
    one = Pair()
    while one.session.stage != OPEN or not one.shaken:
        one.step()
    while one.step():
        pass
    yield one
    one.close()


@pytest.mark.parametrize("size", [0, 1, 100, 20_000, 70_000, 262_132, 262_133, 600_000])
def test_what_the_kernel_takes_bit_by_bit_arrives_whole_and_is_forgotten(
    pair: Pair, size: int
) -> None:
    wanted = packet(T.ECHO_RES, bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    wanted = wanted.replace(b"\0REQ", b"\0RES", 1)

    pair.connection.say(wanted[:12])
    if size:
        pair.connection.say(wanted[12:])
    while pair.step():
        pass

    assert pair.heard == wanted
    assert pair.connection.out == []
    assert pair.connection.out_bytes == 0
    assert not pair.session.blocked
    assert not pair.session.lost


def test_what_is_said_while_the_kernel_takes_nothing_follows(pair: Pair) -> None:
    wanted = b""
    for number in range(300):
        said = packet(T.ECHO_RES, b"%d" % number * (number * 10), magic=b"\0RES")
        pair.connection.say(said)
        wanted += said
        pair.step()
    while pair.step():
        pass

    assert pair.heard == wanted
    assert pair.connection.out_bytes == 0


def test_answers_behind_one_that_is_still_to_come_wait_and_keep_their_order(pair: Pair) -> None:
    wanted = b""
    first = packet(T.ECHO_RES, b"first" * 4000, magic=b"\0RES")
    created = packet(T.JOB_CREATED, b"H:t:1", magic=b"\0RES")
    last = packet(T.ECHO_RES, b"last" * 4000, magic=b"\0RES")
    for _ in range(5):
        pair.connection.say(first)
        pair.step()
        ticket = pair.connection.promise()
        pair.connection.say(last)
        wanted += first
        while pair.step():
            pass
        assert pair.heard == wanted
        pair.connection.redeem(ticket, b"H:t:1")
        while pair.step():
            pass
        wanted += created + last
        assert pair.heard == wanted

    assert pair.connection.out_bytes == 0
