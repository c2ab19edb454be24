"""JobStatus: what a server says about a job."""

from __future__ import annotations

from dataclasses import dataclass

from geartrain.client.handle import Handle


@dataclass(frozen=True, slots=True)
class JobStatus:
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

    handle: Handle | None
    known: bool
    running: bool
    numerator: int = 0
    denominator: int = 0
    waiting: int | None = None

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1 as a rule; None where nothing is known."""
        return self.numerator / self.denominator if self.denominator else None
