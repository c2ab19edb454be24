"""Jobs that were given up; and the dead set of a server without a store: in memory, up to a bound.

They are gone when the server ends, as all its jobs are. When there is no more room,
those that have been dead for longest make way, and are counted.
"""

from __future__ import annotations

from typing import Final

MOST_DEAD: Final = 10_000
MOST_BYTES: Final = 64 * 2**20


class Burial:
    """A job that was given up.

    Attributes:
        body: its workload; empty where the store has it.
        stored: the store has its row.
        worker: the last one: address and client id.
        died: when it was given up (seconds since 1970).
    """

    def __init__(
        self,
        handle: bytes,
        function: bytes,
        unique: bytes,
        priority: int,
        reducer: bytes,
        attempts: int,
        reason: bytes,
        worker: bytes,
        died: float,
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.priority = priority
        self.reducer = reducer
        self.attempts = attempts
        self.reason = reason
        self.worker = worker
        self.died = died
        self.body = b""
        self.stored = False


class Surrender:
    """The server has given a job up, for a reason of its own; its clients hear a bare WORK_FAIL.

    Attributes:
        attempts: how often it was given out.
        reason: what befell the last one, for people.
        worker: the last one: address and client id.
    """

    def __init__(
        self, handle: bytes, function: bytes, attempts: int, reason: str, worker: bytes
    ) -> None:
        self.handle = handle
        self.function = function
        self.attempts = attempts
        self.reason = reason
        self.worker = worker


class Graveyard:
    """Dead jobs by handle, the one that died first in front."""

    def __init__(self, most: int = MOST_DEAD, most_bytes: int = MOST_BYTES) -> None:
        self.burials: dict[bytes, Burial] = {}
        self.size = 0
        #: How many had to make way.
        self.displaced = 0
        self._most = most
        self._most_bytes = most_bytes

    def add(self, burial: Burial) -> None:
        """One more; the oldest go if there is no room. One that is too large by itself is kept alone."""
        self.take(burial.handle)
        self.burials[burial.handle] = burial
        self.size += len(burial.body)
        while len(self.burials) > 1 and (
            len(self.burials) > self._most or self.size > self._most_bytes
        ):
            self.take(next(iter(self.burials)))
            self.displaced += 1

    def take(self, handle: bytes) -> Burial | None:
        """Out of it, whatever is to become of the job."""
        burial = self.burials.pop(handle, None)
        if burial is not None:
            self.size -= len(burial.body)
        return burial
