"""App: functions that belong together, and how they are reached."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from geartrain.client.options import PriorityLike, Seconds, text_of
from geartrain.client.sync import Client
from geartrain.codecs import CodecLike
from geartrain.errors import ConfigurationError
from geartrain.retry import Retry, retry_of
from geartrain.transport.address import Servers
from geartrain.transport.tls import TLSLike
from geartrain.typed.call import Call, Middleware
from geartrain.typed.declaration import UniqueLike, declare
from geartrain.typed.function import AwaitedFunction, Function, GeneratorFunction
from geartrain.typed.lifespans import Lifespan, Lifespans, manager_of
from geartrain.typed.reach import Reach

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from geartrain.client.aio import AsyncClient
    from geartrain.worker.job import Job
    from geartrain.worker.options import WorkerOptions
    from geartrain.worker.sync import Worker

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Middleware)
L = TypeVar("L", bound=Lifespan)


class Declare(Protocol):
    """What ``function(...)`` and ``remote(...)`` with arguments give."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AwaitedFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, Generator[Any, Any, R]], /) -> GeneratorFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Function[P, R]: ...


class App:
    """Declares functions, for workers to do and for anybody to call.

    ::

        app = App("images")


        @app.function("shrink_image", timeout=60, retry=Retry(2, on=OSError))
        def shrink_image(src: str, dest: str, width: int) -> str:
            return dest


        shrink_image.do("a.jpg", "small.jpg", width=200)

    It connects when a function is called through a server, never when it is declared.

    Args:
        name: for people.
        servers: as for ``Client``; None: the environment.
        namespace: put before every function name on the wire.
        codec: of functions that do not say otherwise.
        retry: of functions that do not say otherwise; the worker tries again while
            it holds the job. A number means so many more attempts.
        timeout: seconds that callers wait for results where nothing else is said.
        tls: as for ``Client``.

    Raises:
        ConfigurationError: a setting cannot be.
    """

    def __init__(
        self,
        name: str = "",
        *,
        servers: Servers = None,
        namespace: str = "",
        codec: CodecLike = "json",
        retry: Retry | int = 0,
        timeout: Seconds | None = None,
        tls: TLSLike = None,
    ) -> None:
        self.name = name
        self.parent: App | None = None
        self._namespace = text_of(namespace, "namespace")
        self._codec = codec
        self._retry = retry
        self._prefix = ""
        self._own: dict[str, Function[..., Any]] = {}
        self._included: list[App] = []
        self._layers: list[Middleware] = []
        self._lifespan: Callable[[], AbstractContextManager[Any]] | None = None
        self._lifespans = Lifespans()
        self._own_reach = Reach(servers, namespace, timeout, tls)
        retry_of(retry)

    def __repr__(self) -> str:
        return f"<App {self.name or 'without a name'}: {len(self.functions)} functions>"

    # ── declaring ────────────────────────────────────────────────────────────

    @overload
    def function(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AwaitedFunction[P, R]: ...
    @overload
    def function(self, fn: Callable[P, Generator[Any, Any, R]], /) -> GeneratorFunction[P, R]: ...
    @overload
    def function(self, fn: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def function(
        self,
        name: str | None = None,
        /,
        *,
        timeout: Seconds | None = None,
        retry: Retry | int | None = None,
        priority: PriorityLike = "normal",
        unique: UniqueLike | None = None,
        codec: CodecLike | None = None,
        value: bool | None = None,
    ) -> Declare: ...
    def function(
        self,
        name: Any = None,
        /,
        *,
        timeout: Seconds | None = None,
        retry: Retry | int | None = None,
        priority: PriorityLike = "normal",
        unique: UniqueLike | None = None,
        codec: CodecLike | None = None,
        value: bool | None = None,
    ) -> Any:
        """Decorator that makes a function of this app.

        An ``async def`` runs on the worker's event loop. A generator sends what it
        yields (WORK_STATUS for a ``Status``, else WORK_DATA), and its return is the
        result.

        Args:
            name: on the wire; None: the function's own.
            timeout: seconds after which a server gives the job to another worker.
            retry: try again in the worker, which holds the job meanwhile. A number
                means so many more attempts; None: as the app says.
            priority: where the caller says nothing.
            unique: makes the job's key from the call's arguments, so that equal
                calls coalesce; or one key for all, such as ``BY_WORKLOAD``.
            codec: arguments and result; None: the app's.
            value: the only argument is the workload, bare. None: where the codec
                (``bytes``, ``text``) cannot do otherwise.

        Raises:
            ConfigurationError: a setting cannot be, or the name is taken.
        """

        def decorator(fn: Callable[..., Any]) -> Function[..., Any]:
            again = retry if retry is not None else 0 if _is_generator(fn) else self._retry
            return self._declare(
                fn,
                None if callable(name) else name,
                codec,
                timeout=timeout,
                retry=again,
                priority=priority,
                unique=unique,
                value=value,
            )

        return decorator(name) if callable(name) else decorator

    @overload
    def remote(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Function[P, R]: ...
    @overload
    def remote(self, fn: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def remote(
        self,
        name: str | None = None,
        /,
        *,
        priority: PriorityLike = "normal",
        unique: UniqueLike | None = None,
        codec: CodecLike | None = None,
        value: bool | None = None,
    ) -> Declare: ...
    def remote(
        self,
        name: Any = None,
        /,
        *,
        priority: PriorityLike = "normal",
        unique: UniqueLike | None = None,
        codec: CodecLike | None = None,
        value: bool | None = None,
    ) -> Any:
        """Decorator for the signature alone of a function that is done elsewhere: in PHP, say.

        ::

            @app.remote
            def crop(src: str, width: int) -> str:
                raise NotImplementedError  # the body is never run

        Args: as ``function``.
        """

        def decorator(fn: Callable[..., Any]) -> Function[..., Any]:
            return self._declare(
                fn,
                None if callable(name) else name,
                codec,
                priority=priority,
                unique=unique,
                value=value,
                is_remote=True,
            )

        return decorator(name) if callable(name) else decorator

    def _declare(
        self, fn: Callable[..., Any], name: str | None, codec: CodecLike | None, **settings: Any
    ) -> Function[..., Any]:
        declaration = declare(fn, name, codec if codec is not None else self._codec, **settings)
        kind: type[Function[..., Any]] = Function
        if not declaration.is_remote and declaration.is_async:
            kind = AwaitedFunction
        elif not declaration.is_remote and declaration.is_generator:
            kind = GeneratorFunction
        function = kind(Call(self, declaration))
        if function.name in self.root._everything():
            raise ConfigurationError(f"there are two functions {function.name!r} in {self.root!r}")
        self._own[declaration.name] = function
        return function

    def include(self, other: App, *, prefix: str = "") -> None:
        """Take another app's functions into this one: its servers and names are ours from now on.

        Args:
            prefix: put before the names of its functions.

        Raises:
            ConfigurationError: it is part of an app already, or names clash.
        """
        if other.parent is not None:
            raise ConfigurationError(f"{other!r} is part of {other.parent!r} already")
        if other is self.root:
            raise ConfigurationError(f"{other!r} cannot be part of itself")
        theirs = {prefix + name for name in other._everything()}
        here = {name.removeprefix(self.prefix) for name in self.root._everything()}
        if twice := sorted(theirs & here):
            raise ConfigurationError(f"there would be two functions {twice[0]!r} in {self!r}")
        other.close()
        other.parent = self
        other._prefix = prefix
        self._included.append(other)

    def lifespan(self, fn: L, /) -> L:
        """Decorator for what lives as long as a worker process; its value is ``Job.context``.

        ::

            @app.lifespan
            def database():
                with connect() as connection:
                    yield connection

        Entered once in each process, before its first job. Functions of an included
        app without one of its own get this one's value.

        Raises:
            ConfigurationError: there is one already, or it is async.
        """
        if self._lifespan is not None:
            raise ConfigurationError(f"{self!r} has a lifespan already; nest the other in it")
        self._lifespan = manager_of(fn)
        return fn

    def middleware(self, fn: M, /) -> M:
        """Decorator for what goes around every job of this app, and of those it includes.

        ::

            @app.middleware
            def timed(job, call_next):
                start = time.perf_counter()
                try:
                    return call_next(job)
                finally:
                    metrics.observe(job.function, time.perf_counter() - start)

        The first that was added is outermost. ``job.args`` has the arguments by name.
        Each attempt of a function with ``retry`` goes through all of them. Around
        ``async def`` functions, write ``async def`` and ``await call_next(job)``.
        """
        self._layers.append(fn)
        return fn

    # ── what there is ────────────────────────────────────────────────────────

    @property
    def root(self) -> App:
        """The outermost app that includes this one."""
        app = self
        while app.parent is not None:
            app = app.parent
        return app

    @property
    def prefix(self) -> str:
        """What stands before the names of its functions, from all the apps around it."""
        return (self.parent.prefix if self.parent is not None else "") + self._prefix

    @property
    def namespace(self) -> str:
        """What stands before all names on the wire."""
        return self.root._namespace

    @property
    def functions(self) -> Mapping[str, Function[..., Any]]:
        """``{name: function}`` of all that workers of this app can do, included ones too."""
        found = self._everything()
        return {name: one for name, one in found.items() if not one.declaration.is_remote}

    def _everything(self) -> dict[str, Function[..., Any]]:
        found = {function.name: function for function in self._own.values()}
        for app in self._included:
            found.update(app._everything())
        return found

    @property
    def layers(self) -> list[Middleware]:
        """The middleware around its functions, outermost first."""
        return [*(self.parent.layers if self.parent is not None else []), *self._layers]

    # ── working ──────────────────────────────────────────────────────────────

    def register(
        self,
        worker: Any,
        *,
        only: Collection[str] | None = None,
        exclude: Collection[str] = (),
    ) -> None:
        """Add its functions to a ``Worker`` or an ``AsyncWorker``.

        Names that are none of ours are somebody else's, and ignored.

        Args:
            only: names, without namespace; None: all.
            exclude: names of those to leave out.
        """
        # Here, since those who only call need none of it.
        from geartrain.typed.running import handler_of
        from geartrain.worker.sync import Worker

        # A worker may have put its own namespace before all names.
        ours = self.namespace.removeprefix(worker.namespace) if worker.namespace else self.namespace
        for name, function in self.functions.items():
            if (only is None or name in only) and name not in exclude:
                handler = handler_of(function.call, not isinstance(worker, Worker))
                worker.add_function(ours + name, handler, timeout=function.timeout)

    def worker(self, **settings: Unpack[WorkerOptions]) -> Worker:
        """A ``Worker`` for these functions; ``settings`` as ``Worker`` takes them."""
        from geartrain.worker.sync import Worker

        reach = self._reach
        ours: WorkerOptions = {"servers": reach.servers, "tls": reach.tls}
        ours.update(settings)
        worker = Worker(**ours)
        self.register(worker)
        return worker

    def work(
        self,
        *,
        max_jobs: int | None = None,
        max_time: Seconds | None = None,
        burst: bool = False,
        signals: bool = True,
        **settings: Unpack[WorkerOptions],
    ) -> int:
        """Do jobs until stopped, as ``Worker.work``; ``settings`` are those of ``Worker``.

        Returns:
            How many jobs were done.
        """
        with self.worker(**settings) as worker, self.lifespans():
            return worker.work(max_jobs=max_jobs, max_time=max_time, burst=burst, signals=signals)

    @contextmanager
    def lifespans(self) -> Iterator[None]:
        """Around the work of one process: what it has entered is left at the end.

        Entering is left to the first job, so that this may also stand around
        processes that are forked inside it.
        """
        try:
            yield
        finally:
            self.root._lifespans.leave()

    def enter(self, job: Job) -> None:
        """Enter the lifespans, if this process has not; give the job its context."""
        root = self.root
        lifespans = root._all_lifespans()
        if not lifespans:
            return
        root._lifespans.enter(lifespans)
        app: App | None = self
        while app is not None:
            if app._lifespan is not None:
                job.context = root._lifespans.value(id(app))
                return
            app = app.parent

    def _all_lifespans(self) -> dict[int, Callable[[], AbstractContextManager[Any]]]:
        found = {} if self._lifespan is None else {id(self): self._lifespan}
        for app in self._included:
            found.update(app._all_lifespans())
        return found

    # ── calling ──────────────────────────────────────────────────────────────

    @property
    def servers(self) -> Servers:
        """Where its functions are called. Assign to go elsewhere; open connections are closed."""
        return self._reach.servers

    @servers.setter
    def servers(self, servers: Servers) -> None:
        self._reach.close()
        self._reach.servers = servers

    @property
    def client(self) -> Client:
        """The client that its functions are called with; made on first use."""
        return self._reach.client

    @property
    def aio_client(self) -> AsyncClient:
        """The client of the running event loop; made on first use.

        Raises:
            RuntimeError: no loop is running.
        """
        return self._reach.aio_client

    @property
    def _reach(self) -> Reach:
        return self.root._own_reach

    @contextmanager
    def inline(self) -> Iterator[Self]:
        """For tests: in this block functions run in this process, through their codecs.

        No server and no worker is needed. Arguments and results are encoded and
        decoded, errors arrive as ``JobException``, and middleware, lifespans and retries
        take part, so that what fails between processes fails here.
        """
        from geartrain.typed.inline import InlineAsyncClient, InlineClient

        root = self.root
        with (
            self._reach.instead(InlineClient(root), InlineAsyncClient(root)),
            root.lifespans(),
        ):
            yield self

    def close(self) -> None:
        """Hang up. Jobs in the foreground that still wait in a queue are dropped by their servers."""
        self._own_reach.close()

    async def aclose(self) -> None:
        """Hang up what the running event loop has opened."""
        await self._own_reach.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _is_generator(fn: object) -> bool:
    import inspect

    return inspect.isgeneratorfunction(fn)
