"""What an ``Engine`` has with one server, and what it asks there that is no job."""

from __future__ import annotations

from typing import Any

from geartrain.client.connection import ClientConnection
from geartrain.client.events import Event
from geartrain.client.task import BaseTask
from geartrain.transport.address import Address
from geartrain.transport.sync import Stream


class Question:
    """A request that is no job, and its one answer."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Event | None = None

    def done(self) -> bool:
        """Whether the answer is there."""
        return self.answer is not None


class Channel:
    """The conversation with one server."""

    __slots__ = ("address", "connection", "requests", "stream", "used_at")

    def __init__(self, address: Address, connection: ClientConnection, stream: Stream) -> None:
        self.address = address
        self.connection = connection
        self.stream = stream
        #: ``{request: who asked}``, until its last event.
        self.requests: dict[int, BaseTask[Any] | Question] = {}
        self.used_at = 0.0
