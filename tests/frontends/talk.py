"""Connections that speak Gearman in bytes, to a broker, without a socket between."""

from __future__ import annotations

import struct
from typing import Any

from geartrain.broker.broker import Broker
from geartrain.broker.handles import HandleMaker
from geartrain.broker.invariants import check
from geartrain.broker.state import Rules
from geartrain.broker.tables import Peer
from geartrain.frontends.gear import GearConnection
from geartrain.frontends.port import Bounds, House, Question

#: A packet as (type, arguments ...), or a text line with its end.
Heard = tuple[int | bytes, ...] | bytes

REQUEST = b"\0REQ"


def packet(number: int, *arguments: bytes, magic: bytes = REQUEST) -> bytes:
    """A packet as it goes over the wire."""
    body = b"\0".join(arguments)
    return struct.pack(">4sII", magic, number, len(body)) + body


class TalkHouse(House):
    """A house that only notes what it is asked."""

    asked: bool | None = None

    def __init__(self, broker: Broker, bounds: Bounds) -> None:
        super().__init__(broker, bounds)
        self.questions: list[Question] = []
        self.turned_away: list[tuple[Peer, str]] = []

    def ask(self, question: Question) -> None:
        self.questions.append(question)

    def turn_away(self, peer: Peer, text: str) -> None:
        self.turned_away.append((peer, text))

    def shut_down(self, graceful: bool) -> None:
        self.asked = graceful


class Talk:
    """A broker, and connections to it.

    Args:
        bounds: bounds of the connections.
        rules: attributes of ``Rules`` (``job_retries=2``).
    """

    def __init__(self, bounds: Bounds | None = None, **rules: Any) -> None:
        chosen = Rules()
        for name, value in rules.items():
            assert hasattr(chosen, name), name
            setattr(chosen, name, value)
        self.broker = Broker(chosen, HandleMaker(b"H:t:"))
        self.house = TalkHouse(self.broker, bounds or Bounds())
        self.touched: list[GearConnection] = []
        self.now = 1_700_000_000.0
        self.checked = True
        self._numbers = 10
        self.broker.tick(self.now, self.now)

    def join(self) -> Line:
        """One more connection."""
        self._numbers += 1
        connection = GearConnection(self._numbers, self.house, self.touched)
        self.broker.join(connection)
        return Line(self, connection)

    def worker(self, *names: bytes, number: int = 1) -> Line:
        """A connection that can do these functions."""
        line = self.join()
        for name in names:
            line.send(number, name)
        return line

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.broker.tick(self.now, self.now)
        self.end_turn()

    def end_turn(self) -> None:
        """What a server does after each turn, and a look at the tables."""
        self.broker.end_turn()
        if self.checked:
            check(self.broker.state)


class Line:
    """One connection."""

    def __init__(self, talk: Talk, connection: GearConnection) -> None:
        self.talk = talk
        self.connection = connection

    def say(self, data: bytes) -> None:
        """Bytes arrive."""
        self.connection.receive_data(data)
        self.talk.end_turn()

    def send(self, number: int, *arguments: bytes) -> None:
        """A packet arrives."""
        self.say(packet(number, *arguments))

    def leave(self) -> None:
        """The connection is lost."""
        self.talk.broker.leave(self.connection)
        self.talk.end_turn()

    def take(self) -> bytes:
        """All that would have been sent; the counters must agree with it."""
        connection = self.connection
        data = b"".join(connection.out)
        assert connection.out_bytes == len(data)
        assert not data or connection in self.talk.touched
        self.talk.touched[:] = [one for one in self.talk.touched if one is not connection]
        connection.out.clear()
        connection.out_bytes = 0
        return data

    def heard(self) -> list[Heard]:
        """What was answered since the last look: packets by type and body, lines as they are."""
        data = self.take()
        found: list[Heard] = []
        while data:
            if data[0]:
                line, end, data = data.partition(b"\n")
                found.append(line + end)
                continue
            magic, number, size = struct.unpack(">4sII", data[:12])
            assert magic == b"\0RES"
            found.append((number, data[12 : 12 + size]))
            data = data[12 + size :]
        return found

    def only(self) -> tuple[int, bytes]:
        """The one packet that was answered."""
        [one] = self.heard()
        assert isinstance(one, tuple)
        number, body = one
        assert isinstance(number, int)
        assert isinstance(body, bytes)
        return number, body

    def error(self) -> bytes:
        """The code of the one ERROR that was answered; its text must fit for people."""
        number, body = self.only()
        assert number == 19
        code, _, text = body.partition(b"\0")
        assert code.replace(b"_", b"").isupper()
        assert 0 < len(text) < 2048
        assert text.isascii()
        assert text.decode().isprintable()
        return code

    def submit(self, name: bytes = b"f", unique: bytes = b"", workload: bytes = b"w", *, number: int = 7) -> bytes:  # fmt: skip
        """Submit a job; its handle."""
        self.send(number, name, unique, workload)
        kind, handle = self.only()
        assert kind == 8
        return handle

    def grab(self, number: int = 9) -> list[bytes]:
        """Grab a job that must be there; the assignment's arguments."""
        self.send(number)
        kind, body = self.only()
        parts = {11: 2, 31: 3, 40: 4}
        return body.split(b"\0", parts[kind])
