"""What the server and a store tell each other of single jobs: compiled, for that reason.

Some of these are made for each job. As plain classes they are made, and read, natively by
what is compiled, at a fraction of what named tuples take. They are values all the same:
equal if all in them is, and nobody changes one (``but`` makes another).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple, NewType

from geartrain._native import mypyc_attr

#: Names a job for ever: 63 bits, made by ``geartrain.stores.ids`` before the job is stored.
JobId = NewType("JobId", int)

#: What most jobs have; known by its identity.
NO_HEADERS: Final[Mapping[str, str]] = {}


class QueueKey(NamedTuple):
    """One first-in-first-out queue."""

    tenant: str
    function: bytes
    #: 0 high, 1 normal, 2 low
    priority: int


class Placement(IntEnum):
    """Where a ready row is."""

    MINE = 0  #: this server has it in memory
    POOL = 1  #: nobody has; any server may claim it


class Added(Enum):
    """What became of an ``Add``."""

    STORED = 0  #: it is kept, from now on or since an earlier try
    MERGED = 1  #: its key is taken: ``AddResult.id`` answers for it, and it is not kept


@mypyc_attr(acyclic=True)
class StoredJob:
    """One job, as it is kept.

    Attributes:
        id: its name for ever.
        queue: where it waits, or will.
        body: the workload; None only from ``claim``, for a body larger than was asked for:
            ``load`` brings it.
        unique: what workers are shown; empty for none.
        key: jobs of one function with the same key coalesce; None: with nobody. Differs from
            ``unique`` where the workload is the key (unique ``-``): see ``ids.coalescing_key``.
        run_at: not before this time (seconds since 1970).
        reducer: function that merges the results; None for none.
        attempts: how often a worker had it and did not finish it.
        headers: what else is to be kept with it.
    """

    def __init__(
        self,
        id: JobId,
        queue: QueueKey,
        body: bytes | None,
        unique: bytes = b"",
        key: bytes | None = None,
        run_at: float | None = None,
        reducer: bytes | None = None,
        attempts: int = 0,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.id: Final = id
        self.queue: Final = queue
        self.body: Final = body
        self.unique: Final = unique
        self.key: Final = key
        self.run_at: Final = run_at
        self.reducer: Final = reducer
        self.attempts: Final = attempts
        self.headers: Final = headers

    def _fields(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "queue": self.queue,
            "body": self.body,
            "unique": self.unique,
            "key": self.key,
            "run_at": self.run_at,
            "reducer": self.reducer,
            "attempts": self.attempts,
            "headers": self.headers,
        }

    def but(self, **changes: Any) -> StoredJob:
        """The same job, but for these fields.

        Raises:
            TypeError: it has no such field.
        """
        return StoredJob(**{**self._fields(), **changes})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredJob) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"StoredJob({_told(self._fields())})"


@mypyc_attr(acyclic=True)
class Add:
    """Keep this job. With ``run_at`` it is delayed, whatever the placement.

    Attributes:
        job: what is to be kept.
        placement: where it is to be.
    """

    def __init__(self, job: StoredJob, placement: Placement) -> None:
        self.job: Final = job
        self.placement: Final = placement

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Add) and self.job == other.job and self.placement is other.placement
        )

    def __hash__(self) -> int:
        return hash(self.job)

    def __repr__(self) -> str:
        return f"Add({self.job!r}, {self.placement!r})"


@mypyc_attr(acyclic=True)
class AddResult:
    """The answer to one ``Add``.

    Attributes:
        outcome: whether it is kept.
        id: the job that a client is to be told of: its own, or the one it merged with.
        placement: MINE only if this server holds the row. A repeated add may find its row
            in the pool.
    """

    def __init__(self, outcome: Added, id: JobId, placement: Placement) -> None:
        self.outcome: Final = outcome
        self.id: Final = id
        self.placement: Final = placement

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AddResult)
            and self.id == other.id
            and self.outcome is other.outcome
            and self.placement is other.placement
        )

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"AddResult({self.outcome!r}, {self.id}, {self.placement!r})"


@mypyc_attr(acyclic=True)
class Ending:
    """This job is over: forget it, or move it to the dead set.

    Attributes:
        id: the job.
        dead: None: forget it. A text: to the dead set, for this reason.
        attempts: what the dead set shows, together with the reason; None leaves the stored
            number.
        worker: the last one, as ``gearadmin workers`` calls it.
    """

    def __init__(
        self, id: JobId, dead: str | None = None, attempts: int | None = None, worker: str = ""
    ) -> None:
        self.id: Final = id
        self.dead: Final = dead
        self.attempts: Final = attempts
        self.worker: Final = worker

    def _fields(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "dead": self.dead,
            "attempts": self.attempts,
            "worker": self.worker,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ending) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Ending({_told(self._fields())})"


def _told(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in fields.items())
