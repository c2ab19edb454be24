"""One submitted job as its client sees it. Pure: events in, an outcome out.

``Task`` and ``AsyncTask`` add the waiting. What becomes of a loss (another server,
another attempt) is decided here too, in ``apply``, and carried out by the client.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from geartrain._native import mypyc_attr
from geartrain.client.events import (
    CREATED,
    UNSENT,
    Event,
    JobCreated,
    Lost,
    Refused,
    TaskEvent,
    Unanswered,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from geartrain.errors import (
    GearmanError,
    JobException,
    JobFailed,
    JobLost,
    OutcomeUnknown,
    QueueFull,
    ResultTimeout,
    ServerError,
    ServerUnavailable,
    SubmitTimeout,
    UnknownOption,
)
from geartrain.retry import Retry
from geartrain.terms import NORMAL, JobHandle
from geartrain.transport.address import Address

T_co = TypeVar("T_co", covariant=True)


class TaskState(Enum):
    """Where a task is in its life."""

    #: No JOB_CREATED yet.
    PENDING = "pending"
    #: The server has the job.
    CREATED = "created"
    #: The worker has been heard of.
    RUNNING = "running"
    #: Over, well.
    COMPLETE = "complete"
    #: Over: the worker, or the server, said no.
    FAILED = "failed"
    #: Over: the connection went.
    LOST = "lost"


#: For the texts of errors: what to do where a server may have the job or not.
IN_DOUBT: Final = (
    "the server may have the job, so send it again only under a unique key, or where running "
    "it twice does no harm"
)

#: What ``BaseTask.apply`` asks of its client.
GO_ON: Final = 0
OVER: Final = 1
#: Hand it in again now, at another server if there is one; nothing has run.
MOVE: Final = 2
#: Hand it in again after ``retry.pause``.
AGAIN: Final = 3

_PENDING: Final = TaskState.PENDING
_CREATED: Final = TaskState.CREATED
_RUNNING: Final = TaskState.RUNNING
_COMPLETE: Final = TaskState.COMPLETE
_FAILED: Final = TaskState.FAILED
_LOST: Final = TaskState.LOST


def server_error(code: str, text: str) -> ServerError:
    """The error for an ERROR packet."""
    if code in ("QUEUE_ERROR", "QUEUE_FULL"):
        return QueueFull(code, text)
    if code == "UNKNOWN_OPTION":
        return UnknownOption(code, text)
    return ServerError(code, text)


def read_exception(data: bytes) -> tuple[str, str, str]:
    """Take the payload of a WORK_EXCEPTION apart: message, type's name, remote traceback.

    Our workers send ``Type: message``, an empty line, and the traceback. What
    others send is the message as a whole.
    """
    text = data.decode("utf-8", "backslashreplace")
    head, mark, traceback = text.partition("\n\nTraceback (most recent call last):\n")
    if not mark:
        # An error of ours that never got to the user's code has no traceback.
        return text, text.partition(":")[0] if text.startswith("geartrain.") else "", ""
    type_name = head.partition(":")[0]
    return head, type_name, mark.lstrip() + traceback


@mypyc_attr(allow_interpreted_subclasses=True)
class BaseTask(Generic[T_co]):
    """A job from the side of whoever asked for it.

    There may be a hundred thousand of them, so each is one object: a list or dict in
    every one would be most of what the garbage collector has to walk through.

    Attributes:
        function: name, without the client's namespace.
        unique: the key on the wire.
        workload: what was sent.
        priority: a ``Priority``.
        background: the task is over once the server has the job.
        state: see ``TaskState``.
        progress: the last WORK_STATUS, or None.
        context: yours.
    """

    __slots__ = (
        "__weakref__",
        "_arrived",
        "_causes",
        "_decode",
        "_error",
        "_handle",
        "_result",
        "_untold_complete",
        "_untold_created",
        "background",
        "callbacks",
        "context",
        "failures",
        "function",
        "in_doubt",
        "last_word_alone",
        "priority",
        "progress",
        "reducer",
        "retry",
        "server",
        "state",
        "timeout",
        "unique",
        "unique_given",
        "watchers",
        "when",
        "wire_function",
        "workload",
    )

    def __init__(
        self,
        function: str,
        wire_function: bytes,
        unique: bytes,
        workload: bytes,
        background: bool = False,
        decode: Callable[[bytes], T_co] | None = None,
    ) -> None:
        self.function = function
        self.wire_function = wire_function
        self.unique = unique
        self.unique_given = False
        #: An attempt was sent, and may have run, whatever becomes of the next.
        self.in_doubt = False
        self.workload = workload
        self.priority: Any = NORMAL
        self.background = background
        #: The result is the last word alone, not what was sent before it, too.
        self.last_word_alone = False
        self.when: int | None = None
        self.reducer: bytes | None = None
        self.timeout: float | None = None
        self.retry: Retry | None = None
        self.context: Any = None
        self.callbacks: Any = None
        #: Address of the server that was asked, or None.
        self.server: Any = None
        self.state = _PENDING
        self.progress: WorkStatus | None = None
        self._causes: dict[str, str] | None = None
        self.failures = 0
        #: Lists to which the task is appended whenever something happens to it.
        self.watchers: list[Any] | None = None
        # Events that nobody has taken, but for the first and the last of a job that
        # ends well: those are made again where somebody asks.
        self._arrived: list[TaskEvent] | None = None
        self._untold_created = False
        self._untold_complete = False
        self._decode = decode
        self._result: bytes = b""
        self._error: GearmanError | None = None
        self._handle: bytes = b""

    def __repr__(self) -> str:
        handle = self._handle.decode("utf-8", "backslashreplace")
        return f"<{type(self).__name__} {self.function} {handle or '(no handle yet)'} {self.state.value}>"

    def done(self) -> bool:
        """Whether the task is over, well or not. Does not look at the network."""
        state = self.state
        return state is _COMPLETE or state is _FAILED or state is _LOST

    def is_settled(self) -> bool:
        """Whether the server has the job, or never will. Does not look at the network."""
        return self._handle != b"" or self.done()

    @property
    def causes(self) -> dict[str, str]:
        """``{address: cause}`` of the servers tried for this attempt."""
        if self._causes is None:
            self._causes = {}
        return self._causes

    def was_tried_at(self, address: Address) -> bool:
        """Whether this server was tried for this attempt, and did not take it."""
        return self._causes is not None and str(address) in self._causes

    # ── what happens ─────────────────────────────────────────────────────────

    def apply(self, event: Event) -> int:
        """Take an event of this task's request; say what its client has to do.

        Returns:
            ``GO_ON``, ``OVER``, ``MOVE`` or ``AGAIN``.
        """
        if isinstance(event, JobCreated):
            self._handle = event.handle
            self._untold_created = True
            if self.background:
                self.state = _COMPLETE
                return OVER
            self.state = _CREATED
            return GO_ON
        if isinstance(event, WorkComplete):
            self._result = event.data
            self._untold_complete = True
            self.state = _COMPLETE
            return OVER
        if isinstance(event, WorkData):
            self.state = _RUNNING
            if self.callbacks is None or self.callbacks.data is None:
                self._keep(event)
            return GO_ON
        if isinstance(event, WorkStatus):
            self.state = _RUNNING
            self.progress = event
            self._keep(event)
            return GO_ON
        if isinstance(event, WorkWarning):
            self.state = _RUNNING
            self._keep(event)
            return GO_ON
        if isinstance(event, WorkException):
            return self._failed(self._job_error(JobException, event.data), event)
        if isinstance(event, WorkFail):
            return self._failed(self._job_error(JobFailed, b""), event)
        if isinstance(event, Refused):
            return self._failed(server_error(event.code, event.text), None)
        if isinstance(event, Lost):
            return self._lost(event)
        if isinstance(event, Unanswered):
            text = f"{self.function}: the server left the submission unanswered; {IN_DOUBT}"
            return self._failed(OutcomeUnknown(text), None)
        return GO_ON

    def fail(self, error: GearmanError) -> int:
        """End the task with an error of ours, or ask for another attempt."""
        if self.in_doubt and type(error) is ServerUnavailable:
            # "Nobody took it" would be true of the last attempt alone.
            error = OutcomeUnknown(
                f"{error.message}, and an earlier attempt was sent and never answered; {IN_DOUBT}",
                error.causes,
            )
        return self._failed(error, None)

    def restart(self) -> None:
        """Begin anew: the job is about to be handed in once more."""
        self.state = _PENDING
        self.progress = None
        self._handle = b""
        self._arrived = None
        self._untold_created = False

    def _keep(self, event: TaskEvent) -> None:
        if self._arrived is None:
            self._arrived = []
        self._arrived.append(event)

    def _failed(self, error: GearmanError, event: TaskEvent | None) -> int:
        self.failures += 1
        if self.retry is not None and self.retry.wants(self.failures, error):
            self._causes = None
            return AGAIN
        if event is not None:
            self._keep(event)
        self._error = error
        self.state = _LOST if isinstance(error, (JobLost, OutcomeUnknown)) else _FAILED
        return OVER

    def _lost(self, event: Lost) -> int:
        cause = event.cause or "the server closed the connection"
        if event.stage != UNSENT:
            self.in_doubt = True
        if event.stage == CREATED:
            return self._failed(
                JobLost(
                    f"{self.function} {self.handle_text} was lost: {cause}; it may have run: submit "
                    f"it again where a second run does no harm (retry= does it)",
                    function=self.function,
                    handle=self.handle_text,
                    unique=self.unique,
                    task=self,
                ),
                None,
            )
        # A foreground job dies with its connection while it is queued; a keyed one
        # merges with itself. A background job without a key could run twice.
        if event.stage == UNSENT or not self.background or self.unique_given:
            return MOVE
        text = f"{self.function}: sent, never answered: {cause}; {IN_DOUBT}"
        return self._failed(OutcomeUnknown(text), None)

    def _not_created(self, seconds: float | None) -> SubmitTimeout:
        """The error for a submission that was not answered in time."""
        return SubmitTimeout(
            f"{self.function}: no answer within {seconds or 0:g} seconds; {IN_DOUBT}"
        )

    def _too_late(self) -> ResultTimeout:
        """The error for a result that has not come in time."""
        if not self.handle_bytes:
            return ResultTimeout(
                f"{self.function}: no server has answered in time, so there is no result; "
                f"one may have the job, and do it later"
            )
        return ResultTimeout(
            f"{self.function} {self.handle_text} has not ended in time; it goes on: wait once "
            f"more, or ask for its status"
        )

    def _job_error(self, kind: type[JobFailed], data: bytes) -> JobFailed:
        if kind is JobException:
            message, type_name, traceback = read_exception(data)
            return JobException(
                message,
                data=data,
                type_name=type_name,
                remote_traceback=traceback,
                function=self.function,
                handle=self.handle_text,
                unique=self.unique,
                task=self,
            )
        return JobFailed(
            function=self.function, handle=self.handle_text, unique=self.unique, task=self
        )

    # ── what came of it ──────────────────────────────────────────────────────

    @property
    def handle_bytes(self) -> bytes:
        """The handle on the wire; empty before JOB_CREATED."""
        return self._handle

    @property
    def handle_text(self) -> str:
        """The handle as text; empty before JOB_CREATED."""
        return self._handle.decode("utf-8", "surrogateescape")

    def take_events(self) -> list[TaskEvent]:
        """What has arrived since the last call; each event is given once."""
        # Another thread may be hearing more: looked at from the last to the first, what
        # it adds meanwhile is left for the next call, and never comes before its time.
        complete = self._untold_complete
        arrived = self._arrived
        self._arrived = None
        events: list[TaskEvent] = arrived if arrived is not None else []
        if self._untold_created:
            self._untold_created = False
            events.insert(0, JobCreated(JobHandle(self._handle)))
        if complete:
            self._untold_complete = False
            events.append(WorkComplete(self._result))
        return events

    def has_events(self) -> bool:
        """Whether ``take_events`` would give any."""
        return self._untold_created or self._untold_complete or self._arrived is not None

    def outcome(self) -> T_co:
        """The result of a task that is over.

        It is made of all WORK_DATA that nobody has taken (with ``events``,
        ``data`` or ``on_data``) and the WORK_COMPLETE payload.

        Raises:
            GearmanError: what the task ended with.
        """
        if self._error is not None:
            raise self._error
        result = self._result
        if self._arrived is not None and not self.last_word_alone:
            pieces = [event.data for event in self._arrived if isinstance(event, WorkData)]
            if pieces:
                pieces.append(result)
                result = b"".join(pieces)
        if self._decode is not None:
            return self._decode(result)
        return result  # type: ignore[return-value]

    @property
    def error(self) -> GearmanError | None:
        """What the task ended with, or None."""
        return self._error

    def tell(self, event: Event | None, over: bool) -> None:
        """Call the callback that this event is for. What it raises goes up."""
        callbacks = self.callbacks
        if callbacks is None:
            return
        if isinstance(event, WorkData):
            if callbacks.data is not None:
                callbacks.data(self, event.data)
        elif isinstance(event, WorkStatus):
            if callbacks.status is not None:
                callbacks.status(self, event)
        elif isinstance(event, WorkWarning):
            if callbacks.warning is not None:
                callbacks.warning(self, event.data)
        elif isinstance(event, JobCreated):
            if callbacks.created is not None:
                callbacks.created(self)
        if over and self._error is None:
            if callbacks.complete is not None:
                callbacks.complete(self)
        elif over and callbacks.fail is not None:
            callbacks.fail(self, self._error)
