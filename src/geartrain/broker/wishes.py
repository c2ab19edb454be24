"""What the broker wishes of the store, and who waits for its answer.

Wishes are gathered in ``State``; whoever talks to the store takes them from there and
answers with a call of the broker, a ``Gift`` and a ``Postponement`` excepted: those are
told to the store, and no answer is needed.
"""

from __future__ import annotations

from geartrain.broker.tables import Job, Peer


class Claim:
    """A wish: so many jobs of a line, at most so many bytes of bodies together."""

    def __init__(self, function: bytes, priority: int, jobs: int, size: int) -> None:
        self.function = function
        self.priority = priority
        self.jobs = jobs
        self.size = size


class Ask:
    """A submission whose key may belong to a job that is only in the store."""

    def __init__(
        self,
        peer: Peer,
        ticket: int,
        function: bytes,
        unique: bytes,
        workload: bytes,
        priority: int,
        reducer: bytes,
    ) -> None:
        self.peer = peer
        self.ticket = ticket
        self.function = function
        self.unique = unique
        self.workload = workload
        self.priority = priority
        self.reducer = reducer


class Fetch:
    """A worker has a job whose workload is only in the store."""

    def __init__(self, peer: Peer, ticket: int, job: Job) -> None:
        self.peer = peer
        self.ticket = ticket
        self.job = job
        self.attempts = job.attempts


class Grabber:
    """A worker that has asked for a job while one was on its way from the store."""

    def __init__(self, peer: Peer, ticket: int, due: float) -> None:
        self.peer = peer
        self.ticket = ticket
        self.due = due


class Gift:
    """A stored job that any server may have from now on.

    Attributes:
        attempts: so far.
    """

    def __init__(self, handle: bytes, attempts: int) -> None:
        self.handle = handle
        self.attempts = attempts


class Postponement:
    """A stored job that is not to be done before a time.

    Attributes:
        until: seconds since 1970.
        attempts: so far.
    """

    def __init__(self, handle: bytes, until: float, attempts: int) -> None:
        self.handle = handle
        self.until = until
        self.attempts = attempts
