"""Task: a submitted job that a thread can wait for; TaskSet: many of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, Unpack

from geartrain.client.engine import Engine
from geartrain.client.events import TaskEvent, WorkComplete, WorkData, WorkException, WorkFail
from geartrain.client.handle import Handle
from geartrain.client.options import Buffer, Seconds, SubmitOptions, seconds_of
from geartrain.client.status import JobStatus
from geartrain.client.task import BaseTask
from geartrain.errors import GearmanError, ResultTimeout

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

NO_TIMEOUT: Any = object()


def deadline_of(timeout: Seconds | None) -> float | None:
    """Seconds from now -> time of ``time.monotonic()``."""
    seconds = seconds_of(timeout)
    return None if seconds is None else time.monotonic() + seconds


class Owner(Protocol):
    """What tasks need of the client that submitted them."""

    @property
    def engine(self) -> Engine:
        """What waits."""

    def status(self, handle: Handle, /) -> JobStatus:
        """How far a job is."""

    def cancel(self, handle: Handle, /) -> bool:
        """Take a job out of its queue."""

    def submit(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> Task[bytes]:
        """Submit a job and return at once."""

    def wait(
        self, tasks: Iterable[Task[T]], *, timeout: Seconds | None = None
    ) -> tuple[set[Task[T]], set[Task[T]]]:
        """Wait for tasks; return those that are over, and the others."""


class Task(BaseTask[T_co], Generic[T_co]):
    """A job that was submitted by a ``Client``.

    ``timeout`` left out means what was given when the job was submitted.
    """

    __slots__ = ("_client",)

    _client: Owner

    @property
    def handle(self) -> Handle | None:
        """The job's handle, with its server; None before JOB_CREATED."""
        return Handle(self.handle_text, self.server) if self.handle_bytes else None

    def result(self, timeout: Seconds | None = NO_TIMEOUT) -> T_co:
        """Wait for the end of the job, and return its result.

        It is made of every WORK_DATA that nobody has taken yet (by ``events``,
        ``data`` or ``on_data``), followed by the WORK_COMPLETE payload.

        Raises:
            ResultTimeout: it has not ended; it goes on.
            JobFailed, JobException, JobLost: how it ended.
            ServerError, ServerUnavailable, OutcomeUnknown: it was not accepted.
        """
        self._wait(timeout)
        return self.outcome()

    def exception(self, timeout: Seconds | None = NO_TIMEOUT) -> GearmanError | None:
        """Wait for the end of the job, and return what ``result`` would raise, or None.

        Raises:
            ResultTimeout: it has not ended.
        """
        self._wait(timeout)
        return self.error

    def wait_created(self, timeout: Seconds | None = None) -> Handle:
        """Wait until the server has the job.

        Raises:
            SubmitTimeout: no answer; the server may have it or not.
            ServerError, ServerUnavailable, OutcomeUnknown: it was not accepted.
        """
        if not self.is_settled() and not self._client.engine.wait(
            self.is_settled, deadline_of(timeout)
        ):
            raise self._not_created(seconds_of(timeout))
        if not self.handle_bytes and self.error is not None:
            raise self.error
        return Handle(self.handle_text, self.server)

    def events(self, timeout: Seconds | None = NO_TIMEOUT) -> Iterator[TaskEvent]:
        """What happens, as it happens; each event is given once. Ends with the job.

        Raises:
            ResultTimeout: the job has not ended in time.
            JobLost, ServerError, ServerUnavailable: it ended without an event.
        """
        deadline = self._deadline(timeout)
        told = False
        while True:
            over = self.done()
            for event in self.take_events():
                told = isinstance(event, (WorkComplete, WorkFail, WorkException))
                yield event
            if over:
                break
            if not self._client.engine.wait(lambda: self.has_events() or self.done(), deadline):
                raise self._too_late()
        if not told and self.error is not None:
            raise self.error

    def data(self, timeout: Seconds | None = NO_TIMEOUT) -> Iterator[bytes]:
        """The pieces of the result as they come: WORK_DATA, then WORK_COMPLETE if not empty.

        Raises:
            ResultTimeout: the job has not ended in time.
            JobFailed: and all the others that ``result`` raises.
        """
        for event in self.events(timeout):
            if isinstance(event, WorkData) or (isinstance(event, WorkComplete) and event.data):
                yield event.data
        if self.error is not None:
            raise self.error

    def status(self) -> JobStatus:
        """Ask the server how far the job is."""
        return self._client.status(self.wait_created())

    def cancel(self) -> bool:
        """Take the job out of its queue; False: it runs already, or is over."""
        return self._client.cancel(self.wait_created())

    def add_done_callback(self, fn: Callable[[Task[T_co]], object], /) -> None:
        """Call ``fn(task)`` when the task is over; at once if it is.

        It is called by a thread that waits for this client.
        """
        if self.done():
            fn(self)
            return
        self._client.engine.watch(self, _Caller(self, fn, self._client))

    def _deadline(self, timeout: Seconds | None) -> float | None:
        return deadline_of(self.timeout if timeout is NO_TIMEOUT else timeout)

    def _wait(self, timeout: Seconds | None) -> None:
        if not self.done() and not self._client.engine.wait(self.done, self._deadline(timeout)):
            raise self._too_late()


class _Caller:
    """A watcher that calls a function, once, when its task is over."""

    def __init__(self, task: Task[Any], fn: Callable[[Task[Any]], object], client: Owner) -> None:
        self._task = task
        self._fn: Callable[[Task[Any]], object] | None = fn
        self._client = client

    def append(self, task: object) -> None:
        if self._task.done() and self._fn is not None:
            fn, self._fn = self._fn, None
            self._client.engine.call_later(fn, self._task)


class Batch:
    """While it lasts, what its thread submits is gathered; see ``Client.batch``."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        self._engine.begin_batch()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.end_batch()


class TaskSet:
    """Tasks that belong together; leaving the ``with`` block waits for all of them.

    ::

        with client.task_set() as ts:
            for image in images:
                ts.submit("resize", image)

    If some fail, the block ends with an ``ExceptionGroup`` of their errors, after
    the others are done. If the block itself raises, it does not wait.
    """

    def __init__(self, client: Owner, timeout: Seconds | None = None) -> None:
        self._client = client
        self._timeout = timeout
        self.tasks: list[Task[Any]] = []

    def submit(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> Task[bytes]:
        """As ``Client.submit``."""
        task = self._client.submit(function, workload, **options)
        self.tasks.append(task)
        return task

    def add(self, task: Task[T]) -> Task[T]:
        """Wait for a task that was submitted elsewhere, too."""
        self.tasks.append(task)
        return task

    def __iter__(self) -> Iterator[Task[Any]]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __enter__(self) -> TaskSet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        _, left = self._client.wait(self.tasks, timeout=self._timeout)
        errors: list[Exception] = [task.error for task in self.tasks if task.error is not None]
        if left:
            errors.append(ResultTimeout(f"{len(left)} of {len(self.tasks)} jobs have not ended"))
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self.tasks)} jobs failed", errors)
