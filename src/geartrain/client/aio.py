"""AsyncClient: ``Client`` for asyncio, with the same names.

What is awaited: everything that may touch the network, ``submit`` included, since
it may have to connect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, get_args

from geartrain.client.aio_engine import AsyncEngine, AsyncQuestion
from geartrain.client.aio_flow import flow
from geartrain.client.aio_waiting import AsyncBatch, AsyncTask, AsyncTaskSet, Bell
from geartrain.client.connection import ClientConnection
from geartrain.client.events import (
    EchoReply,
    Event,
    LineReply,
    StatusReply,
    TaskEvent,
)
from geartrain.client.handle import Handle
from geartrain.client.options import (
    BackgroundOptions,
    Buffer,
    Seconds,
    SubmitOptions,
    WireNames,
    apply_options,
    bytes_of,
    check_many,
    flag_of,
    handle_bytes_of,
    handle_of,
    limit_of,
    no_task,
    seconds_of,
    text_of,
)
from geartrain.client.remote import AsyncRemoteFunction
from geartrain.client.routing import Routing, RoutingName
from geartrain.client.status import JobStatus, status_of
from geartrain.client.survey import Survey, has_worker
from geartrain.client.sync import ReturnWhen, _keys, _nothing, _servers_of
from geartrain.codecs import CodecLike
from geartrain.errors import (
    GearmanTimeout,
    NoWorkers,
    ResultTimeout,
    ServerUnavailable,
    SubmitTimeout,
)
from geartrain.retry import Retry, retry_of
from geartrain.transport.address import Address, Servers
from geartrain.transport.environment import find_servers
from geartrain.transport.tls import TLSLike, client_context

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")


class AsyncClient:
    """Asks job servers for work, within one event loop. Arguments as for ``Client``."""

    def __init__(
        self,
        servers: Servers = None,
        *,
        namespace: str = "",
        timeout: Seconds | None = None,
        connect_timeout: Seconds | None = 4.0,
        submit_timeout: Seconds | None = 30.0,
        retry: Retry | int = 0,
        routing: RoutingName = "hash",
        tls: TLSLike = None,
        exceptions: bool = True,
        require_worker: bool = False,
    ) -> None:
        self.servers = find_servers(servers)
        self.namespace = text_of(namespace, "namespace")
        self._names = WireNames(self.namespace)
        self._timeout = seconds_of(timeout)
        self.submit_timeout = limit_of(submit_timeout, "submit_timeout")
        self._retry = retry_of(retry)
        self._require_worker = flag_of(require_worker, "require_worker")
        self.engine = AsyncEngine(
            self.servers,
            Routing(self.servers, routing),
            limit_of(connect_timeout, "connect_timeout"),
            client_context(tls),
            flag_of(exceptions, "exceptions"),
        )

    # ── the four verbs ───────────────────────────────────────────────────────

    async def do(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> bytes:
        """Submit a job and wait for its result; errors as in ``Client.do``."""
        return await (await self.submit(function, workload, **options)).result()

    async def do_background(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[BackgroundOptions]
    ) -> Handle:
        """Submit a job that nobody waits for; return once the server has it."""
        task = await self.submit_background(function, workload, **options)
        return await task.wait_created(options.get("timeout", self.submit_timeout))

    async def submit(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> AsyncTask[bytes]:
        """Submit a job; return as soon as it is on its way."""
        return await self.hand_in(function, bytes_of(workload), options, False, None)

    async def submit_background(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[BackgroundOptions]
    ) -> AsyncTask[None]:
        """Submit a job that nobody waits for; the task is done at JOB_CREATED."""
        return await self.hand_in(function, bytes_of(workload), options, True, _nothing)

    async def submit_decoded(
        self,
        function: str,
        workload: bytes,
        decode: Callable[[bytes], T],
        /,
        **options: Unpack[SubmitOptions],
    ) -> AsyncTask[T]:
        """``submit`` for layers above: the task's result is ``decode(result)``."""
        return await self.hand_in(function, workload, options, False, decode)

    def function(self, name: str, *, codec: CodecLike = "bytes") -> AsyncRemoteFunction[Any]:
        """A function to be asked for values: ``await client.function("add", codec="json").do([1])``."""
        return AsyncRemoteFunction(self, name, codec)

    async def hand_in(
        self,
        function: str,
        workload: bytes,
        options: SubmitOptions | BackgroundOptions,
        background: bool,
        decode: Callable[[bytes], T] | None,
        last_word_alone: bool = False,
    ) -> AsyncTask[Any]:
        """What all the ways to submit come to, for layers above; see ``Client.hand_in``."""
        wire_name = self._names.get(function) if type(function) is str else None
        if wire_name is None:
            wire_name = self._names.learn(function)
        # By position: a compiled class takes names apart at eight times the cost.
        task: AsyncTask[Any] = AsyncTask(function, wire_name, b"", workload, background, decode)
        task._client = self
        task.last_word_alone = last_word_alone
        task.retry = self._retry
        task.timeout = self._timeout
        if options:
            apply_options(task, options, self._retry, time.time())
            if task.reducer is not None and self.namespace:
                task.reducer = self.namespace.encode() + task.reducer
        if not task.unique:
            task.unique = _keys.next()
        if self._require_worker:
            await self._check_for_workers(task)
        await self.engine.submit(task)
        return task

    async def _check_for_workers(self, task: AsyncTask[Any]) -> None:
        name = task.wire_function.decode()
        async for answer in self._ask_all(lambda c: c.admin(b"status"), LineReply):
            if has_worker(answer.lines, name):
                return
        raise NoWorkers(task.function)

    # ── many at once ─────────────────────────────────────────────────────────

    def map(
        self,
        function: str,
        workloads: Iterable[Buffer] | AsyncIterable[Buffer],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[bytes]:
        """The results of one function over many workloads; see ``Client.map``."""
        check_many(workloads, window, "workloads", ordered)
        return flow(
            workloads,
            lambda workload: self.hand_in(function, bytes_of(workload), options, False, None),
            window,
            ordered,
        )

    def task_set(self, *, timeout: Seconds | None = None) -> AsyncTaskSet:
        """An async context manager that waits for all tasks submitted through it."""
        return AsyncTaskSet(self, timeout)

    def batch(self) -> AsyncBatch:
        """For likeness with ``Client.batch``: on a loop, what is submitted within one turn
        leaves together without it.
        """
        return AsyncBatch()

    async def as_completed(
        self,
        tasks: Iterable[AsyncTask[T]],
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109
    ) -> AsyncGenerator[AsyncTask[T], None]:
        """Each task when it is over, in that order.

        Raises:
            ResultTimeout: some are not over in time.
        """
        async with aclosing(self._news(tasks, seconds_of(timeout))) as news:
            async for task in news:
                if task.done():
                    yield task

    async def events(
        self,
        tasks: Iterable[AsyncTask[Any]],
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109
    ) -> AsyncIterator[tuple[AsyncTask[Any], TaskEvent]]:
        """What happens to any of the tasks, as it happens; ends when all are over."""
        async with aclosing(self._news(tasks, seconds_of(timeout))) as news:
            async for task in news:
                for event in task.take_events():
                    yield task, event

    async def _news(
        self, tasks: Iterable[AsyncTask[T]], seconds: float | None
    ) -> AsyncGenerator[AsyncTask[T], None]:
        """Each task when something has happened to it, until all are over."""
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        bell = Bell()
        left: set[AsyncTask[T]] = set(tasks)
        for found in left:
            if not isinstance(found, AsyncTask):
                raise no_task(found)
        for task in left:
            task.watch(bell)
            bell.append(task)
        try:
            while left:
                try:
                    async with asyncio.timeout_at(end):
                        await bell.wait()
                except TimeoutError:
                    raise ResultTimeout(f"{len(left)} jobs have not ended in time") from None
                for task in bell.take():
                    if task in left:
                        if task.done():
                            left.discard(task)
                        yield task
        finally:
            for task in left:
                task.unwatch(bell)

    async def wait(
        self,
        tasks: Iterable[AsyncTask[T]],
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109
        return_when: ReturnWhen = "ALL_COMPLETED",
    ) -> tuple[set[AsyncTask[T]], set[AsyncTask[T]]]:
        """Wait for tasks; return those that are over, and the others. No failure of theirs is raised."""
        if return_when not in get_args(ReturnWhen):
            raise ValueError(
                f"return_when = {return_when!r}: want {', '.join(get_args(ReturnWhen))}"
            )
        everything = set(tasks)
        try:
            async with aclosing(self.as_completed(everything, timeout=timeout)) as completed:
                async for task in completed:
                    if return_when == "FIRST_COMPLETED" or (
                        return_when == "FIRST_EXCEPTION" and task.error is not None
                    ):
                        break
        except ResultTimeout:
            pass
        done = {task for task in everything if task.done()}
        return done, everything - done

    async def gather(
        self,
        tasks: Iterable[AsyncTask[T]],
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109
    ) -> list[T]:
        """All results, in the order of the tasks; errors as in ``Client.gather``."""
        listed = list(tasks)
        _, left = await self.wait(listed, timeout=timeout)
        if left:
            raise ResultTimeout(f"{len(left)} of {len(listed)} jobs have not ended in time")
        return [task.outcome() for task in listed]

    # ── questions ────────────────────────────────────────────────────────────

    async def status(
        self, handle: Handle | str | None = None, /, *, unique: str | bytes | None = None
    ) -> JobStatus:
        """How far a job is; see ``Client.status``."""
        if (handle is None) == (unique is None):
            raise TypeError("status() takes a handle or a unique key")
        job = None if handle is None else handle_of(handle)
        if job is not None:
            name = handle_bytes_of(job)
            found = await self._first_known(_servers_of(job), lambda c: c.get_status(name))
        else:
            key = bytes_of(unique or b"", "unique")
            found = await self._first_known(None, lambda c: c.get_status_unique(key))
        return status_of(job, found)

    async def cancel(self, handle: Handle | str, /) -> bool:
        """Take a job out of its queue; see ``Client.cancel``."""
        job = handle_of(handle)
        name = handle_bytes_of(job)
        found = False
        async for answer in self._ask_all(
            lambda c: c.admin(b"cancel job " + name), LineReply, _servers_of(job)
        ):
            found = found or answer.lines[0].startswith("OK")
        return found

    async def ping(self, payload: bytes = b"ping") -> float:
        """Seconds that the first server in order takes to give the same bytes back."""
        start = time.perf_counter()
        async for _ in self._ask_all(lambda c: c.echo(payload), EchoReply, limit=1):
            pass
        return time.perf_counter() - start

    async def _first_known(
        self, servers: tuple[Address, ...] | None, question: Callable[[ClientConnection], int]
    ) -> StatusReply:
        first: StatusReply | None = None
        async for answer in self._ask_all(question, StatusReply, servers):
            if answer.known:
                return answer
            first = first or answer
        assert first is not None
        return first

    async def _ask_all(
        self,
        question: Callable[[ClientConnection], int],
        kind: type[T],
        servers: tuple[Address, ...] | None = None,
        limit: int = 0,
    ) -> AsyncIterator[T]:
        survey = Survey(kind, limit)
        for address in servers or self.engine.book.in_order(self.servers, time.monotonic()):
            try:
                answer = await self._answer(await self.engine.ask(address, question))
            except (ServerUnavailable, GearmanTimeout) as error:
                survey.failed(address, error)
                continue
            found = survey.heard(address, answer)
            if found is not None:
                yield found
                if survey.complete:
                    return
        survey.check()

    async def _answer(self, question: AsyncQuestion) -> Event:
        try:
            async with asyncio.timeout(self.submit_timeout):
                return await question.answer
        except TimeoutError:
            raise SubmitTimeout("the server has not answered in time") from None

    # ── the end ──────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """Hang up. Foreground jobs that still wait in a queue are dropped by their servers."""
        await self.engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {','.join(map(str, self.servers))}>"
