"""AsyncTask: a submitted job that a coroutine can wait for; AsyncTaskSet: many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, Unpack

from geartrain.client.events import TaskEvent, WorkComplete, WorkData, WorkException, WorkFail
from geartrain.client.handle import Handle
from geartrain.client.options import Buffer, Seconds, SubmitOptions, seconds_of
from geartrain.client.status import JobStatus
from geartrain.client.task import BaseTask
from geartrain.client.waiting import NO_TIMEOUT
from geartrain.errors import GearmanError, ResultTimeout

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Bell:
    """A watcher that wakes whoever waits for news."""

    def __init__(self) -> None:
        self.news: list[Any] = []
        self._waiting: asyncio.Future[None] | None = None

    def append(self, task: Any) -> None:
        """Something has happened to this task."""
        self.news.append(task)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self) -> None:
        """Wait until there is news."""
        while not self.news:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def take(self) -> list[Any]:
        """The tasks to which something has happened."""
        news, self.news = self.news, []
        return news


class AsyncOwner(Protocol):
    """What tasks need of the client that submitted them."""

    async def status(self, handle: Handle, /) -> JobStatus:
        """How far a job is."""

    async def cancel(self, handle: Handle, /) -> bool:
        """Take a job out of its queue."""

    async def submit(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> AsyncTask[bytes]:
        """Submit a job."""

    async def wait(
        self,
        tasks: Iterable[AsyncTask[T]],
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109
    ) -> tuple[set[AsyncTask[T]], set[AsyncTask[T]]]:
        """Wait for tasks; return those that are over, and the others."""


class AsyncTask(BaseTask[T_co], Generic[T_co]):
    """A job that was submitted by an ``AsyncClient``; ``await`` it for its result.

    ``timeout`` left out means what was given when the job was submitted.
    """

    __slots__ = ("_client",)

    _client: AsyncOwner

    @property
    def handle(self) -> Handle | None:
        """The job's handle, with its server; None before JOB_CREATED."""
        return Handle(self.handle_text, self.server) if self.handle_bytes else None

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.result().__await__()

    async def result(self, timeout: Seconds | None = NO_TIMEOUT) -> T_co:  # noqa: ASYNC109
        """Wait for the end of the job, and return its result; see ``Task.result``."""
        if not self.done():
            await self._wait(timeout)
        return self.outcome()

    async def exception(
        self,
        timeout: Seconds | None = NO_TIMEOUT,  # noqa: ASYNC109
    ) -> GearmanError | None:
        """Wait for the end of the job, and return what ``result`` would raise, or None."""
        if not self.done():
            await self._wait(timeout)
        return self.error

    async def wait_created(self, timeout: Seconds | None = None) -> Handle:  # noqa: ASYNC109
        """Wait until the server has the job; errors as in ``Task.wait_created``."""
        bell = self.watch()
        try:
            async with asyncio.timeout(seconds_of(timeout)):
                while not self.handle_bytes and not self.done():
                    await bell.wait()
                    bell.take()
        except TimeoutError:
            raise self._not_created(seconds_of(timeout)) from None
        finally:
            self.unwatch(bell)
        if not self.handle_bytes and self.error is not None:
            raise self.error
        handle = self.handle
        assert handle is not None
        return handle

    async def events(
        self,
        timeout: Seconds | None = NO_TIMEOUT,  # noqa: ASYNC109
    ) -> AsyncIterator[TaskEvent]:
        """What happens, as it happens; each event is given once; see ``Task.events``."""
        loop = asyncio.get_running_loop()
        seconds = self.timeout if timeout is NO_TIMEOUT else seconds_of(timeout)
        end = None if seconds is None else loop.time() + seconds
        told = False
        bell = self.watch()
        try:
            while True:
                over = self.done()
                for event in self.take_events():
                    told = isinstance(event, (WorkComplete, WorkFail, WorkException))
                    yield event
                if over:
                    break
                try:
                    async with asyncio.timeout_at(end):
                        await bell.wait()
                except TimeoutError:
                    raise self._too_late() from None
                bell.take()
        finally:
            self.unwatch(bell)
        if not told and self.error is not None:
            raise self.error

    async def data(
        self,
        timeout: Seconds | None = NO_TIMEOUT,  # noqa: ASYNC109
    ) -> AsyncIterator[bytes]:
        """The pieces of the result as they come; see ``Task.data``."""
        async for event in self.events(timeout):
            if isinstance(event, WorkData) or (isinstance(event, WorkComplete) and event.data):
                yield event.data
        if self.error is not None:
            raise self.error

    async def status(self) -> JobStatus:
        """Ask the server how far the job is."""
        return await self._client.status(await self.wait_created())

    async def cancel(self) -> bool:
        """Take the job out of its queue; False: it runs already, or is over."""
        return await self._client.cancel(await self.wait_created())

    def add_done_callback(self, fn: Callable[[AsyncTask[T_co]], object], /) -> None:
        """Have the loop call ``fn(task)`` soon after the task is over."""
        loop = asyncio.get_running_loop()
        if self.done():
            loop.call_soon(fn, self)
        else:
            self.watch(_Caller(self, fn, loop))

    def watch(self, watcher: Any = None) -> Any:
        """Have a watcher (a new bell, where none is given) told of all that happens."""
        if watcher is None:
            watcher = Bell()
        if self.watchers is None:
            self.watchers = []
        self.watchers.append(watcher)
        return watcher

    def unwatch(self, watcher: Any) -> None:
        """The opposite of ``watch``."""
        if self.watchers is not None and watcher in self.watchers:
            self.watchers.remove(watcher)

    async def _wait(self, limit: Seconds | None) -> None:
        seconds = self.timeout if limit is NO_TIMEOUT else seconds_of(limit)
        bell = self.watch()
        try:
            if seconds is None:
                while not self.done():
                    await bell.wait()
                    bell.take()
                return
            async with asyncio.timeout(seconds):
                while not self.done():
                    await bell.wait()
                    bell.take()
        except TimeoutError:
            raise self._too_late() from None
        finally:
            self.unwatch(bell)


class _Caller:
    """A watcher that calls a function, once, when its task is over."""

    def __init__(
        self, task: AsyncTask[Any], fn: Callable[[Any], object], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._task = task
        self._fn: Callable[[Any], object] | None = fn
        self._loop = loop

    def append(self, task: object) -> None:
        if self._task.done() and self._fn is not None:
            fn, self._fn = self._fn, None
            self._loop.call_soon(fn, self._task)


class AsyncBatch:
    """On a loop what is submitted within one turn leaves together anyway; see ``Client.batch``."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        return

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return


class AsyncTaskSet:
    """Tasks that belong together; see ``TaskSet``.

    ::

        async with client.task_set() as ts:
            for image in images:
                await ts.submit("resize", image)
    """

    def __init__(self, client: AsyncOwner, timeout: Seconds | None = None) -> None:
        self._client = client
        self._timeout = timeout
        self.tasks: list[AsyncTask[Any]] = []

    async def submit(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> AsyncTask[bytes]:
        """As ``AsyncClient.submit``."""
        task = await self._client.submit(function, workload, **options)
        self.tasks.append(task)
        return task

    def add(self, task: AsyncTask[T]) -> AsyncTask[T]:
        """Wait for a task that was submitted elsewhere, too."""
        self.tasks.append(task)
        return task

    def __iter__(self) -> Iterator[AsyncTask[Any]]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    async def __aenter__(self) -> AsyncTaskSet:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        _, left = await self._client.wait(self.tasks, timeout=self._timeout)
        errors: list[Exception] = [task.error for task in self.tasks if task.error is not None]
        if left:
            errors.append(ResultTimeout(f"{len(left)} of {len(self.tasks)} jobs have not ended"))
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self.tasks)} jobs failed", errors)
