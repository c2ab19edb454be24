"""What a worker hears from its server, as plain values."""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias

from geartrain.terms import FunctionName, JobHandle, Unique
from geartrain.values import Value


class JobAssigned(Value):
    """A job to do now.

    Attributes:
        unique: the client's key; empty for none, and always empty from a server
            that only knows plain GRAB_JOB.
        reducer: function that is to merge the results, or None.
    """

    __slots__ = ("function", "handle", "reducer", "unique", "workload")
    __match_args__: ClassVar = ("handle", "function", "unique", "workload", "reducer")

    def __init__(
        self,
        handle: JobHandle,
        function: FunctionName,
        unique: Unique,
        workload: bytes,
        reducer: FunctionName | None = None,
    ) -> None:
        self.handle: Final = handle
        self.function: Final = function
        self.unique: Final = unique
        self.workload: Final = workload
        self.reducer: Final = reducer


class FellAsleep(Value):
    """The server had no job, and was asked to wake us when it has one."""

    __slots__ = ()


class Woken(Value):
    """The server has work, but no job was asked for (``WorkerConnection.want``)."""

    __slots__ = ()


class JobTaken(Value):
    """The server no longer lets us report on a job: it has timed out, or was given to another.

    Attributes:
        handle: the job, where it can be told: an ERROR names none. Empty
            otherwise, or when the job had ended on our side.
    """

    __slots__ = ("code", "handle", "text")
    __match_args__: ClassVar = ("handle", "code", "text")

    def __init__(self, handle: JobHandle, code: str, text: str) -> None:
        self.handle: Final = handle
        self.code: Final = code
        self.text: Final = text


class Echoed(Value):
    """ECHO_RES: the same bytes back."""

    __slots__ = ("data",)
    __match_args__: ClassVar = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data: Final = data


class ServerVersion(Value):
    """Answer to ``ask_version``, for example ``1.1.20``."""

    __slots__ = ("version",)
    __match_args__: ClassVar = ("version",)

    def __init__(self, version: str) -> None:
        self.version: Final = version


class Complaint(Value):
    """Any other ERROR. Nothing is to be done but to tell somebody."""

    __slots__ = ("code", "text")
    __match_args__: ClassVar = ("code", "text")

    def __init__(self, code: str, text: str) -> None:
        self.code: Final = code
        self.text: Final = text


WorkerEvent: TypeAlias = (
    JobAssigned | FellAsleep | Woken | JobTaken | Echoed | ServerVersion | Complaint
)
