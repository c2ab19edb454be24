"""What a client hears from its server, as plain values.

Two groups. *Task events* tell the life of one submitted job; users see them in
``Task.events()`` and match on them::

    match event:
        case WorkData(data):
            ...
        case WorkStatus(numerator, denominator):
            ...

*Answers* end every other request. Each event has ``request``, the number that
``ClientConnection`` gave to what was asked; it takes no part in comparisons, so
``event == WorkData(b"a")`` asks what one would expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from geartrain.terms import JobHandle


@dataclass(frozen=True, slots=True)
class JobCreated:
    """The server has the job, under this handle. A background task ends here."""

    handle: JobHandle
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WorkData:
    """A piece of the result, sent while the job runs."""

    data: bytes
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WorkWarning:
    """Something the worker wants its client to know; the job goes on."""

    data: bytes
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WorkStatus:
    """Progress: ``numerator`` of ``denominator``, in whatever unit the worker counts.

    What a worker sends that is not a whole number is read as C's ``atoi`` does
    (``0.5`` and the empty text are 0).
    """

    numerator: int
    denominator: int
    request: int = field(default=0, compare=False, repr=False)

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1 as a rule, or None where the denominator is 0."""
        return self.numerator / self.denominator if self.denominator else None


@dataclass(frozen=True, slots=True)
class WorkComplete:
    """The job has ended well; ``data`` is the last piece of the result."""

    data: bytes = b""
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WorkFail:
    """The job has failed, and nobody says why."""

    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WorkException:
    """The job has failed; ``data`` says why, in the worker's own format."""

    data: bytes = b""
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The server answered a request with ERROR."""

    code: str
    text: str
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The server has answered a later request: this one will get no answer.

    Replies come in order, so a gap is final. gear leaves ECHO_REQ and
    OPTION_REQ unanswered, the Java server a submission that it refuses.
    """

    request: int = field(default=0, compare=False, repr=False)


#: How far a request had come when its connection went (``Lost.stage``).
UNSENT: Final = 0
SENT: Final = 1
CREATED: Final = 2


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection has gone before the request was over.

    Attributes:
        stage: ``UNSENT`` (never handed to the network: sending it again is
            safe), ``SENT`` (no answer: the server may have it) or ``CREATED``
            (a foreground job that was accepted and had not ended).
        cause: what the network said.
    """

    stage: int
    cause: str = ""
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class EchoReply:
    """ECHO_RES: the same bytes back."""

    data: bytes
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class OptionReply:
    """OPTION_RES: the option is on."""

    option: bytes
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class StatusReply:
    """STATUS_RES, or STATUS_RES_UNIQUE.

    Attributes:
        key: the handle, or the unique key, that was asked about.
        known: the server has the job, queued or running.
        waiting: number of clients attached; None in an answer by handle.
    """

    key: bytes
    known: bool
    running: bool
    numerator: int
    denominator: int
    waiting: int | None = None
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LineReply:
    """The answer to an admin text command: one line, or the lines of a list without its dot."""

    lines: tuple[str, ...]
    request: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Complaint:
    """An ERROR that answers no request."""

    code: str
    text: str


TaskEvent: TypeAlias = (
    JobCreated | WorkData | WorkWarning | WorkStatus | WorkComplete | WorkFail | WorkException
)
Event: TypeAlias = (
    TaskEvent
    | Refused
    | Unanswered
    | Lost
    | EchoReply
    | OptionReply
    | StatusReply
    | LineReply
    | Complaint
)
