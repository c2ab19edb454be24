"""AsyncWorker: ``Worker`` for asyncio. Coroutine handlers run in the loop, plain ones in threads."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from inspect import isasyncgen, isasyncgenfunction, iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from geartrain.client.options import Seconds, count_of, flag_of, limit_of, seconds_of, text_of
from geartrain.codecs import CodecLike
from geartrain.errors import ConfigurationError, StopWorker
from geartrain.transport.address import Servers
from geartrain.transport.environment import find_servers
from geartrain.transport.tls import TLSLike, client_context
from geartrain.worker.aio_slot import AsyncLink, AsyncSlot, ThreadLink
from geartrain.worker.blame import traceback_of
from geartrain.worker.events import JobAssigned
from geartrain.worker.functions import (
    Ability,
    Decorator,
    Functions,
    Handler,
    do_job,
    end_by_stop,
    note_failure,
    payload_of,
    send_item,
)
from geartrain.worker.job import Job, _current, log

if TYPE_CHECKING:
    from typing import Self

    from geartrain.client.aio import AsyncClient
    from geartrain.client.sync import Client

H = TypeVar("H", bound=Callable[..., Any])


class AsyncWorker:
    """Does jobs for job servers, in one event loop.

    Handlers are coroutine functions, async generators, or plain functions, which
    run in threads (as many as the concurrency). Arguments as for ``Worker``, and:

    Args:
        multiplex: one connection for all jobs instead of one for each. For
            thousands of cheap jobs without time limits: a requeue, or the C
            server's one timer for each connection, then hits all that run.
    """

    def __init__(
        self,
        servers: Servers = None,
        *,
        worker_id: str | None = None,
        namespace: str = "",
        concurrency: int = 1,
        multiplex: bool = False,
        grace: Seconds = 30.0,
        tls: TLSLike = None,
        connect_timeout: Seconds | None = 4.0,
    ) -> None:
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(f"concurrency = {concurrency!r}: want 1 or more")
        self.servers = find_servers(servers)
        self.namespace = text_of(namespace, "namespace")
        self.concurrency = concurrency
        self.context: Any = None
        self.functions = Functions(self.namespace)
        self._multiplex = flag_of(multiplex, "multiplex")
        self._worker_id = "_".join(text_of(worker_id or "", "worker_id").split())
        self._grace = seconds_of(grace, "grace") or 0.0
        self._connect_timeout = limit_of(connect_timeout, "connect_timeout")
        self._tls_like = tls
        self._tls = client_context(tls)
        self._slots: list[AsyncSlot] = []
        self._own: AsyncSlot | None = None
        self._grabbed: asyncio.Future[Job] | None = None
        self._running: dict[asyncio.Task[None], Job] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._stopping = False
        self._now = False
        self._done = 0
        self._left: int | None = None
        self._client: Client | None = None
        self._aio_client: AsyncClient | None = None
        self._lock = threading.Lock()

    # ── what it can do ───────────────────────────────────────────────────────

    @overload
    def function(self, fn: H, /) -> H: ...
    @overload
    def function(
        self,
        name: str | None = None,
        /,
        *,
        timeout: Seconds | None = None,
        codec: CodecLike = "bytes",
    ) -> Decorator: ...
    def function(
        self, name: Any = None, /, *, timeout: Seconds | None = None, codec: CodecLike = "bytes"
    ) -> Any:
        """Decorator that offers a function to the servers; see ``Worker.function``."""
        return self.functions.decorate(name, timeout, codec)

    def add_function(
        self,
        name: str,
        fn: Handler,
        /,
        *,
        timeout: Seconds | None = None,
        codec: CodecLike = "bytes",
    ) -> None:
        """Offer a function, also while working; again to replace it."""
        self.functions.add(name, fn, timeout, codec)
        self._announce()

    def remove_function(self, name: str, /) -> None:
        """Offer it no more; the server gives jobs of it that run to other workers."""
        self.functions.remove(name)
        self._announce()

    def _announce(self) -> None:
        for slot in self._slots:
            slot.announce()

    # ── doing it ─────────────────────────────────────────────────────────────

    async def work(
        self,
        *,
        max_jobs: int | None = None,
        max_time: Seconds | None = None,
        burst: bool = False,
        signals: bool = True,
    ) -> int:
        """Do jobs until ``stop``, SIGTERM or SIGINT; see ``Worker.work``."""
        if not len(self.functions):
            raise ConfigurationError("a worker without functions: add one before work()")
        count_of(max_jobs, "max_jobs")
        flag_of(burst, "burst")
        flag_of(signals, "signals")
        seconds = seconds_of(max_time, "max_time")
        deadline = None if seconds is None else time.monotonic() + seconds
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._done = 0
        self._left = max_jobs
        slots, room = (1, self.concurrency) if self._multiplex else (self.concurrency, 1)
        self._slots = [self._new_slot(self._start) for _ in range(slots)]
        for slot in self._slots:
            self._hand_tickets(slot, room)
        try:
            with self._signals(signals):
                await self._until_stopped(deadline, burst)
                await self._finish()
        finally:
            for slot in self._slots:
                await slot.close()
            for running in self._running:
                running.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            self._slots = []
            self._stopping = self._now = False
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None
            await self._close_clients()
        return self._done

    async def _until_stopped(self, deadline: float | None, burst: bool) -> None:
        assert self._news is not None
        while not self._stopping:
            now = time.monotonic()
            for slot in self._slots:
                slot.tick(now)
            if not self._running and all(slot.room == 0 and slot.idle for slot in self._slots):
                return  # max_jobs: every ticket is used up
            if deadline is not None and now >= deadline:
                return
            if burst and not self._running and all(slot.nothing_to_do for slot in self._slots):
                return
            pause = 0.01 if burst else 1.0
            if deadline is not None:
                pause = min(pause, deadline - now)
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()

    async def _finish(self) -> None:
        """Ask no more, and wait for what runs or is on its way."""
        assert self._news is not None
        for slot in self._slots:
            slot.want(0)
        end = time.monotonic() + self._grace
        while self._running or not all(slot.idle for slot in self._slots):
            if self._now or time.monotonic() >= end:
                left = len(self._running)
                log.warning("%d jobs had not ended in time; servers give them to others", left)
                return
            try:
                async with asyncio.timeout(0.05):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()

    async def grab(self, timeout: Seconds | None = None) -> Job | None:  # noqa: ASYNC109
        """Get one job to do by hand; None: none came in time. See ``Worker.grab``."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        if self._own is None:
            self._own = self._new_slot(self._take)
        if self._grabbed is None or self._grabbed.cancelled():
            self._grabbed = loop.create_future()
        waiting = self._grabbed
        self._own.announce()
        self._own.tick(time.monotonic())
        self._own.want(1)
        seconds = seconds_of(timeout)
        try:
            async with asyncio.timeout(seconds):
                job = await asyncio.shield(waiting)
        except TimeoutError:
            self._own.want(0)
            end = loop.time() + 5.0
            # The answer to a GRAB that is out: a few round trips at most.
            while not self._own.idle and not waiting.done() and loop.time() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            if not waiting.done():
                return None
            job = waiting.result()
        self._grabbed = None
        self._own.want(0)
        return job

    async def work_one(self, timeout: Seconds | None = None) -> bool:  # noqa: ASYNC109
        """Do one job; False: none came in time."""
        job = await self.grab(timeout)
        if job is None:
            return False
        await self._do(job)
        return True

    def stop(self, *, now: bool = False) -> None:
        """Let ``work`` end. From any thread; see ``Worker.stop``."""
        self._stopping = True
        self._now = self._now or now
        if self._loop is not None and self._news is not None:
            try:
                self._loop.call_soon_threadsafe(self._news.set)
            except RuntimeError:  # the loop is closed: nobody works any more
                pass

    async def close(self) -> None:
        """Hang up what ``grab`` and ``work_one`` have opened."""
        if self._own is not None:
            await self._own.close()
            self._own = None
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
        await self._close_clients()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # ── inside ───────────────────────────────────────────────────────────────

    def _new_slot(self, on_job: Callable[[Job, AsyncLink], object]) -> AsyncSlot:
        return AsyncSlot(
            self.servers,
            self.functions,
            on_job,
            self._make_job,
            self._worker_id,
            self._tls,
            self._connect_timeout,
        )

    def _make_job(self, link: AsyncLink, event: JobAssigned) -> Job:
        reducer = None
        if event.reducer is not None:
            reducer = event.reducer.decode().removeprefix(self.namespace)
        return Job(
            link,
            event,
            self.functions.name_of(event.function),
            reducer,
            self.context,
            self._shared_client,
            self._shared_aio_client,
        )

    def _shared_client(self) -> Client:
        """For plain handlers, which run in threads."""
        with self._lock:
            if self._client is None:
                from geartrain.client.sync import Client

                self._client = Client(self.servers, namespace=self.namespace, tls=self._tls_like)
            return self._client

    def _shared_aio_client(self) -> AsyncClient:
        if self._aio_client is None:
            from geartrain.client.aio import AsyncClient

            self._aio_client = AsyncClient(
                self.servers, namespace=self.namespace, tls=self._tls_like
            )
        return self._aio_client

    async def _close_clients(self) -> None:
        if self._aio_client is not None:
            await self._aio_client.close()
            self._aio_client = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def _hand_tickets(self, slot: AsyncSlot, room: int) -> None:
        """Let a slot ask for as many jobs as may still be done."""
        if self._left is not None:
            room = min(room, self._left)
            self._left -= room
        slot.want(room)

    def _take(self, job: Job, link: AsyncLink) -> None:
        if self._grabbed is not None and not self._grabbed.done():
            self._grabbed.set_result(job)
        else:  # nobody waits for it any more
            job.requeue()

    def _start(self, job: Job, link: AsyncLink) -> None:
        slot = link._slot
        if self._left is not None:
            if self._left > 0:
                self._left -= 1
            else:
                slot.want(slot.room - 1)
        assert self._loop is not None
        task = self._loop.create_task(self._do(job))
        self._running[task] = job
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if self._news is not None:
            self._news.set()

    async def _do(self, job: Job) -> None:
        ability = self.functions.find(job.wire_function)
        if ability is None:  # removed while the job was on its way
            job.requeue()
            return
        link = job._link
        if iscoroutinefunction(ability.handler) or isasyncgenfunction(ability.handler):
            what = await _do_job(ability, job)
        else:
            what = await self._do_in_thread(ability, job)
        self._done += 1
        if isinstance(link, AsyncLink):
            link.jobs.pop(job._wire_handle, None)
            link._slot.pass_the_turn(None)
        if isinstance(what, StopWorker):
            self.stop()

    async def _do_in_thread(self, ability: Ability, job: Job) -> BaseException | None:
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.concurrency, "gearman")
        link = job._link
        assert isinstance(link, AsyncLink)
        job.speak_through(ThreadLink(link, loop))
        try:
            return await loop.run_in_executor(self._threads, do_job, ability, job)
        finally:
            job.speak_through(link)

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        """Let the first SIGTERM or SIGINT stop gracefully, and the second at once."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return
        assert self._loop is not None
        numbers = (signal.SIGTERM, signal.SIGINT)
        try:
            for number in numbers:
                self._loop.add_signal_handler(number, lambda: self.stop(now=self._stopping))
        except (NotImplementedError, RuntimeError):
            yield
            return
        try:
            yield
        finally:
            for number in numbers:
                self._loop.remove_signal_handler(number)


async def _do_job(ability: Ability, job: Job) -> BaseException | None:
    """``do_job`` for coroutine handlers and async generators."""
    token = _current.set(job)
    try:
        if ability.codec.name != "bytes":
            job.args = ability.codec.decode(job.workload)
        result = ability.handler(job)
        if isasyncgen(result):
            # The last word of an async generator is always empty: it cannot
            # return a value.
            async for item in result:
                send_item(item, job)
            if not job.ended:
                job.send_complete()
        else:
            result = await result
            if not job.ended:
                job.send_complete(payload_of(result, ability.codec))
    except StopWorker as stop:
        end_by_stop(ability, job, stop)
        return stop
    except asyncio.CancelledError as error:
        job.end_with(error)
        raise
    except Exception as error:
        note_failure(job, error)
        job.end_with(error, traceback_of(error))
    finally:
        _current.reset(token)
    return None
