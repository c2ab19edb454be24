"""Just enough of the Gearman protocol to do by hand what gearload does not do."""

from __future__ import annotations

import socket
import struct
from typing import Final

CAN_DO: Final = 1
PRE_SLEEP: Final = 4
NOOP: Final = 6
JOB_CREATED: Final = 8
GRAB_JOB: Final = 9
JOB_ASSIGN: Final = 11
WORK_COMPLETE: Final = 13
ECHO_REQ: Final = 16
ECHO_RES: Final = 17
SUBMIT_JOB_BG: Final = 18

HEAD: Final = struct.Struct(">4sII")


def request(command: int, *arguments: bytes) -> bytes:
    """One packet for a server."""
    body = b"\0".join(arguments)
    return HEAD.pack(b"\0REQ", command, len(body)) + body


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """The next packet from a server."""
    _, command, length = HEAD.unpack(_exactly(connection, HEAD.size))
    return command, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            raise ConnectionError("the server closed the connection")
        got += more
    return bytes(got)
