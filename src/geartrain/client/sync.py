"""Client: submit jobs and wait for them, from any number of threads.

The deciding is in ``connection.py`` and ``task.py``, the waiting in ``engine.py``;
here are the words that users say.
"""

from __future__ import annotations

import itertools
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Unpack, get_args

from geartrain.client.channel import Question
from geartrain.client.connection import ClientConnection
from geartrain.client.engine import Engine
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
from geartrain.client.remote import RemoteFunction
from geartrain.client.routing import Routing, RoutingName
from geartrain.client.status import JobStatus, status_of
from geartrain.client.survey import Survey, has_worker
from geartrain.client.waiting import Batch, Task, TaskSet, deadline_of
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
ReturnWhen: TypeAlias = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]


class UniqueKeys:
    """Keys that nobody else uses: eight random bytes for the process, and a count."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self.begin_anew()

    def begin_anew(self) -> None:
        """In another process: it counts on from the same number."""
        self._prefix = os.urandom(8).hex() + "-"

    def next(self) -> bytes:
        """A fresh key, at most 63 bytes."""
        return f"{self._prefix}{next(self._count)}".encode()


_keys = UniqueKeys()


class Client:
    """Asks job servers for work.

    Connects on first use. One client may be used by many threads; it has no
    thread of its own, so it survives ``fork`` (the child connects anew).

    Args:
        servers: ``"a,b:4731"``, a list, or None: ``$GEARMAN_SERVERS``, else localhost.
        namespace: put before every function name (and reducer) on the wire.
        timeout: seconds to wait for a result where nothing else is said; None: for ever.
        connect_timeout: seconds for one connection.
        submit_timeout: seconds to wait for a server's immediate answer.
        retry: resubmit lost and failed jobs; a number means so many more attempts.
        routing: ``hash`` (same key, same server), ``ordered`` (the first that is
            up, as libgearman) or ``round-robin``.
        tls: ``TLS(...)``, an ``ssl.SSLContext``, or True: files from the environment.
        exceptions: have WORK_EXCEPTION passed on, with the worker's reason.
        require_worker: raise ``NoWorkers`` instead of waiting for the first one.

    Raises:
        ConfigurationError: a setting cannot be.
    """

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
        self.engine = Engine(
            self.servers,
            Routing(self.servers, routing),
            limit_of(connect_timeout, "connect_timeout"),
            client_context(tls),
            flag_of(exceptions, "exceptions"),
        )
        _clients.add(self)

    # ── the four verbs ───────────────────────────────────────────────────────

    def do(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> bytes:
        """Submit a job and wait for its result.

        Raises:
            JobFailed, JobException, JobLost: how it ended.
            ResultTimeout: not in time; the job goes on.
            ServerError, ServerUnavailable: it was not accepted.
        """
        return self.submit(function, workload, **options).result()

    def do_background(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[BackgroundOptions]
    ) -> Handle:
        """Submit a job that nobody waits for; return once the server has it.

        Raises:
            SubmitTimeout, OutcomeUnknown: the server may have it or not.
            ServerError, ServerUnavailable: it does not.
        """
        return self.submit_background(function, workload, **options).wait_created(
            options.get("timeout", self.submit_timeout)
        )

    def submit(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[SubmitOptions]
    ) -> Task[bytes]:
        """Submit a job and return at once; replies are read when somebody waits.

        Raises:
            ServerUnavailable: no server can be reached.
            ValueError, TypeError: an option cannot be.
        """
        return self.hand_in(function, bytes_of(workload), options, False, None)

    def submit_background(
        self, function: str, workload: Buffer = b"", /, **options: Unpack[BackgroundOptions]
    ) -> Task[None]:
        """Submit a job that nobody waits for; the task is done at JOB_CREATED."""
        return self.hand_in(function, bytes_of(workload), options, True, _nothing)

    def hand_in(
        self,
        function: str,
        workload: bytes,
        options: SubmitOptions | BackgroundOptions,
        background: bool,
        decode: Callable[[bytes], T] | None,
        last_word_alone: bool = False,
    ) -> Task[Any]:
        """What all the ways to submit come to, for layers above: options as one mapping.

        Args:
            decode: makes the task's result of what came; None: bytes as they are.
            last_word_alone: pieces of WORK_DATA are no part of the result.
        """
        wire_name = self._names.get(function) if type(function) is str else None
        if wire_name is None:
            wire_name = self._names.learn(function)
        # By position: a compiled class takes names apart at eight times the cost.
        task: Task[Any] = Task(function, wire_name, b"", workload, background, decode)
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
            self._check_for_workers(task)
        self.engine.submit(task)
        return task

    def _check_for_workers(self, task: Task[Any]) -> None:
        name = task.wire_function.decode()
        for answer in self._ask_all(lambda c: c.admin(b"status"), LineReply):
            if has_worker(answer.lines, name):
                return
        raise NoWorkers(task.function)

    def submit_decoded(
        self,
        function: str,
        workload: bytes,
        decode: Callable[[bytes], T],
        /,
        **options: Unpack[SubmitOptions],
    ) -> Task[T]:
        """``submit`` for layers above: the task's result is ``decode(result)``."""
        return self.hand_in(function, workload, options, False, decode)

    def function(self, name: str, *, codec: CodecLike = "bytes") -> RemoteFunction[Any]:
        """A function to be asked for values: ``client.function("add", codec="json").do([1, 2])``."""
        return RemoteFunction(self, name, codec)

    # ── many at once ─────────────────────────────────────────────────────────

    def map(
        self,
        function: str,
        workloads: Iterable[Buffer],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[bytes]:
        """The results of one function over many workloads, as they are asked for.

        Args:
            workloads: read lazily, at most ``window`` ahead of the results taken.
            window: jobs in flight at once.
            ordered: results in the order of the workloads; False: as they come.

        Raises:
            JobFailed: at the first result that failed; the rest is dropped.
        """
        from geartrain.client.flow import flow

        check_many(workloads, window, "workloads", ordered)
        return flow(
            self.engine,
            workloads,
            lambda workload: self.hand_in(function, bytes_of(workload), options, False, None),
            window,
            ordered,
        )

    def task_set(self, *, timeout: Seconds | None = None) -> TaskSet:
        """A context manager that waits for all tasks submitted through it."""
        return TaskSet(self, timeout)

    def batch(self) -> Batch:
        """A context manager in which jobs leave together, which is several times as fast.

        ::

            with client.batch():
                tasks = [client.submit_background("mail", address) for address in addresses]

        What this thread submits, in whatever way, is gathered, and goes out when there
        are some hundred small jobs of it, when anything is waited for, and when the block
        ends. Until then no worker can begin: do nothing slow inside.
        """
        return Batch(self.engine)

    def as_completed(
        self, tasks: Iterable[Task[T]], *, timeout: Seconds | None = None
    ) -> Iterator[Task[T]]:
        """Each task when it is over, in that order.

        Raises:
            ResultTimeout: some are not over in time.
        """
        deadline = deadline_of(timeout)
        news: deque[Task[T]] = deque()
        left: set[Task[T]] = set()
        try:
            for task in tasks:
                if task not in left:
                    self._watch(task, news)
                    left.add(task)
            while left:
                if not self.engine.wait(lambda: news, deadline):
                    raise ResultTimeout(f"{len(left)} jobs have not ended in time")
                task = news.popleft()
                if task in left and task.done():
                    left.discard(task)
                    yield task
        finally:
            for task in left:
                self.engine.unwatch(task, news)

    def wait(
        self,
        tasks: Iterable[Task[T]],
        *,
        timeout: Seconds | None = None,
        return_when: ReturnWhen = "ALL_COMPLETED",
    ) -> tuple[set[Task[T]], set[Task[T]]]:
        """Wait for tasks; return those that are over, and the others. No failure of theirs is raised."""
        if return_when not in get_args(ReturnWhen):
            raise ValueError(
                f"return_when = {return_when!r}: want {', '.join(get_args(ReturnWhen))}"
            )
        everything = set(tasks)
        done: set[Task[T]] = set()
        try:
            for task in self.as_completed(everything, timeout=timeout):
                done.add(task)
                if return_when == "FIRST_COMPLETED" or (
                    return_when == "FIRST_EXCEPTION" and task.error is not None
                ):
                    break
        except ResultTimeout:
            pass
        done.update(task for task in everything if task.done())
        return done, everything - done

    def gather(self, tasks: Iterable[Task[T]], *, timeout: Seconds | None = None) -> list[T]:
        """All results, in the order of the tasks.

        Raises:
            ResultTimeout: not all in time.
            JobFailed: the error of the first, in order, that failed; after all are over.
        """
        listed = list(tasks)
        deadline = deadline_of(timeout)
        for task in listed:
            if not isinstance(task, Task):
                raise no_task(task)
            if not task.done() and not self.engine.wait(task.done, deadline):
                raise ResultTimeout(f"{task!r} has not ended in time")
        return [task.outcome() for task in listed]

    def events(
        self, tasks: Iterable[Task[Any]], *, timeout: Seconds | None = None
    ) -> Iterator[tuple[Task[Any], TaskEvent]]:
        """What happens to any of the tasks, as it happens; ends when all are over.

        Raises:
            ResultTimeout: not all are over in time.
        """
        deadline = deadline_of(timeout)
        news: deque[Task[Any]] = deque()
        left: set[Task[Any]] = set()
        try:
            for task in tasks:
                self._watch(task, news)
                left.add(task)
                news.append(task)
            while left:
                if not self.engine.wait(lambda: news, deadline):
                    raise ResultTimeout(f"{len(left)} jobs have not ended in time")
                task = news.popleft()
                if task not in left:
                    continue
                over = task.done()
                for event in task.take_events():
                    yield task, event
                if over:
                    left.discard(task)
        finally:
            for task in left:
                self.engine.unwatch(task, news)

    def _watch(self, task: Task[T], news: deque[Task[T]]) -> None:
        if not isinstance(task, Task):
            raise no_task(task)
        self.engine.watch(task, news)

    def wait_until(
        self, condition: Callable[[], object], *, timeout: Seconds | None = None
    ) -> bool:
        """Wait until ``condition()`` is true, reading what servers say meanwhile.

        For programs that keep their own account of tasks, by callbacks. The condition is
        looked at whenever something has come; it must be cheap, and take no lock that is
        held while a client is asked for something.

        Returns:
            False: not in time.
        """
        return self.engine.wait(condition, deadline_of(timeout))

    # ── questions ────────────────────────────────────────────────────────────

    def status(
        self, handle: Handle | str | None = None, /, *, unique: str | bytes | None = None
    ) -> JobStatus:
        """How far a job is.

        A ``Handle`` knows its server; a plain text, or a unique key, is asked of
        every server, and the first that knows the job counts.

        Raises:
            ServerUnavailable: no server could be asked.
            SubmitTimeout: no answer in time.
            ServerError: the server does not know the question (``unique``).
        """
        if (handle is None) == (unique is None):
            raise TypeError("status() takes a handle or a unique key")
        job = None if handle is None else handle_of(handle)
        if job is not None:
            name = handle_bytes_of(job)
            found = self._first_known(_servers_of(job), lambda c: c.get_status(name))
        else:
            key = bytes_of(unique or b"", "unique")
            found = self._first_known(None, lambda c: c.get_status_unique(key))
        return status_of(job, found)

    def cancel(self, handle: Handle | str, /) -> bool:
        """Take a job out of its queue. One that runs goes on, unheard.

        Attached clients get WORK_FAIL.

        Returns:
            False: no server knows the job.
        """
        job = handle_of(handle)
        name = handle_bytes_of(job)
        answers = self._ask_all(
            lambda c: c.admin(b"cancel job " + name), LineReply, _servers_of(job)
        )
        return any(answer.lines[0].startswith("OK") for answer in answers)

    def ping(self, payload: bytes = b"ping") -> float:
        """Seconds that the first server in order takes to give the same bytes back.

        Raises:
            ServerUnavailable, SubmitTimeout: it does not.
        """
        start = time.perf_counter()
        for _ in self._ask_all(lambda c: c.echo(payload), EchoReply, limit=1):
            break
        return time.perf_counter() - start

    def _first_known(
        self, servers: tuple[Address, ...] | None, question: Callable[[ClientConnection], int]
    ) -> StatusReply:
        first: StatusReply | None = None
        for answer in self._ask_all(question, StatusReply, servers):
            if answer.known:
                return answer
            first = first or answer
        assert first is not None
        return first

    def _ask_all(
        self,
        question: Callable[[ClientConnection], int],
        kind: type[T],
        servers: tuple[Address, ...] | None = None,
        limit: int = 0,
    ) -> Iterator[T]:
        """Ask servers one after another; yields answers, raises if there was none at all."""
        deadline = deadline_of(self.submit_timeout)
        survey = Survey(kind, limit)
        for address in servers or self.engine.book.in_order(self.servers, time.monotonic()):
            try:
                answer = self._answer(self.engine.ask(address, question), deadline)
            except (ServerUnavailable, GearmanTimeout) as error:
                survey.failed(address, error)
                continue
            found = survey.heard(address, answer)
            if found is not None:
                yield found
                if survey.complete:
                    return
        survey.check()

    def _answer(self, question: Question, deadline: float | None) -> Event | None:
        if not self.engine.wait(question.done, deadline):
            raise SubmitTimeout("the server has not answered in time")
        return question.answer

    # ── the end ──────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Hang up. Foreground jobs that still wait in a queue are dropped by their servers."""
        self.engine.close()

    def __del__(self) -> None:
        # ``Client().do(...)`` is a whole program, and nobody could close what it made.
        engine: Engine | None = getattr(self, "engine", None)
        if engine is not None:  # no setting was refused
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {','.join(map(str, self.servers))}>"


def _servers_of(handle: Handle) -> tuple[Address, ...] | None:
    return None if handle.server is None else (handle.server,)


def _nothing(data: bytes) -> None:
    return None


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    _keys.begin_anew()
    for client in list(_clients):
        client.engine.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
