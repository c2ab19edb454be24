"""Job ids, the handles made from them, and coalescing keys.

An id is a number of 63 bits that is never given twice::

    62                    22 21       12 11        0
    +-----------------------+-----------+-----------+
    | milliseconds of 2020+ | instance  |  counter  |
    +-----------------------+-----------+-----------+

The instance is the lease modulo 1,024, which no two living servers share. So
ids sort by age (between servers, as well as their clocks agree), they can be
made before anything is stored, and a handle leads any server to the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from geartrain.stores.port import JobId, Lease
from geartrain.terms import MAX_HANDLE_BYTES, WORKLOAD_AS_KEY, JobHandle

#: 2020-01-01 in milliseconds since 1970.
EPOCH_MS: Final = 1_577_836_800_000
INSTANCES: Final = 1024

#: A unique longer than this is told by its digest (PostgreSQL indexes up to 2,700 bytes).
MAX_KEY_BYTES: Final = 512

_MS_SHIFT: Final = 22
_INSTANCE_SHIFT: Final = 12
_PER_MS: Final = 1 << _INSTANCE_SHIFT

#: An id at the end of a handle: so many digits, hexadecimal, as ``HandleMaker`` makes them.
ID_DIGITS: Final = 16

_HANDLE: Final = re.compile(rb".*[0-9a-f]{16}", re.DOTALL)


class JobIds:
    """Makes ids that only go up, whatever the clock does.

    When more than 4,096 are asked for within a millisecond, or the clock was set
    back, they run ahead of it.
    """

    def __init__(self, lease: Lease, wall: Callable[[], float]) -> None:
        """
        Args:
            lease: from ``QueueStore.open``.
            wall: seconds since 1970.
        """
        self._wall = wall
        self._last_ms = 0
        self._counter = 0
        self._instance = 0
        self.rebase(lease)

    def rebase(self, lease: Lease) -> None:
        """Go on under another lease (``QueueStore.renew``)."""
        self._instance = lease.id % INSTANCES << _INSTANCE_SHIFT
        # A whole millisecond further, for a lease 1,024 older had the same instance.
        self._last_ms = max(self._last_ms, lease.floor >> _MS_SHIFT) + 1
        self._counter = 0

    def next(self) -> JobId:
        """The next id."""
        now_ms = int(self._wall() * 1000) - EPOCH_MS
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._counter = 0
        elif self._counter == _PER_MS:
            self._last_ms += 1
            self._counter = 0
        counter = self._counter
        self._counter = counter + 1
        return JobId(self._last_ms << _MS_SHIFT | self._instance | counter)


def made_at(id: JobId) -> float:
    """When this id was made, in seconds since 1970, to the millisecond."""
    return ((id >> _MS_SHIFT) + EPOCH_MS) / 1000


def handle_of(prefix: bytes, id: JobId) -> JobHandle:
    """``H:host:`` and an id make the handle ``H:host:0123456789abcdef``, of at most 63 bytes.

    Raises:
        ValueError: the prefix leaves no room for the id.
    """
    if len(prefix) > MAX_HANDLE_BYTES - ID_DIGITS:
        raise ValueError(
            f"handle prefix of {len(prefix)} bytes: at most {MAX_HANDLE_BYTES - ID_DIGITS} "
            f"leave room for the job's number"
        )
    return JobHandle(prefix + b"%016x" % id)


def id_of(handle: bytes) -> JobId | None:
    """The id in a handle, whatever its prefix; None if it is none of ours."""
    if not _HANDLE.fullmatch(handle):
        return None
    number = int(handle[-ID_DIGITS:], 16)
    return JobId(number) if number < 1 << 63 else None


def coalescing_key(unique: bytes, body: bytes) -> bytes | None:
    """The key by which a job with this unique coalesces, or None if it does not.

    Unique ``-`` means the workload. Its digest gets a NUL in front: no unique on
    the wire can hold one, so an explicit unique never meets it. A unique too long
    for a database's index is told by its digest as well.
    """
    if not unique:
        return None
    if unique == WORKLOAD_AS_KEY:
        return b"\0" + sha256(body).digest() if body else None
    if len(unique) > MAX_KEY_BYTES:
        return b"\0\0" + sha256(unique).digest()
    return unique
