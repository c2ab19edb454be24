"""A client's job, as its printer and its log see it."""

from __future__ import annotations


class Task:
    """One job, from its record to its end.

    Attributes:
        number: of its record.
        sends: times it has been submitted.
        started: instant of the last submission.
        received: bytes of result so far.
    """

    __slots__ = (
        "function", "handle", "number", "received", "sends", "started", "unique", "workload",
    )  # fmt: skip

    def __init__(self, number: int, function: bytes, unique: bytes, workload: bytes) -> None:
        self.number = number
        self.function = function
        self.unique = unique
        self.workload = workload
        self.handle = b""
        self.sends = 0
        self.started = 0.0
        self.received = 0
