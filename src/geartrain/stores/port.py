"""The store port: what the job server asks of whatever keeps its jobs.

A row is one background job. It is in one of three places:

* **mine**: held by one server, in its memory's queue or at one of its workers;
* **pool**: ready to run and held by nobody; any server may claim it;
* **delayed**: not to run before a time; ``due`` moves it to the pool.

Everything a store does for many servers follows from that: a server that dies
has its rows moved back to the pool, a server with idle workers claims from it,
and a backlog longer than memory stays in it.

Who holds what is fenced by a *lease*: a number that is never used twice. Each
write checks it inside its own transaction, so a server that was presumed dead
cannot write any more; and each ``heartbeat`` says until when the server may
hand out jobs, on its own steady clock.

What is made for each job is in ``records``; this file names all of it.

To write a store, derive nothing: match ``QueueStore``, run
``geartrain.testing.store_contract.StoreContract`` against it, and register it
as an entry point ``geartrain.stores`` under its URL scheme.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Final, Literal, NamedTuple, NewType, Protocol

from geartrain.errors import ConfigurationError, GearmanError
from geartrain.stores.records import (
    NO_HEADERS,
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
)

__all__ = [
    "FIRST",
    "NO_HEADERS",
    "Add",
    "AddResult",
    "Added",
    "Ambiguous",
    "Committed",
    "Count",
    "DeadJob",
    "DeadSet",
    "Due",
    "Ending",
    "Give",
    "JobFacts",
    "JobId",
    "Lease",
    "LeaseId",
    "LeaseLost",
    "Placement",
    "QueueKey",
    "QueueStore",
    "Renewed",
    "Room",
    "StoreDown",
    "StoreError",
    "StoreRefused",
    "StoredJob",
    "Traits",
    "Where",
]

#: The fencing token: no two openings of a store have the same.
LeaseId = NewType("LeaseId", int)

#: Where a scan begins.
FIRST: Final = JobId(0)


# ── values ───────────────────────────────────────────────────────────────────


class Give(NamedTuple):
    """Change a row of mine without ending it."""

    id: JobId
    #: POOL: anyone may have it. MINE: it stays; only ``attempts`` is noted.
    placement: Placement = Placement.POOL
    #: Delayed until then (a retry that backs off); the row is nobody's meanwhile.
    run_at: float | None = None
    attempts: int | None = None


class Room(NamedTuple):
    """A disk that a store grows on."""

    #: What people know it by: a folder on it.
    folder: str
    #: Bytes that are left for a program like us.
    free: int
    #: Bytes that there are in all.
    size: int


class Committed(NamedTuple):
    """The answer to one ``commit``."""

    #: One for each add, in the order of the adds.
    added: Sequence[AddResult]
    #: Ends and gives that found no row of mine: another server has it, or it is gone.
    missed: Sequence[JobId]


class Lease(NamedTuple):
    """The right to hold rows."""

    id: LeaseId
    #: Job ids made under this lease must be higher than this one.
    floor: JobId
    #: Seconds without a heartbeat after which it may be taken away: what ``open`` was asked
    #: for, unless the store has been told otherwise; infinity if only one server can open it.
    ttl: float = float("inf")


class Renewed(NamedTuple):
    """The answer to ``renew``."""

    lease: Lease
    #: Those of ``keep`` that are mine under the new lease.
    kept: Sequence[JobId]


class Count(NamedTuple):
    """How long a queue is, beyond what servers hold."""

    #: Rows in the pool.
    ready: int = 0
    #: Rows that wait for their time.
    delayed: int = 0


class Due(NamedTuple):
    """The answer to ``due``."""

    #: How many rows went to which queue's pool.
    moved: Mapping[QueueKey, int]
    #: When the next row is due (seconds since 1970); None if none is delayed.
    next: float | None


class Where(Enum):
    """Where a row is, as this server sees it."""

    MINE = "mine"
    POOL = "pool"
    DELAYED = "delayed"
    ELSEWHERE = "elsewhere"  #: another server holds it


class JobFacts(NamedTuple):
    """A row without its body: for lists and status."""

    id: JobId
    queue: QueueKey
    unique: bytes
    #: bytes of the body
    size: int
    run_at: float | None
    attempts: int
    where: Where
    #: Name of the server that holds it; empty for none.
    server: str


class DeadJob(NamedTuple):
    """A job that was given up: kept until somebody decides."""

    #: ``body`` is None in lists made without bodies.
    job: StoredJob
    #: bytes of the body
    size: int
    reason: str
    worker: str
    #: When it was given up (seconds since 1970).
    died: float


class Traits(NamedTuple):
    """What a store can do. What it cannot, the contract suite does not ask of it."""

    #: Several servers may open it at once.
    shared: bool
    #: What a job that ``commit`` has answered for survives: nothing, loss of power here, loss of a machine.
    durable: Literal["none", "fsync", "quorum"]
    #: bytes
    max_body: int
    #: adds, ends and gives of one ``commit`` together
    max_batch: int
    unique: bool = True
    delayed: bool = True
    priorities: bool = True
    scan: bool = True
    dead: bool = True
    #: ``on_news`` is called; without it servers have to ask.
    news: bool = False


# ── errors ───────────────────────────────────────────────────────────────────


class StoreError(GearmanError):
    """What a store says when it cannot do what it was asked."""


class StoreRefused(StoreError, ConfigurationError):
    """It cannot be opened, and trying again changes nothing. The text says what would."""


class StoreDown(StoreError):
    """Nothing of what was asked has happened: safe to repeat. The text is fit for a client."""


class Ambiguous(StoreError):
    """It may or may not have happened: ``renew`` first, then repeat."""


class LeaseLost(StoreError):
    """This server was presumed dead and is fenced: hand out nothing, ``renew``, drop what is not kept."""


# ── the port ─────────────────────────────────────────────────────────────────


class DeadSet(Protocol):
    """Where jobs are that were given up, until somebody decides about them."""

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        """One page of the dead set, by id, above ``after``; with bodies it is an export."""

    async def dead_show(self, id: JobId) -> DeadJob | None:
        """One job of the dead set, with its body."""

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        """Move dead jobs to the pool, their attempts forgotten; the oldest first.

        Returns:
            Those that went. A job stays dead if another has its key by now, or if it is there
            itself, because its add was repeated: what is there is left as it is.
        """

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        """Forget dead jobs for good; returns how many there were."""


class QueueStore(DeadSet, Protocol):
    """Keeps background jobs across restarts, for one server or for many.

    One task calls ``commit``, one at a time; the others may run beside it.
    Every method may raise ``StoreDown``; methods that write may raise
    ``Ambiguous``; those that say so may raise ``LeaseLost``. The server decides
    when to repeat; a store never does by itself, but it reconnects by itself.
    """

    @property
    def traits(self) -> Traits:
        """What it can do; known before ``open``."""

    async def open(self, server: str, ttl: float, *, takeover: bool = False) -> Lease:
        """Make it ready and take a lease.

        Args:
            server: this server's name; other servers show it.
            ttl: seconds without a heartbeat after which the lease may be taken away.
            takeover: end a living lease of the same name, instead of refusing.

        Raises:
            StoreRefused: wrong version, no permission, in use, a file that is none ...
            StoreDown: not reachable now.
        """

    async def heartbeat(self) -> float:
        """Keep the lease; call it every third of the ttl.

        Returns:
            Up to when jobs may be handed out, on the steady clock; infinity for a
            store that only one server can open.

        Raises:
            LeaseLost: too late.
        """

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        """Take a new lease, after ``LeaseLost`` or ``Ambiguous``.

        The old lease ends. Rows in ``keep`` become mine under the new one, unless
        another server has them by now; rows in ``ended`` go. Whatever else the old
        lease held goes back to the pool by and by: an answer that was lost may have
        made me the holder of rows I know nothing of.

        Args:
            keep: all that I hold: queued, running, and the adds of an ambiguous commit.
            ended: jobs that are over and not yet committed as such.
        """

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        """Do all of this in one transaction, and make it durable before answering.

        Ends come first, then gives, then adds in their order; so a key that is freed
        by an end can be taken by an add beside it.

        * An end removes a row that is mine or nobody's (a cancelled row of the pool).
        * An add whose id is there already is the repetition of an earlier try.
        * An add whose id is among the ends is not written: the job was over before
          its row was. With a reason it goes to the dead set.
        * An add whose id is among the gives is written as the give says.

        Raises:
            LeaseLost: fenced; nothing was written.
            ValueError: a body larger than ``traits.max_body``, or without a body.
        """

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        """Take jobs out of the pool: they are mine from now on.

        Args:
            queue: which.
            limit: at most so many.
            max_bytes: stop when the bodies are this large together; the first
                comes whatever its size.
            max_body: leave larger bodies where they are (``StoredJob.body`` is None);
                such a body does not count for ``max_bytes``.

        Returns:
            The oldest first. Empty: the pool has nothing, or others are just taking it.

        Raises:
            LeaseLost: fenced; nothing was claimed.
        """

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        """Bodies of rows, whoever holds them; those that are gone are left out."""

    async def due(self, now: float, limit: int) -> Due:
        """Move delayed rows whose time has come to the pool, the most overdue first.

        Args:
            now: seconds since 1970.
            limit: at most so many; ``Due.next`` is in the past if there are more.
        """

    async def counts(self) -> Mapping[QueueKey, Count]:
        """How long each queue is: exact, and O(queues). Queues that never had a row are left out."""

    async def find(
        self, tenant: str, *, id: JobId | None = None, key: tuple[bytes, bytes] | None = None
    ) -> JobFacts | None:
        """One row of this tenant, by id or by (function, key). The dead set is not searched."""

    async def holders(self, tenant: str, key: bytes) -> Sequence[JobFacts]:
        """The rows of this tenant with this key: at most one of each function."""

    async def scan(
        self, tenant: str | None, after: JobId, limit: int, *, function: bytes | None = None
    ) -> Sequence[JobFacts]:
        """One page of the rows of a tenant (None: of all), by id, above ``after``."""

    async def adopt(self) -> int:
        """Take the leases of dead servers away and move their rows to the pool.

        Returns:
            How many rows. Call it about every third of the ttl.
        """

    def on_news(self, call: Callable[[QueueKey], None]) -> None:
        """Have ``call`` called, on the loop, when a pool gets rows from elsewhere.

        A hint: it may come late, twice or not at all.
        """

    async def ask(self, id: JobId, question: bytes) -> bytes | None:
        """Ask the server that holds this row; None: no other does, or it does not answer soon.

        Questions and answers are the servers' own; they are small, and may be lost.
        """

    def on_asked(self, call: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Have ``call`` answer what other servers ask of rows that this one holds."""

    def room(self) -> Room | None:
        """The disk that it grows on; None if that is not for this side to know.

        Asked before it is open as well, and often. ``min-free`` is about it.
        """

    async def tidy(self) -> bool:
        """A little housekeeping. Call it about once a second when there is nothing else to do.

        Returns:
            Whether more is left to do.
        """

    async def close(self, *, release: bool = True) -> None:
        """Let go. Rows of mine go to the pool at once, or with ``release=False`` when the lease ends."""
