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

from typing import ClassVar, Final, TypeAlias

from geartrain.terms import JobHandle
from geartrain.values import Value


class Numbered(Value):
    """An event that is about one request."""

    __slots__ = ("request",)

    request: int


class JobCreated(Numbered):
    """The server has the job, under this handle. A background task ends here."""

    __slots__ = ("handle",)
    __match_args__: ClassVar = ("handle",)

    def __init__(self, handle: JobHandle, request: int = 0) -> None:
        self.handle: Final = handle
        self.request = request


class WorkData(Numbered):
    """A piece of the result, sent while the job runs."""

    __slots__ = ("data",)
    __match_args__: ClassVar = ("data",)

    def __init__(self, data: bytes, request: int = 0) -> None:
        self.data: Final = data
        self.request = request


class WorkWarning(Numbered):
    """Something the worker wants its client to know; the job goes on."""

    __slots__ = ("data",)
    __match_args__: ClassVar = ("data",)

    def __init__(self, data: bytes, request: int = 0) -> None:
        self.data: Final = data
        self.request = request


class WorkStatus(Numbered):
    """Progress: ``numerator`` of ``denominator``, in whatever unit the worker counts.

    What a worker sends that is not a whole number is read as C's ``atoi`` does
    (``0.5`` and the empty text are 0).
    """

    __slots__ = ("denominator", "numerator")
    __match_args__: ClassVar = ("numerator", "denominator")

    def __init__(self, numerator: int, denominator: int, request: int = 0) -> None:
        self.numerator: Final = numerator
        self.denominator: Final = denominator
        self.request = request

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1 as a rule, or None where the denominator is 0."""
        return self.numerator / self.denominator if self.denominator else None


class WorkComplete(Numbered):
    """The job has ended well; ``data`` is the last piece of the result."""

    __slots__ = ("data",)
    __match_args__: ClassVar = ("data",)

    def __init__(self, data: bytes = b"", request: int = 0) -> None:
        self.data: Final = data
        self.request = request


class WorkFail(Numbered):
    """The job has failed, and nobody says why."""

    __slots__ = ()

    def __init__(self, request: int = 0) -> None:
        self.request = request


class WorkException(Numbered):
    """The job has failed; ``data`` says why, in the worker's own format."""

    __slots__ = ("data",)
    __match_args__: ClassVar = ("data",)

    def __init__(self, data: bytes = b"", request: int = 0) -> None:
        self.data: Final = data
        self.request = request


class Refused(Numbered):
    """The server answered a request with ERROR."""

    __slots__ = ("code", "text")
    __match_args__: ClassVar = ("code", "text")

    def __init__(self, code: str, text: str, request: int = 0) -> None:
        self.code: Final = code
        self.text: Final = text
        self.request = request


class Unanswered(Numbered):
    """The server has answered a later request: this one will get no answer.

    Replies come in order, so a gap is final. gear leaves ECHO_REQ and
    OPTION_REQ unanswered, the Java server a submission that it refuses.
    """

    __slots__ = ()

    def __init__(self, request: int = 0) -> None:
        self.request = request


#: How far a request had come when its connection went (``Lost.stage``).
UNSENT: Final = 0
SENT: Final = 1
CREATED: Final = 2


class Lost(Numbered):
    """The connection has gone before the request was over.

    Attributes:
        stage: ``UNSENT`` (never handed to the network: sending it again is
            safe), ``SENT`` (no answer: the server may have it) or ``CREATED``
            (a foreground job that was accepted and had not ended).
        cause: what the network said.
    """

    __slots__ = ("cause", "stage")
    __match_args__: ClassVar = ("stage", "cause")

    def __init__(self, stage: int, cause: str = "", request: int = 0) -> None:
        self.stage: Final = stage
        self.cause: Final = cause
        self.request = request


class EchoReply(Numbered):
    """ECHO_RES: the same bytes back."""

    __slots__ = ("data",)
    __match_args__: ClassVar = ("data",)

    def __init__(self, data: bytes, request: int = 0) -> None:
        self.data: Final = data
        self.request = request


class OptionReply(Numbered):
    """OPTION_RES: the option is on."""

    __slots__ = ("option",)
    __match_args__: ClassVar = ("option",)

    def __init__(self, option: bytes, request: int = 0) -> None:
        self.option: Final = option
        self.request = request


class StatusReply(Numbered):
    """STATUS_RES, or STATUS_RES_UNIQUE.

    Attributes:
        key: the handle, or the unique key, that was asked about.
        known: the server has the job, queued or running.
        waiting: number of clients attached; None in an answer by handle.
    """

    __slots__ = ("denominator", "key", "known", "numerator", "running", "waiting")
    __match_args__: ClassVar = ("key", "known", "running", "numerator", "denominator", "waiting")

    def __init__(
        self,
        key: bytes,
        known: bool,
        running: bool,
        numerator: int,
        denominator: int,
        waiting: int | None = None,
        request: int = 0,
    ) -> None:
        self.key: Final = key
        self.known: Final = known
        self.running: Final = running
        self.numerator: Final = numerator
        self.denominator: Final = denominator
        self.waiting: Final = waiting
        self.request = request


class LineReply(Numbered):
    """The answer to an admin text command: one line, or the lines of a list without its dot."""

    __slots__ = ("lines",)
    __match_args__: ClassVar = ("lines",)

    def __init__(self, lines: tuple[str, ...], request: int = 0) -> None:
        self.lines: Final = lines
        self.request = request


class Complaint(Value):
    """An ERROR that answers no request."""

    __slots__ = ("code", "text")
    __match_args__: ClassVar = ("code", "text")

    def __init__(self, code: str, text: str) -> None:
        self.code: Final = code
        self.text: Final = text


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
