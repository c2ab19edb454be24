"""A socket and the connection that speaks through it.

A session reads once when its socket is ready and writes once when a turn is over;
what to say is its connection's business. When the kernel takes no more, it waits
until there is room, and stops reading from a peer that does not read.

Large answers go out with ``sendmsg`` from where they lie; small ones are joined,
because one copy is cheaper than many vectors.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Final

from geartrain.frontends.gear import GearConnection

#: What a read asks for at first. Room is allocated before it is known how much comes, and
#: with the object's own 33 bytes this still is what Python's small allocator serves.
#: A connection that fills it is given four times as much from then on.
READ_BYTES: Final = 448
MOST_READ_BYTES: Final = 64 * 1024
#: ... and for a connection that is in the middle of a large packet.
LARGE_READ_BYTES: Final = 512 * 1024
#: Up to here the answers of a turn are joined before they are sent.
JOIN_BYTES: Final = 128 * 1024
#: Most parts in one sendmsg (Linux takes 1,024).
VECTOR_PARTS: Final = 512

IN: Final = 1
OUT: Final = 4
assert select.EPOLLIN == IN
assert select.EPOLLOUT == OUT


class Session:
    """One accepted socket.

    Attributes:
        interest: what the poller watches for.
        blocked: the kernel took no more; the rest goes when there is room.
        ended: the peer has said all it had to say (EOF).
        lost: the socket is of no further use.
        since: when it last got a step further (steady seconds), for time limits.
        held: bytes of an unfinished packet when it got there.
        spoke: something whole has come in, and been noticed.
        tolerated: up to here, what waits was found not to be too much.
    """

    def __init__(self, sock: socket.socket, connection: GearConnection, since: float) -> None:
        self.socket = sock
        self.number = connection.number
        self.connection = connection
        self.interest = IN
        self.blocked = False
        self.ended = False
        self.lost = False
        self.since = since
        self.held = 0
        self.spoke = False
        self.tolerated = 0
        self._sent_of_first = 0
        self._read_bytes = READ_BYTES
        # os.read and os.write on the descriptor parse their arguments faster
        # than the socket's methods; bound once, a call costs no look-up.
        self._read = os.read
        self._write = os.write

    def read(self) -> None:
        """Take what has arrived, once."""
        connection = self.connection
        size = self._read_bytes
        wanted = connection.reader.wanted
        if wanted > size:
            size = min(LARGE_READ_BYTES, wanted)
        try:
            data = self._read(self.number, size)
        except BlockingIOError:
            return
        except OSError:
            self.lost = True
            return
        if not data:
            self.ended = True
            return
        if len(data) >= size and size < MOST_READ_BYTES:
            self._read_bytes = size * 4
        connection.receive_data(data)

    def flush(self) -> None:
        """Send what the connection has written down, as far as the kernel takes it."""
        connection = self.connection
        if self.blocked or self.lost:
            return
        if connection.out:
            if connection.owes():
                self._send_to_hole()
            else:
                self._send()

    def _send(self) -> None:
        """There is something to send, and nothing in the way."""
        connection = self.connection
        out = connection.out
        size = connection.out_bytes
        if size > JOIN_BYTES or self._sent_of_first:
            self._flush_vectors()
            return
        data = b"".join(out) if len(out) > 1 else out[0]
        try:
            sent = self._write(self.number, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lost = True
            return
        connection.out = []
        if sent == size:
            connection.out_bytes = 0
            return
        connection.out.append(data[sent:])
        connection.out_bytes = size - sent
        self.blocked = True

    def _send_to_hole(self) -> None:
        """Send what does not wait for an answer that is still to come."""
        connection = self.connection
        sendable = connection.take_sendable()
        if not sendable:
            return
        rest, whole = connection.out, connection.out_bytes
        size = 0
        for part in sendable:
            size += len(part)
        size -= self._sent_of_first
        connection.out = sendable
        connection.out_bytes = size
        self._send()
        unsent = connection.out
        connection.out = rest
        connection.out_bytes += whole - size
        connection.put_back(unsent)

    def _flush_vectors(self) -> None:
        connection = self.connection
        out = connection.out
        while out:
            parts: list[bytes | memoryview] = list(out[:VECTOR_PARTS])
            if self._sent_of_first:
                parts[0] = memoryview(out[0])[self._sent_of_first :]
            try:
                sent = self.socket.sendmsg(parts)
            except BlockingIOError:
                self.blocked = True
                return
            except OSError:
                self.lost = True
                return
            connection.out_bytes -= sent
            done = 0
            left = sent + self._sent_of_first
            while done < len(out) and left >= len(out[done]):
                left -= len(out[done])
                done += 1
            del out[:done]
            self._sent_of_first = left
        self._sent_of_first = 0
        connection.out_bytes = 0

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def wants(self) -> int:
        """What the poller should watch for now."""
        # A connection that is held back goes on when it can be written to: in
        # the next turn, so that a long answer does not keep the others waiting.
        # One that waits for the store goes on when that has answered.
        connection = self.connection
        waits = connection.owes() or connection.throttled
        interest = OUT if self.blocked or (connection.held_back and not waits) else 0
        if not self.ended and not self.connection.held_back and not self.connection.closing:
            interest |= IN
        return interest

    @property
    def finished(self) -> bool:
        """Nothing more will come of this session: close it."""
        if self.lost:
            return True
        return (self.ended or self.connection.closing) and not self.connection.out
