"""JobStatus: what a server says about a job."""

from __future__ import annotations

from typing import ClassVar, Final

from geartrain.client.events import StatusReply
from geartrain.client.handle import Handle
from geartrain.values import Value


class JobStatus(Value):
    """A job as its server sees it now.

    A finished job and one that never was look alike: no server keeps results.

    Attributes:
        handle: the job, where it was asked for by handle.
        known: queued or running.
        running: a worker has it.
        numerator: progress, as the worker last said.
        denominator: ... of so many; 0 before the worker has said anything.
        waiting: clients attached, where it was asked for by unique key.
    """

    __slots__ = ("denominator", "handle", "known", "numerator", "running", "waiting")
    __match_args__: ClassVar = (
        "handle",
        "known",
        "running",
        "numerator",
        "denominator",
        "waiting",
    )

    def __init__(
        self,
        handle: Handle | None,
        known: bool,
        running: bool,
        numerator: int = 0,
        denominator: int = 0,
        waiting: int | None = None,
    ) -> None:
        self.handle: Final = handle
        self.known: Final = known
        self.running: Final = running
        self.numerator: Final = numerator
        self.denominator: Final = denominator
        self.waiting: Final = waiting

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1 as a rule; None where nothing is known."""
        return self.numerator / self.denominator if self.denominator else None


def status_of(handle: Handle | None, reply: StatusReply) -> JobStatus:
    """What a server has said, of this job."""
    return JobStatus(
        handle, reply.known, reply.running, reply.numerator, reply.denominator, reply.waiting
    )
