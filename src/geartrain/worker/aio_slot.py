"""A slot of an ``AsyncWorker``: one connection to each server, and ``room`` for jobs.

The rules are those of ``slot.py``; here the event loop calls, and nobody waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geartrain.errors import ConnectTimeout, ProtocolError, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.aio import AsyncStream, connect
from geartrain.transport.servers import ServerBook
from geartrain.worker.absence import is_away, is_here
from geartrain.worker.connection import WorkerConnection
from geartrain.worker.events import (
    Complaint,
    FellAsleep,
    JobAssigned,
    JobTaken,
    ServerVersion,
    Woken,
)
from geartrain.worker.functions import Functions
from geartrain.worker.job import Job, log
from geartrain.worker.slot import VERSION_SECONDS
from geartrain.worker.versions import timeouts_in_seconds

if TYPE_CHECKING:
    import ssl


class AsyncLink:
    """A slot's connection to one server; connected or not."""

    def __init__(self, slot: AsyncSlot, address: Address) -> None:
        self.address = address
        self.connection = WorkerConnection()
        self.connection.closed = True
        self.stream: AsyncStream | None = None
        self.announced = -1
        self.jobs: dict[bytes, Job] = {}
        self.version: asyncio.Future[str] | None = None
        self.gone = asyncio.Event()
        self._slot = slot
        self._pushing = False

    def push(self) -> None:
        """Send at the end of this turn of the loop."""
        if not self._pushing:
            self._pushing = True
            self._slot.loop.call_soon(self.push_now)

    def push_now(self) -> None:
        """Send what the connection has to send."""
        self._pushing = False
        if self.stream is not None:
            pieces = self.connection.data_to_send()
            if pieces:
                self.stream.send(pieces)

    def hang_up(self) -> None:
        """Close the connection; the server gives its jobs to other workers."""
        self.push_now()
        if self.stream is not None:
            self.stream.close()
        self.lost(None)

    def heard(self, data: bytes) -> None:
        """Bytes have arrived."""
        try:
            events = self.connection.receive_data(data)
        except ProtocolError as error:
            log.warning("%s: %s", self.address, error)
            if self.stream is not None:
                self.stream.abort()
            return
        for event in events:
            if isinstance(event, JobAssigned):
                self._slot.assigned(self, event)
            elif isinstance(event, (FellAsleep, Woken)):
                self._slot.pass_the_turn(self if isinstance(event, Woken) else None)
            elif isinstance(event, JobTaken):
                job = self.jobs.get(event.handle)
                if job is not None:
                    job.taken = True
                log.warning("%s refuses a report: %s", self.address, event.text)
            elif isinstance(event, ServerVersion):
                if self.version is not None and not self.version.done():
                    self.version.set_result(event.version)
            elif isinstance(event, Complaint):
                log.warning("%s says %s: %s", self.address, event.code, event.text)
        self.push_now()

    def lost(self, error: BaseException | None) -> None:
        """The connection has gone, by our will or not."""
        if self.connection.closed:
            return
        self.stream = None
        handles = self.connection.receive_eof()
        self.jobs.clear()
        if handles and not self._slot.closed:
            log.warning("connection to %s lost with %d jobs: %s", self.address, len(handles), error)
        self.gone.set()
        self._slot.pass_the_turn(None)


class AsyncSlot:
    """Gets jobs, as many at once as there is room for.

    Args:
        servers, functions: where from, and what.
        on_job: called with each job.
        make_job: turns an assignment into a ``Job``.
        room: jobs at once.
    """

    def __init__(
        self,
        servers: tuple[Address, ...],
        functions: Functions,
        on_job: Callable[[Job, AsyncLink], object],
        make_job: Callable[[AsyncLink, JobAssigned], Job],
        name: str,
        tls: ssl.SSLContext | None,
        connect_timeout: float | None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.room = 0
        self._functions = functions
        self._on_job = on_job
        self._make_job = make_job
        self._name = name
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._book = ServerBook()
        self.links = [AsyncLink(self, address) for address in servers]
        self._turn = self.links[0]
        self._tried: set[Address] = set()
        self._keepers = [self.loop.create_task(self._keep(link)) for link in self.links]

    def want(self, room: int) -> None:
        """Have so many jobs at once; 0 to ask no more."""
        self.room = room
        self.pass_the_turn(None)

    def pass_the_turn(self, woken: AsyncLink | None) -> None:
        """Let the right connection ask: this one, or the next that may have something."""
        if woken is not None and (self._turn.stream is None or self._turn.connection.asleep):
            self._turn = woken
        turn = self._turn
        if len(self.links) > 1 and (turn.stream is None or turn.connection.asleep):
            at = self.links.index(turn)
            for link in self.links[at + 1 :] + self.links[:at]:
                if link.stream is not None and not link.connection.asleep:
                    turn = self._turn = link
                    break
        elsewhere = sum(link.connection.running for link in self.links if link is not turn)
        for link in self.links:
            if link.stream is not None:
                link.connection.want(max(0, self.room - elsewhere) if link is turn else 0)
                link.push()

    def assigned(self, link: AsyncLink, event: JobAssigned) -> None:
        """A job has come."""
        job = self._make_job(link, event)
        link.jobs[event.handle] = job
        self._on_job(job, link)

    def announce(self) -> None:
        """Tell every server what we can do, where that has changed."""
        for link in self.links:
            if link.stream is not None and link.announced != self._functions.changes:
                link.announced = self._functions.changes
                link.connection.announce(self._functions.on_the_wire())
                link.push()

    def tick(self, now: float) -> None:
        """Let time pass; about once a second is enough."""
        for link in self.links:
            if link.stream is not None:
                link.connection.tick(now)
                link.push()

    @property
    def nothing_to_do(self) -> bool:
        """Every server has been tried, and those that are up have no job for us."""
        return len(self._tried) == len(self.links) and all(
            link.connection.asleep for link in self.links if link.stream is not None
        )

    @property
    def idle(self) -> bool:
        """No job here, and none on its way."""
        return all(link.connection.idle for link in self.links if link.stream is not None)

    async def close(self) -> None:
        """Hang up everywhere."""
        self.closed = True
        for keeper in self._keepers:
            keeper.cancel()
        streams = [link.stream for link in self.links]
        for link in self.links:
            link.hang_up()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for stream in streams:
            if stream is not None:
                await stream.wait_closed()

    async def _keep(self, link: AsyncLink) -> None:
        """Keep one connection up, for as long as the slot lives."""
        while True:
            try:
                await self._open(link)
            except (ServerUnavailable, ConnectTimeout, OSError) as error:
                now = time.monotonic()
                pause = self._book.failed(link.address, now, random.random())
                is_away(link.address, error, pause, now)
                self._tried.add(link.address)
                self.pass_the_turn(None)
                await asyncio.sleep(pause)
                continue
            self._book.succeeded(link.address)
            is_here(link.address)
            self.announce()
            self.pass_the_turn(None)
            self._tried.add(link.address)
            await link.gone.wait()
            await asyncio.sleep(random.random() * 0.1)

    async def _open(self, link: AsyncLink) -> None:
        link.gone.clear()
        link.announced = -1
        mode = link.connection.grab_mode
        connection = WorkerConnection(mode)
        stream = await connect(
            link.address, link.heard, link.lost, self._connect_timeout, self._tls
        )
        link.connection = connection
        connection.tick(time.monotonic())
        if self._name:
            connection.set_client_id(self._name.encode())
        if any(self._functions.on_the_wire().values()):
            version: asyncio.Future[str] = self.loop.create_future()
            link.version = version
            connection.ask_version()
            stream.send(connection.data_to_send())
            try:
                async with asyncio.timeout(VERSION_SECONDS):
                    connection.timeouts_in_seconds = timeouts_in_seconds(await version)
            except TimeoutError:
                pass  # gear does not answer, and has no time limits
        if stream.closed:
            raise ServerUnavailable("connection lost", {str(link.address): "closed at once"})
        link.stream = stream


class ThreadLink:
    """A link for a handler in a thread: what it reports is said in the loop."""

    def __init__(self, link: AsyncLink, loop: asyncio.AbstractEventLoop) -> None:
        self.address = link.address
        self._link = link
        self.connection: Any = ThreadConnection(link, loop)
        self._loop = loop

    def push(self) -> None:
        """Nothing to do: each report pushes."""

    def hang_up(self) -> None:
        """Close the connection, unless that has happened and there is a new one."""
        self._loop.call_soon_threadsafe(self._hang_up, self._link.connection)

    def _hang_up(self, connection: WorkerConnection) -> None:
        if self._link.connection is connection and not connection.closed:
            self._link.hang_up()


class ThreadConnection:
    """The reports of a ``WorkerConnection``, handed over to the loop."""

    def __init__(self, link: AsyncLink, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._real = link.connection
        self._loop = loop

    @property
    def closed(self) -> bool:
        """The connection is over."""
        return self._real.closed

    def _say(self, report: Callable[..., None], *arguments: Any) -> None:
        def say() -> None:
            if not self._real.closed:
                report(*arguments)
                self._link.push()

        self._loop.call_soon_threadsafe(say)

    def send_data(self, handle: bytes, data: bytes) -> None:
        """As ``WorkerConnection.send_data``."""
        self._say(self._real.send_data, handle, data)

    def send_warning(self, handle: bytes, data: bytes) -> None:
        """As ``WorkerConnection.send_warning``."""
        self._say(self._real.send_warning, handle, data)

    def send_status(self, handle: bytes, numerator: int, denominator: int) -> None:
        """As ``WorkerConnection.send_status``."""
        self._say(self._real.send_status, handle, numerator, denominator)

    def complete(self, handle: bytes, data: bytes = b"") -> None:
        """As ``WorkerConnection.complete``."""
        self._say(self._real.complete, handle, data)

    def fail(self, handle: bytes) -> None:
        """As ``WorkerConnection.fail``."""
        self._say(self._real.fail, handle)

    def exception(self, handle: bytes, data: bytes) -> None:
        """As ``WorkerConnection.exception``."""
        self._say(self._real.exception, handle, data)

    def drop(self, handle: bytes) -> None:
        """As ``WorkerConnection.drop``."""
        self._say(self._real.drop, handle)
