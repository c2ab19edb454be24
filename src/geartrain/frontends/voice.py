"""What the broker says to a peer, in Gearman's packets.

The other half of the dialect is ``frontends/gear.py``, which hears. Here nothing is
decided: each word of the broker is one packet, written down in the ``Outbox``.
"""

from __future__ import annotations

from typing import Any, Final

from geartrain.broker import progress
from geartrain.broker.inspection import JobStatus
from geartrain.broker.tables import Job
from geartrain.frontends.outbox import Outbox
from geartrain.protocol import commands as c
from geartrain.protocol.packets import RESPONSE, Headers, encode_response

_CREATED: Final = Headers(RESPONSE, c.JOB_CREATED)
_FAIL: Final = Headers(RESPONSE, c.WORK_FAIL)
_UPDATES: Final = [
    Headers(RESPONSE, c.WORK_DATA),
    Headers(RESPONSE, c.WORK_WARNING),
    Headers(RESPONSE, c.WORK_STATUS),
    Headers(RESPONSE, c.WORK_COMPLETE),
    _FAIL,
    Headers(RESPONSE, c.WORK_EXCEPTION),
]
NO_JOB: Final = encode_response(c.NO_JOB)
_NOOP: Final = encode_response(c.NOOP)


class Voice(Outbox):
    """A peer that is spoken to in Gearman.

    Args:
        number, touched: as for ``Outbox``.
        pause_at: with more than this waiting, whoever relays news is to look at us.
    """

    def __init__(self, number: int, touched: list[Any], pause_at: int) -> None:
        super().__init__(number, touched)
        self._pause_at = pause_at
        #: By ticket, with which packet the worker asked for the job that is promised.
        self._grabs: dict[int, int] | None = None

    def job_created(self, handle: bytes) -> None:
        """JOB_CREATED."""
        self.say2(_CREATED.small[len(handle)], handle)

    def redeem(self, ticket: int, handle: bytes) -> None:
        """JOB_CREATED, where it was promised."""
        self.fill(ticket, _CREATED.small[len(handle)] + handle)

    def renege(self, ticket: int, code: bytes, text: bytes) -> None:
        """ERROR, where JOB_CREATED was promised."""
        self.fill(ticket, encode_response(c.ERROR, code, text))

    def assign(self, ticket: int, job: Job | None) -> None:
        """JOB_ASSIGN or NO_JOB, where it was promised."""
        number = self._grabs.pop(ticket, c.GRAB_JOB) if self._grabs is not None else c.GRAB_JOB
        if job is None:
            self.fill(ticket, NO_JOB)
            return
        args = [job.handle, job.function.name]
        answer = c.JOB_ASSIGN
        if number != c.GRAB_JOB:
            answer = c.JOB_ASSIGN_UNIQ
            args.append(job.unique)
            if number == c.GRAB_JOB_ALL and job.reducer:
                answer = c.JOB_ASSIGN_ALL
                args.append(job.reducer)
        args.append(job.workload)
        self.fill(ticket, encode_response(answer, *args))

    def refused(self, code: bytes, text: bytes) -> None:
        """ERROR in the place of JOB_CREATED."""
        self.error(code, text)

    def noop(self) -> None:
        """NOOP."""
        self.say(_NOOP)

    def work_update(self, kind: int, body: bytes, start: int) -> None:
        """WORK_*, as the worker's packet had it."""
        if (kind == progress.EXCEPTION and not self.exceptions) or kind == progress.FAIL:
            self.work_fail(body[: start - 1])
            return
        self.say2(_UPDATES[kind].of(len(body)), body)
        if self.out_bytes > self._pause_at:
            # While output waits, ``say`` brings us to nobody's notice; one who
            # does not read must be noticed, or others' reports fill the memory.
            self._touched.append(self)

    def work_fail(self, handle: bytes) -> None:
        """WORK_FAIL with the handle and nothing else: old libgearman compares its length."""
        self.say2(_FAIL.of(len(handle)), handle)


def status_packet(handle: bytes, status: JobStatus) -> bytes:
    """STATUS_RES."""
    return encode_response(
        c.STATUS_RES,
        handle,
        b"1" if status.known else b"0",
        b"1" if status.running else b"0",
        b"%d" % status.numerator,
        b"%d" % status.denominator,
    )


def status_unique_packet(unique: bytes, status: JobStatus) -> bytes:
    """STATUS_RES_UNIQUE."""
    return encode_response(
        c.STATUS_RES_UNIQUE,
        unique,
        b"1" if status.known else b"0",
        b"1" if status.running else b"0",
        b"%d" % status.numerator,
        b"%d" % status.denominator,
        b"%d" % status.clients,
    )
