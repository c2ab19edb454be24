"""A client without a server: jobs are done at once, in the thread that submits them.

Only the network is missing. A submission becomes a ``Job`` whose reports go straight
to the ``Task``, as events; everything between those two is what runs in production.
What is unrealistic: jobs never run at the same time, never wait, and a ``Requeue``
has no other worker to go to, so it ends the job as lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from geartrain.client.aio import AsyncClient
from geartrain.client.aio_engine import AsyncEngine, AsyncQuestion
from geartrain.client.channel import Question
from geartrain.client.connection import ClientConnection
from geartrain.client.engine import Engine
from geartrain.client.events import (
    CREATED,
    Event,
    JobCreated,
    Lost,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from geartrain.client.routing import Routing
from geartrain.client.sync import Client
from geartrain.client.task import AGAIN, GO_ON, OVER, BaseTask
from geartrain.codecs import codec_of
from geartrain.errors import NoWorkers, ServerUnavailable
from geartrain.terms import FunctionName, JobHandle, Unique
from geartrain.transport.address import Address
from geartrain.typed.call import Home
from geartrain.typed.running import handler_of
from geartrain.worker.aio import _do_job
from geartrain.worker.events import JobAssigned
from geartrain.worker.functions import Ability, do_job
from geartrain.worker.job import Job

_NOWHERE = Address("inline", 1)
_count = itertools.count(1)


class InlineConnection:
    """What a job reports on: every report is an event of its task."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self.closed = False

    def send_data(self, handle: JobHandle, data: bytes) -> None:
        """WORK_DATA."""
        self._tell(WorkData(data))

    def send_warning(self, handle: JobHandle, data: bytes) -> None:
        """WORK_WARNING."""
        self._tell(WorkWarning(data))

    def send_status(self, handle: JobHandle, numerator: int, denominator: int) -> None:
        """WORK_STATUS."""
        self._tell(WorkStatus(numerator, denominator))

    def drop(self, handle: JobHandle) -> None:
        """Nobody takes a job away here."""

    def complete(self, handle: JobHandle, data: bytes) -> None:
        """WORK_COMPLETE."""
        self._tell(WorkComplete(data))

    def fail(self, handle: JobHandle) -> None:
        """WORK_FAIL."""
        self._tell(WorkFail())

    def exception(self, handle: JobHandle, data: bytes) -> None:
        """WORK_EXCEPTION."""
        self._tell(WorkException(data))


class InlineLink:
    """The connection, as a job needs it."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self.address = _NOWHERE
        self.connection = InlineConnection(tell)
        self._tell = tell

    def push(self) -> None:
        """Nothing to send."""

    def hang_up(self) -> None:
        """A job that is given back: there is nobody else to do it."""
        self.connection.closed = True
        self._tell(Lost(CREATED, "it was given back, and inline there is no other worker"))


class Attempt:
    """One run of a task's job, here.

    Attributes:
        ability: what does it.
        job: to be done.
        verdict: what the task asks for after its last event.
    """

    def __init__(
        self,
        task: BaseTask[Any],
        app: Home,
        client: Client,
        aio_client: AsyncClient | None = None,
    ) -> None:
        name = task.wire_function.decode().removeprefix(app.namespace)
        function = app.functions.get(name)
        if function is None:
            raise NoWorkers(task.function)
        self._task = task
        self.verdict = GO_ON
        handler = handler_of(function.call, aio_client is not None)
        self.ability = Ability(name, handler, 0, codec_of("bytes"))
        task.server = _NOWHERE
        handle = JobHandle(b"H:inline:%d" % next(_count))
        self._tell(JobCreated(handle))
        assigned = JobAssigned(
            handle, FunctionName(task.wire_function), Unique(task.unique), task.workload
        )
        reducer = None if task.reducer is None else task.reducer.decode()
        self.job = Job(
            InlineLink(self._tell),
            assigned,
            name,
            reducer,
            make_client=lambda: client,
            # A plain function may wait here, on a loop or not: nothing else goes on inline.
            make_aio_client=(lambda: aio_client)
            if aio_client is not None and iscoroutinefunction(handler)
            else None,
        )

    def _tell(self, event: Event) -> None:
        if self.verdict != GO_ON:
            return
        task = self._task
        self.verdict = task.apply(event)
        for watcher in task.watchers or ():
            watcher.append(task)
        if self.verdict <= OVER:
            task.tell(event, self.verdict == OVER)


class InlineEngine(Engine):
    """In the place of sockets and threads: does what is submitted."""

    def __init__(self, client: Client, app: Home) -> None:
        super().__init__((_NOWHERE,), Routing((_NOWHERE,)), None, None, True)
        self._client = client
        self._app = app

    def submit(self, task: BaseTask[Any]) -> None:
        """Do the job.

        Raises:
            NoWorkers: the app has no such function: nobody would ever do it.
        """
        while True:
            attempt = Attempt(task, self._app, self._client)
            _let_out(do_job(attempt.ability, attempt.job))
            if attempt.verdict != AGAIN:
                break
            task.restart()
        self._calls.run()

    def ask(self, address: Address, question: Callable[[ClientConnection], int]) -> Question:
        """There is no server to ask.

        Raises:
            ServerUnavailable: always.
        """
        raise ServerUnavailable("inline there is no server to be asked")


class InlineClient(Client):
    """A client of an app that does the jobs itself; see ``App.inline``."""

    def __init__(self, app: Home) -> None:
        super().__init__((_NOWHERE,), namespace=app.namespace)
        self.engine = InlineEngine(self, app)


class InlineAsyncEngine(AsyncEngine):
    """The same on an event loop: coroutine functions run there, as with an ``AsyncWorker``."""

    def __init__(self, aio_client: AsyncClient, app: Home) -> None:
        super().__init__((_NOWHERE,), Routing((_NOWHERE,)), None, None, True)
        self._client = InlineClient(app)
        self._aio_client = aio_client
        self._app = app

    async def submit(self, task: BaseTask[Any]) -> None:
        """Do the job; errors as of ``InlineEngine.submit``."""
        while True:
            attempt = Attempt(task, self._app, self._client, self._aio_client)
            if iscoroutinefunction(attempt.ability.handler):
                _let_out(await _do_job(attempt.ability, attempt.job))
            else:
                _let_out(do_job(attempt.ability, attempt.job))
            if attempt.verdict != AGAIN:
                break
            task.restart()

    async def ask(
        self, address: Address, question: Callable[[ClientConnection], int]
    ) -> AsyncQuestion:
        """There is no server to ask.

        Raises:
            ServerUnavailable: always.
        """
        raise ServerUnavailable("inline there is no server to be asked")


class InlineAsyncClient(AsyncClient):
    """The same for asyncio."""

    def __init__(self, app: Home) -> None:
        super().__init__((_NOWHERE,), namespace=app.namespace)
        self.engine = InlineAsyncEngine(self, app)


def _let_out(stopped: BaseException | None) -> None:
    """What is no ``Exception`` (KeyboardInterrupt ...) is not the job's business alone."""
    if stopped is not None and not isinstance(stopped, Exception):
        raise stopped
