"""Packets -> bytes.

A packet is a twelve-byte header and a body; the body is the arguments joined
by NUL. Headers for small bodies come from a table, because making one with
``struct`` costs more than everything else a reply needs.

Source: protocol reference, section 1.1.
"""

from __future__ import annotations

import struct
from typing import Final

REQUEST: Final = b"\0REQ"
RESPONSE: Final = b"\0RES"
HEADER_BYTES: Final = 12

_pack_header = struct.Struct(">4sII").pack


class Headers:
    """Ready-made headers of one packet type, by size of the body.

    ``small[n]`` is the header for a body of ``n`` bytes, for ``n`` below
    ``SMALL``; ``of(n)`` is the header for any size.
    """

    SMALL: Final = 512

    def __init__(self, magic: bytes, number: int) -> None:
        self.magic = magic
        self.number = number
        self.small: list[bytes] = [_pack_header(magic, number, n) for n in range(512)]

    def of(self, size: int) -> bytes:
        """The header for a body of ``size`` bytes."""
        if size < 512:
            return self.small[size]
        return _pack_header(self.magic, self.number, size)


def encode(magic: bytes, number: int, *arguments: bytes) -> bytes:
    """One whole packet.

    Args:
        magic: ``REQUEST`` towards a server, ``RESPONSE`` from one.
        number: the packet type.
        arguments: in wire order; only the last one may hold NUL bytes, which
            is not checked here.
    """
    body = b"\0".join(arguments)
    return _pack_header(magic, number, len(body)) + body


def encode_request(number: int, *arguments: bytes) -> bytes:
    """One whole packet towards a server."""
    return encode(REQUEST, number, *arguments)


def encode_response(number: int, *arguments: bytes) -> bytes:
    """One whole packet from a server."""
    return encode(RESPONSE, number, *arguments)
