"""What waits for an ``AsyncClient``: the event loop's half of ``engine.py``.

Everything runs in one loop, so there are no locks. What is submitted within one
turn of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from logging import getLogger
from typing import TYPE_CHECKING, Any

from geartrain.client.connection import ClientConnection
from geartrain.client.events import Event
from geartrain.client.routing import Routing
from geartrain.client.task import AGAIN, GO_ON, MOVE, OVER, BaseTask
from geartrain.errors import ConnectTimeout, ProtocolError, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.aio import AsyncStream, connect
from geartrain.transport.servers import ServerBook

if TYPE_CHECKING:
    import ssl

log = getLogger("geartrain.client")


class AsyncQuestion:
    """A request that is no job, and its one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()


class AsyncChannel:
    """The conversation with one server."""

    def __init__(self, engine: AsyncEngine, address: Address) -> None:
        self.address = address
        self.connection = ClientConnection(engine.exceptions)
        self.requests: dict[int, BaseTask[Any] | AsyncQuestion] = {}
        self.stream: AsyncStream | None = None
        self._engine = engine
        self._flushing = False

    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.stream is not None and not self.connection.closed:
            self.stream.send(self.connection.data_to_send())

    def heard(self, data: bytes) -> None:
        """Bytes have arrived."""
        try:
            events = self.connection.receive_data(data)
        except ProtocolError as error:
            self._engine.lost(self, str(error))
            return
        self._engine.apply(self, events)

    def gone(self, error: BaseException | None) -> None:
        """The connection has gone."""
        self._engine.lost(self, str(error) if error else "the server closed the connection")


class AsyncEngine:
    """Connections to all servers, in one event loop. Arguments as for ``Engine``."""

    def __init__(
        self,
        servers: tuple[Address, ...],
        routing: Routing,
        connect_timeout: float | None,
        tls: ssl.SSLContext | None,
        exceptions: bool,
    ) -> None:
        self.servers = servers
        self.exceptions = exceptions
        self.book = ServerBook()
        self.closed = False
        self._routing = routing
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._channels: dict[Address, AsyncChannel] = {}
        self._connecting: dict[Address, asyncio.Lock] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._timers: dict[BaseTask[Any], asyncio.TimerHandle] = {}

    async def submit(self, task: BaseTask[Any]) -> None:
        """Hand a job in at the best server that takes it.

        Raises:
            ServerUnavailable: none does (and the task has no attempt left).
        """
        await self._hand_in(task)
        if task.done() and task.error is not None:
            raise task.error

    async def ask(
        self, address: Address, question: Callable[[ClientConnection], int]
    ) -> AsyncQuestion:
        """Ask one server something that is no job."""
        who = AsyncQuestion()
        channel = await self._channel(address)
        channel.requests[question(channel.connection)] = who
        channel.flush_soon()
        return who

    async def _channel(self, address: Address) -> AsyncChannel:
        channel = self._channels.get(address)
        if channel is not None:
            return channel
        if self.closed:
            raise ServerUnavailable("the client is closed")
        async with self._connecting.setdefault(address, asyncio.Lock()):
            channel = self._channels.get(address)
            if channel is not None:
                return channel
            channel = AsyncChannel(self, address)
            try:
                channel.stream = await connect(
                    address, channel.heard, channel.gone, self._connect_timeout, self._tls
                )
            except (ServerUnavailable, ConnectTimeout):
                self.book.failed(address, time.monotonic(), random.random())
                raise
            self.book.succeeded(address)
            if channel.connection.closed or self.closed:
                channel.stream.abort()
                raise ServerUnavailable("connection lost", {str(address): "closed at once"})
            self._channels[address] = channel
            return channel

    # ── handing in, moving on, again ─────────────────────────────────────────

    async def _hand_in(self, task: BaseTask[Any]) -> None:
        key = task.unique if task.unique_given else b""
        order = self._routing.order(task.wire_function, key)
        for address in self.book.in_order(order, time.monotonic()):
            if task.was_tried_at(address):
                continue
            try:
                channel = await self._channel(address)
            except (ServerUnavailable, ConnectTimeout) as failure:
                causes = getattr(failure, "causes", None) or {str(address): str(failure)}
                task.causes[str(address)] = "; ".join(causes.values())
                continue
            number = channel.connection.submit(
                task.wire_function,
                task.unique,
                task.workload,
                task.priority,
                task.background,
                task.when,
                task.reducer,
            )
            channel.requests[number] = task
            task.server = address
            channel.flush_soon()
            if channel.stream is not None and channel.stream.full:
                await channel.stream.drain()
            return
        error = ServerUnavailable(f"no server took {task.function}", task.causes)
        self._carry_out(task, task.fail(error), None)

    def _carry_out(self, task: BaseTask[Any], verdict: int, event: Event | None) -> None:
        if verdict in (MOVE, AGAIN) and self.closed:
            task.retry = None
            verdict = task.fail(ServerUnavailable("the client was closed"))
        if verdict == MOVE:
            task.restart()
            self._hand_in_soon(task)
            return
        if verdict == AGAIN:
            assert task.retry is not None
            pause = task.retry.pause(task.failures, random.random())
            task.restart()
            loop = asyncio.get_running_loop()
            self._timers[task] = loop.call_later(pause, self._hand_in_soon, task)
            return
        self._tell(task, event, verdict == OVER)

    def _hand_in_soon(self, task: BaseTask[Any]) -> None:
        self._timers.pop(task, None)
        errand = asyncio.get_running_loop().create_task(self._hand_in(task))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    # ── hearing ──────────────────────────────────────────────────────────────

    def apply(self, channel: AsyncChannel, events: list[Event]) -> None:
        """Give events to whom they are for."""
        requests = channel.requests
        for event in events:
            number = getattr(event, "request", 0)
            who = requests.get(number)
            if who is None:
                continue
            if isinstance(who, AsyncQuestion):
                del requests[number]
                if not who.answer.done():
                    who.answer.set_result(event)
                continue
            verdict = who.apply(event)
            if verdict != GO_ON:
                del requests[number]
            if verdict == MOVE:
                name = str(channel.address)
                mark = f"{name} (first)"
                task_causes = who.causes
                task_causes[name if mark in task_causes else mark] = "connection lost"
            self._carry_out(who, verdict, event)

    def lost(self, channel: AsyncChannel, cause: str) -> None:
        """A connection has gone; tell everybody who waits on it."""
        if channel.connection.closed:
            return
        if self._channels.get(channel.address) is channel:
            del self._channels[channel.address]
        events = channel.connection.receive_eof(cause)
        if channel.stream is not None:
            channel.stream.abort()
        if events and not self.closed:
            log.info("connection to %s lost: %s", channel.address, cause)
        self.apply(channel, events)

    def _tell(self, task: BaseTask[Any], event: Event | None, over: bool) -> None:
        if task.watchers is not None:
            for watcher in list(task.watchers):
                watcher.append(task)
        if task.callbacks is not None:
            try:
                task.tell(event, over)
            except Exception:
                log.exception("a callback of %r failed", task)

    async def close(self) -> None:
        """Hang up everywhere."""
        self.closed = True
        for errand in list(self._errands):
            errand.cancel()
        for task, timer in list(self._timers.items()):
            timer.cancel()
            task.retry = None
            self._carry_out(task, task.fail(ServerUnavailable("the client was closed")), None)
        self._timers.clear()
        for channel in list(self._channels.values()):
            channel._flush()
            stream = channel.stream
            if stream is not None:
                stream.close()
            self.lost(channel, "the client was closed")
            if stream is not None:
                await stream.wait_closed()
