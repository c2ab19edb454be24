"""A byte stream -> whole packets and whole text lines, however the network cut it.

``feed`` takes what arrived; ``next`` steps to the next whole thing and says what
it is; ``number`` and ``body`` (or ``line``) hold it until the next step. Nothing
is allocated per packet but its body.

Small things are carried over by joining the rest with the next bytes. A large
body is gathered in a ``BytesIO``, which grows with what was received (never with
what was announced) and gives up its bytes without another copy.

The first byte of a message decides its kind: NUL begins a packet, anything else a
text line (protocol reference, 1.1). Both may be mixed on one connection. TLS, which begins
like neither, is told by its first two bytes.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from geartrain._native import i64
from geartrain.errors import TLS_STARTS, BadMagic, LineTooLong, PacketTooLarge

#: What ``PacketReader.next`` found.
NOTHING: Final = 0
PACKET: Final = 1
LINE: Final = 2
#: A whole packet under the other side's magic: wrong, but the stream is intact.
WRONG_MAGIC: Final = 3

#: Bodies at least this large are gathered instead of joined.
LARGE_BODY: Final = 32 * 1024

_LETTER_Q: Final = 0x51
_LETTER_S: Final = 0x53


class PacketReader:
    """Cuts a byte stream into packets and lines.

    Args:
        serving: True on a server (packets must begin with ``\\0REQ``), False on
            a client or worker (``\\0RES``).
        max_packet_bytes: largest body accepted, header not counted.
        max_line_bytes: longest text line accepted, newline counted.

    Attributes:
        number: type of the packet that ``next`` found, from 0 to 2**32 - 1.
        body: body of that packet.
        line: the line that ``next`` found, without its newline.
    """

    def __init__(
        self, serving: bool, max_packet_bytes: int = 256 * 2**20, max_line_bytes: int = 8192
    ) -> None:
        self.number = 0
        self.body = b""
        self.line = b""
        self._last_letter = _LETTER_Q if serving else _LETTER_S
        self._other_letter = _LETTER_S if serving else _LETTER_Q
        self._max_packet_bytes = max_packet_bytes
        self._max_line_bytes = max_line_bytes
        self._data = b""
        self._at = 0
        self._gathered: BytesIO | None = None
        self._missing = 0
        self._kind_of_large = PACKET

    def feed(self, data: bytes) -> None:
        """Take the bytes that arrived. Call ``next`` until it finds nothing before the next feed."""
        gathered = self._gathered
        if gathered is not None:
            size = len(data)
            if size <= self._missing:
                gathered.write(data)
                self._missing -= size
                return
            gathered.write(data[: self._missing])
            # What is there already came after a body that nobody has taken yet.
            self._data += data[self._missing :]
            self._missing = 0
        elif self._at < len(self._data):
            self._data = self._data[self._at :] + data
            self._at = 0
        else:
            self._data = data
            self._at = 0

    def next(self) -> int:
        """Step to the next whole packet or line.

        Returns:
            ``NOTHING`` when more bytes are needed, ``PACKET``, ``WRONG_MAGIC``
            (``number`` and ``body`` are set) or ``LINE`` (``line`` is set).

        Raises:
            BadMagic: the stream is lost.
            PacketTooLarge: refused on the header alone.
            LineTooLong: no newline within the limit.

        After an error the reader is of no further use: close the connection.
        """
        if self._gathered is not None:
            if self._missing:
                return NOTHING
            self.body = self._gathered.getvalue()
            self._gathered = None
            return self._kind_of_large
        data = self._data
        at: i64 = self._at
        have: i64 = len(data) - at
        if have <= 0:
            # Do not keep the last read alive on a connection that falls idle.
            self._data = b""
            self._at = 0
            return NOTHING
        if data[at] != 0:
            return self._next_line(data, at)
        if have < 12:
            self._check_start(data[at:])
            return NOTHING
        kind = PACKET
        last = data[at + 3]
        if last != self._last_letter or data[at + 1] != 0x52 or data[at + 2] != 0x45:
            self._check_start(data[at : at + 4])
            kind = WRONG_MAGIC
        # Byte by byte into machine integers: a call to struct costs more.
        b0: i64 = data[at + 4]
        b1: i64 = data[at + 5]
        b2: i64 = data[at + 6]
        b3: i64 = data[at + 7]
        self.number = b0 << 24 | b1 << 16 | b2 << 8 | b3
        b0 = data[at + 8]
        b1 = data[at + 9]
        b2 = data[at + 10]
        b3 = data[at + 11]
        size = b0 << 24 | b1 << 16 | b2 << 8 | b3
        if size > self._max_packet_bytes:
            # Refused on the header alone: waiting for the body would let any
            # peer pin that much of our memory.
            raise PacketTooLarge(self.number, size, self._max_packet_bytes)
        if have - 12 >= size:
            end = at + 12 + size
            self.body = data[at + 12 : end]
            self._at = end
            return kind
        if size >= LARGE_BODY:
            gathered = BytesIO()
            gathered.write(data[at + 12 :])
            self._gathered = gathered
            self._missing = size - (have - 12)
            self._kind_of_large = kind
            self._data = b""
            self._at = 0
        return NOTHING

    def _next_line(self, data: bytes, at: i64) -> int:
        if data[at] < 0x20 and data.startswith(TLS_STARTS, at):
            # No line will ever end in there, or a piece of noise would be taken for one.
            raise BadMagic(data[at : at + 3])
        end = data.find(b"\n", at)
        if end < 0:
            if len(data) - at >= self._max_line_bytes:
                raise LineTooLong(self._max_line_bytes)
            return NOTHING
        if end - at >= self._max_line_bytes:
            raise LineTooLong(self._max_line_bytes)
        self._at = end + 1
        if end > at and data[end - 1] == 13:
            end -= 1
        self.line = data[at:end]
        return LINE

    def _check_start(self, start: bytes) -> None:
        """Tell a wrong beginning from a short one, so that a lost stream is closed at once."""
        magic = start[:4]
        if not (b"\0REQ".startswith(magic) or b"\0RES".startswith(magic)):
            raise BadMagic(magic)

    @property
    def held(self) -> int:
        """Bytes received that are not yet a whole packet or line."""
        if self._gathered is not None:
            return self._gathered.tell()
        return len(self._data) - self._at

    @property
    def wanted(self) -> int:
        """Bytes of a large body still to come; 0 when nothing large is on the way."""
        return self._missing
