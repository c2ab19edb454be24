"""What a front-end may ask of the house it stands in, and the bounds it keeps.

A front-end holds no socket. It has the broker, these facts about the server, and
a list of connections that have something to send, which the server empties once
a turn.
"""

from __future__ import annotations

from geartrain._native import mypyc_attr
from geartrain.broker.broker import Broker


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
