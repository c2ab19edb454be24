"""What a worker hears from its server, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from geartrain.terms import FunctionName, JobHandle, Unique


@dataclass(frozen=True, slots=True)
class JobAssigned:
    """A job to do now.

    Attributes:
        unique: the client's key; empty for none, and always empty from a server
            that only knows plain GRAB_JOB.
        reducer: function that is to merge the results, or None.
    """

    handle: JobHandle
    function: FunctionName
    unique: Unique
    workload: bytes
    reducer: FunctionName | None = None


@dataclass(frozen=True, slots=True)
class FellAsleep:
    """The server had no job, and was asked to wake us when it has one."""


@dataclass(frozen=True, slots=True)
class Woken:
    """The server has work, but no job was asked for (``WorkerConnection.want``)."""


@dataclass(frozen=True, slots=True)
class JobTaken:
    """The server no longer lets us report on a job: it has timed out, or was given to another.

    Attributes:
        handle: the job, where it can be told: an ERROR names none. Empty
            otherwise, or when the job had ended on our side.
    """

    handle: JobHandle
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Echoed:
    """ECHO_RES: the same bytes back."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """Answer to ``ask_version``, for example ``1.1.20``."""

    version: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """Any other ERROR. Nothing is to be done but to tell somebody."""

    code: str
    text: str


WorkerEvent: TypeAlias = (
    JobAssigned | FellAsleep | Woken | JobTaken | Echoed | ServerVersion | Complaint
)
