"""What a connection has to say, in the order in which it goes out.

A list of byte strings that the server joins and sends once a turn. An answer that is
not known yet has its place in the list, a hole; what stands behind a hole waits, so
that answers come in the order of what was asked.
"""

from __future__ import annotations

from typing import Any, Final

from geartrain.broker.tables import Peer
from geartrain.protocol import commands as c
from geartrain.protocol.packets import encode_response

#: Stands in ``out`` where an answer is to come; known by its identity.
_HOLE: Final = b"an answer is to come here"
#: What a hole counts for in ``out_bytes``, so that a peer cannot make any number of them.
HOLE_BYTES: Final = 256


class Outbox(Peer):
    """A peer, and what waits to be sent to it.

    Args:
        number: the peer's number, such as its file descriptor.
        touched: where it puts itself when it first has something to send; emptied by
            the server after each turn.

    Attributes:
        out: what is to be sent, oldest first.
        out_bytes: how much that is.
        holes: places in ``out``, counted from ``sent_before`` on, whose answers are
            not known yet; what stands behind the first of them waits for it. Those at the
            front may have been filled since ``owes`` was asked last.
        sent_before: entries of ``out`` that were sent since ``holes`` was empty.
    """

    def __init__(self, number: int, touched: list[Any]) -> None:
        super().__init__(number)
        self.out: list[bytes] = []
        self.out_bytes = 0
        self.holes: list[int] = []
        self.sent_before = 0
        #: Some were filled since.
        self._filled = False
        self._touched = touched

    def forget_all(self) -> None:
        """Nobody is there to hear it."""
        self.out = []
        self.out_bytes = 0
        self.holes = []

    def say(self, packet: bytes) -> None:
        """Write down one packet."""
        out = self.out
        if not out:
            self._touched.append(self)
        out.append(packet)
        self.out_bytes += len(packet)

    def say2(self, header: bytes, body: bytes) -> None:
        """Write down one packet in two parts."""
        out = self.out
        if not out:
            self._touched.append(self)
        out.append(header)
        out.append(body)
        self.out_bytes += 12 + len(body)

    def error(self, code: bytes, text: bytes) -> None:
        """ERROR."""
        self.say(encode_response(c.ERROR, code, text))

    # ── places for answers ───────────────────────────────────────────────────

    def promise(self) -> int:
        """Leave room for an answer; what is said from now on waits for it."""
        out = self.out
        if not self.holes:
            self.sent_before = 0
        ticket = self.sent_before + len(out)
        self.holes.append(ticket)
        out.append(_HOLE)
        self.out_bytes += HOLE_BYTES
        return ticket

    def fill(self, ticket: int, packet: bytes) -> None:
        """Put the answer into the place that was left for it."""
        if not self.holes:
            return  # it has hung up
        out = self.out
        out[ticket - self.sent_before] = packet
        self.out_bytes += len(packet) - HOLE_BYTES
        # Many may be filled before anything is sent: that is looked at once.
        if not self._filled:
            self._filled = True
            self._touched.append(self)

    def owes(self) -> bool:
        """An answer is still to come, and something may stand behind it."""
        if self._filled:
            self._filled = False
            holes, out, before = self.holes, self.out, self.sent_before
            done = 0
            while done < len(holes) and out[holes[done] - before] is not _HOLE:
                done += 1
            del holes[:done]
        return len(self.holes) > 0

    def take_sendable(self) -> list[bytes]:
        """Out of ``out``: what stands before the first hole. Ask ``owes`` before."""
        ready = self.holes[0] - self.sent_before
        sendable = self.out[:ready]
        del self.out[:ready]
        self.sent_before += ready
        return sendable

    def put_back(self, unsent: list[bytes]) -> None:
        """Into ``out``, in front: what the kernel did not take."""
        self.out[:0] = unsent
        self.sent_before -= len(unsent)
