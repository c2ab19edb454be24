"""What keeps a server's right to its jobs, in a store that several servers share.

Every third of the lease's time a heartbeat prolongs the lease, and with it the
broker's tenure: up to then stored jobs may be handed out. A heartbeat that fails
prolongs nothing; the broker fences itself by its clock, long before anybody could
have taken the lease away. A few times a second the dead are looked for.

When the lease is lost, or an answer of the store was (so that nobody knows what is
held under it), the right is *in doubt*: nothing is handed out, and the writer takes a
new lease with ``renew``. What another server has by then is forgotten here, before
the next job is handed out. Claims and renewals never overlap (``claiming``): a job
that is claimed under a lease that just ends would be held by nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.tables import KEPT, PAGED, WRITING, Job
from geartrain.stores.ids import INSTANCES, id_of
from geartrain.stores.port import (
    Ending,
    JobId,
    Lease,
    LeaseLost,
    QueueStore,
    StoreError,
)

log = logging.getLogger("geartrain.server")

#: Heartbeats within a lease's time.
BEATS: Final = 3
#: Seconds between looks for dead servers, at most: their jobs should not lie about.
LOOK: Final = 0.5
#: Seconds until a heartbeat that failed is tried again, at most.
AGAIN: Final = 0.5


class Tenure:
    """One server's lease.

    Args:
        store: open, under ``lease``.
        broker: is told until when it may hand out stored jobs.
        lease: from ``open``.
        lost: called when a new lease is needed.
        freed: called when rows of dead servers went to the pools.
        tell: called when the broker has been told something, to send what it says.
        patience: seconds after which those who wait for an unreachable store are refused.
        steady: seconds of a clock that never jumps, the store's own.

    Attributes:
        in_doubt: a new lease is needed before anything can be written or claimed.
        claiming: held by whoever claims, and while a new lease is taken.
    """

    def __init__(
        self,
        store: QueueStore,
        broker: Broker,
        lease: Lease,
        *,
        lost: Callable[[], None],
        freed: Callable[[], None],
        tell: Callable[[], None],
        patience: float,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.in_doubt = False
        self.claiming = asyncio.Lock()
        self._store = store
        self._broker = broker
        self._ttl = lease.ttl
        self._lost = lost
        self._freed = freed
        self._tell = tell
        self._patience = patience
        self._steady = steady
        self._leases = 1
        self._well_at = steady()
        #: That heartbeats fail was said.
        self._silent = False
        #: That looks for the dead fail was said.
        self._blind = False
        self._rebase(lease)

    def _rebase(self, lease: Lease) -> None:
        self._broker.state.handles.rebase(lease.id % INSTANCES, lease.floor)

    # ── while all is well ────────────────────────────────────────────────────

    async def beat_on(self) -> None:
        """Prolong the tenure, for ever."""
        while True:
            pause = await self.beat()
            await asyncio.sleep(pause)

    async def look_on(self) -> None:
        """Look for the dead, for ever."""
        while True:
            pause = await self.look()
            await asyncio.sleep(pause)

    async def beat(self) -> float:
        """Prolong the tenure; returns seconds until the next time."""
        if self.in_doubt:
            return min(self._ttl / 10, AGAIN)
        lease = self._leases
        try:
            until = await self._store.heartbeat()
        except LeaseLost as error:
            if lease == self._leases and not self.in_doubt:
                log.error("%s; taking a new one", error)
                self.doubt()
            return 0.0 if lease != self._leases else min(self._ttl / 10, AGAIN)
        except StoreError as error:
            self._cannot_reach(error)
            return min(self._ttl / 10, AGAIN)
        if lease != self._leases or self.in_doubt:
            # What it has prolonged is gone.
            return 0.0
        self._well_at = self._steady()
        self._silent = False
        if until > self._well_at:
            was_fenced = self._broker.state.fenced
            self._broker.hold_until(until)
            if was_fenced:
                log.warning("stored jobs are handed out again")
                self._tell()
        return self._ttl / BEATS

    def _cannot_reach(self, error: StoreError) -> None:
        silent = self._steady() - self._well_at
        if not self._silent:
            self._silent = True
            log.error("no heartbeat, stored jobs are held back unless that changes: %s", error)
        if silent >= self._patience:
            self._broker.refuse_doubted(str(error).encode("utf-8", "replace"))
            self._tell()

    async def look(self) -> float:
        """Take away the leases of the dead; returns seconds until the next time."""
        if not self.in_doubt:
            try:
                freed = await self._store.adopt()
            except StoreError as error:
                # Twice a second: told once, until it has succeeded again.
                level = logging.DEBUG if self._blind else logging.WARNING
                log.log(level, "cannot look for dead servers: %s", error)
                self._blind = True
            else:
                self._blind = False
                if freed:
                    log.warning("%d jobs of servers that are gone went to the pool", freed)
                    self._freed()
        return min(self._ttl / BEATS, LOOK)

    # ── when it is not ───────────────────────────────────────────────────────

    def doubt(self) -> None:
        """Nobody knows what is held: hand out nothing until the lease is renewed."""
        self.in_doubt = True
        self._broker.fence()
        self._lost()

    async def renew(self, ended: Sequence[Ending], giving: Sequence[JobId] = ()) -> None:
        """Take a new lease for all that is here; forget what another server has.

        Args:
            ended: jobs that are over, all that the store does not know of.
            giving: jobs that are to be given away, and are not here any more.

        Raises:
            StoreError: it cannot be had now.
        """
        async with self.claiming:
            self.in_doubt = True
            self._broker.fence()
            held = self._held()
            renewed = await self._store.renew([*held, *giving], ended)
            self._leases += 1
            self._rebase(renewed.lease)
            self._ttl = renewed.lease.ttl
            kept = set(renewed.kept)
            gone = 0
            for id, job in held.items():
                # What is being written is written again, and answered then.
                if id not in kept and job.kept == KEPT:
                    gone += 1
                    self._broker.elsewhere(job)
            self.in_doubt = False
        log.warning(
            "a new lease: %d jobs are still held, %d are other servers' by now", len(kept), gone
        )
        await self.beat()

    def _held(self) -> dict[JobId, Job]:
        held = {}
        for handle, job in self._broker.state.jobs.items():
            if (job.kept == KEPT or job.kept == WRITING) and job.state != PAGED:
                id = id_of(handle)
                assert id is not None, handle
                held[id] = job
        return held
