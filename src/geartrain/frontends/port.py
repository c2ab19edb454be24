"""What a front-end may ask of the house it stands in, and the bounds it keeps.

A front-end holds no socket. It has the broker, these facts about the server, and
a list of connections that have something to send, which the server empties once
a turn.
"""

from __future__ import annotations

from typing import Final

from geartrain._native import mypyc_attr
from geartrain.broker.broker import Broker
from geartrain.broker.tables import Peer


class Bounds:
    """Bounds that keep one peer from hurting the others.

    Attributes:
        max_packet_bytes: largest body of a packet.
        max_line_bytes: longest line of the admin text protocol.
        pause_output_bytes: with more than this waiting to be sent, a peer is
            answered no further and not read.
    """

    def __init__(self) -> None:
        self.max_packet_bytes = 256 * 2**20
        self.max_line_bytes = 8192
        self.pause_output_bytes = 1 * 2**20


#: Before a question was put in the place of its answer.
_NOBODY: Final = Peer(-1)


class Question:
    """What was asked over a connection and memory alone cannot answer: the store has to be asked.

    A front-end makes one, with what it is called and its arguments, and hands it to its
    connection (``GearConnection.inquire``), which leaves room for the answer and gives it
    to ``House.ask``. The server (``server/desk.py``) answers when it can, by ``answer``,
    in bytes of the connection's language. No task and no future is made on the way, and
    answers stay in the order of what was asked. A peer that has gone need not be answered.

    * An ordinary question is answered once. Meanwhile the connection goes on reading:
      what it answers to that waits behind.
    * A ``paged`` one is answered piece by piece. With ``answer(piece, more=True)`` the same
      question is asked again when the piece has been taken off the connection's hands, so
      a list of any length never lies in memory; ``cursor`` is the answerer's, to know how
      far it is. Nothing else is read from this connection until ``more`` is False.

    Attributes:
        verb: what is asked, such as ``dead list``.
        words: the arguments.
        paged: the answer may come in pieces.
        cursor, notes: the answerer's own.
        peer: who asked.
        ticket: the place of the answer.
    """

    def __init__(self, verb: bytes, words: list[bytes], paged: bool = False) -> None:
        self.verb = verb
        self.words = words
        self.paged = paged
        self.cursor = 0
        self.notes: object = None
        self.peer = _NOBODY
        self.ticket = 0

    def answer(self, data: bytes, more: bool = False) -> None:
        """Say this, in the place where it was asked."""
        self.peer.answered(self.ticket, data, more)


@mypyc_attr(allow_interpreted_subclasses=True)
class House:
    """The server, as far as a front-end may know it.

    Attributes:
        version: answer to ``version``.
        pid: answer to ``getpid``.
        verbosity: answer to ``verbose``.
        may_shut_down: whether the admin protocol's ``shutdown`` is enabled.
    """

    def __init__(self, broker: Broker, bounds: Bounds) -> None:
        self.broker = broker
        self.bounds = bounds
        self.version = "1.1.99"
        self.pid = 0
        self.verbosity = "ERROR"
        self.may_shut_down = False

    def shut_down(self, graceful: bool) -> None:
        """Somebody who may asked for an end."""
        raise NotImplementedError

    def turn_away(self, peer: Peer, text: str) -> None:
        """A peer speaks another language, and is closed: people should know."""
        raise NotImplementedError

    def ask(self, question: Question) -> None:
        """Somebody wants to know what only the store can say: answer it, now or later."""
        raise NotImplementedError
