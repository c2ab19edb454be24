"""The dead set of a server without a store, with the verbs of one that has one."""

from __future__ import annotations

from collections.abc import Sequence

from geartrain.broker.broker import Broker
from geartrain.broker.graveyard import Burial
from geartrain.stores.ids import handle_of, id_of
from geartrain.stores.port import DeadJob, JobId, QueueKey, StoredJob


class MemoryDead:
    """What the broker remembers of jobs that it gave up.

    Args:
        broker: its graveyard is read.
        prefix: what handles begin with.
    """

    def __init__(self, broker: Broker, prefix: bytes) -> None:
        self._broker = broker
        self._prefix = prefix

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        """One page, by id."""
        found = [
            one
            for burial in self._broker.state.graveyard.burials.values()
            if function is None or burial.function == function
            if (one := _dead_job(burial, bodies)) is not None and one.job.id > after
        ]
        found.sort(key=lambda one: one.job.id)
        return found[:limit]

    async def dead_show(self, id: JobId) -> DeadJob | None:
        """One job, with its body."""
        burial = self._broker.state.graveyard.burials.get(handle_of(self._prefix, id))
        return _dead_job(burial, True) if burial is not None else None

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        """Queue them again; those that are."""
        return [id for id in ids if self._broker.revive(handle_of(self._prefix, id))]

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        """Forget them; how many there were."""
        yard = self._broker.state.graveyard
        return sum(yard.take(handle_of(self._prefix, id)) is not None for id in ids)


def _dead_job(burial: Burial, body: bool) -> DeadJob | None:
    id = id_of(burial.handle)
    if id is None:
        return None
    queue = QueueKey("", burial.function, burial.priority)
    job = StoredJob(
        id, queue, burial.body if body else None, burial.unique, None, None,
        burial.reducer or None, burial.attempts,
    )  # fmt: skip
    return DeadJob(
        job,
        len(burial.body),
        burial.reason.decode("utf-8", "backslashreplace"),
        burial.worker.decode("utf-8", "backslashreplace"),
        burial.died,
    )
