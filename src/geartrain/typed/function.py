"""Function: a typed function, to be called here or anywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast

from geartrain.client.handle import Handle
from geartrain.client.options import check_many
from geartrain.client.waiting import Task
from geartrain.typed.call import Call
from geartrain.typed.declaration import Declaration
from geartrain.typed.options import AllOptions

if TYPE_CHECKING:
    from geartrain.typed.aio import AsyncFunction

P = ParamSpec("P")
R = TypeVar("R")


class Function(Generic[P, R]):
    """A function of an app.

    Call it, and it runs here; ``do`` and the others have a worker run it. Arguments
    are checked by type checkers, and again by the worker before it begins.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        functools.update_wrapper(self, call.declaration.fn)

    # ── what it is ───────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """Name on the wire, without the app's namespace."""
        return self.call.name

    @property
    def declaration(self) -> Declaration:
        """What its app knows of it."""
        return self.call.declaration

    @property
    def timeout(self) -> float | None:
        """Seconds after which a server gives its job to another worker; None: never."""
        return self.declaration.timeout

    @property
    def is_async(self) -> bool:
        """Whether it is an ``async def``."""
        return self.declaration.is_async

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{self.declaration.signature}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.call.options:
            return _with_options, (self.call.home.functions[self.name], self.call.options)
        # By reference, as Python does with functions.
        return cast("str", getattr(self, "__qualname__", self.name))

    # ── calling it ───────────────────────────────────────────────────────────

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, without any server.

        Raises:
            NotImplementedError: only its signature is ours (``App.remote``).
        """
        if self.declaration.is_remote:
            raise NotImplementedError(
                f"{self.name} is done elsewhere; call it with {self.name}.do(...)"
            )
        return cast("R", self.declaration.fn(*args, **kwargs))

    def do(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Have a worker run it, and wait for the result.

        Raises:
            TypeError: the arguments do not fit.
            EncodeError: an argument cannot be said in the function's codec.
            JobFailed, JobException, JobLost: how it ended.
            ResultTimeout: not in time (``options(timeout=...)``); the job goes on.
            ServerError, ServerUnavailable: it was not accepted.
            DecodeError: the result is not what the annotation says.
        """
        return self._submit(args, kwargs).result()

    def do_background(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Have a worker run it some time; return once the server has the job.

        Raises:
            TypeError, EncodeError: as ``do``.
            SubmitTimeout, OutcomeUnknown: the server may have it or not.
            ServerError, ServerUnavailable: it does not.
        """
        task = self._submit_background(args, kwargs)
        return task.wait_created(
            self.call.options.get("timeout", self.call.home.client.submit_timeout)
        )

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Have a worker run it, and return at once.

        What a generator yields comes as the task's ``data()`` and ``events()``, encoded;
        its return value is the result.

        Raises:
            TypeError, EncodeError, ServerUnavailable: as ``do``.
        """
        return self._submit(args, kwargs, False)

    def submit_background(self, *args: P.args, **kwargs: P.kwargs) -> Task[None]:
        """Have a worker run it some time; the task is done at JOB_CREATED."""
        return self._submit_background(args, kwargs)

    def map(
        self, arguments: Iterable[Any], /, *, window: int = 256, ordered: bool = True
    ) -> Iterator[R]:
        """The results for many arguments, as they are asked for.

        Args:
            arguments: each is the one argument of a call; for several see ``starmap``.
                Read lazily, at most ``window`` ahead of the results taken.
            window: jobs in flight at once.
            ordered: results in the order of the arguments; False: as they come.

        Raises:
            JobFailed: at the first result that failed; the rest is dropped.
        """
        check_many(arguments, window, "arguments", ordered)
        from geartrain.client.flow import flow

        engine = self.call.home.client.engine
        return flow(engine, arguments, lambda one: self._submit((one,), {}), window, ordered)

    def starmap(
        self, arguments: Iterable[tuple[Any, ...]], /, *, window: int = 256, ordered: bool = True
    ) -> Iterator[R]:
        """As ``map``, where each item has all arguments of a call."""
        check_many(arguments, window, "arguments", ordered)
        from geartrain.client.flow import flow

        engine = self.call.home.client.engine
        return flow(engine, arguments, lambda args: self._submit(args, {}), window, ordered)

    def options(self, **options: Unpack[AllOptions]) -> Function[P, R]:
        """The same function, called with these options::

            resize.options(unique="img-42", priority="low").do_background("a.jpg", 200)

        Raises:
            TypeError: there is no such option.
        """
        return type(self)(self.call.with_options(options))

    @property
    def aio(self) -> AsyncFunction[P, R]:
        """The same verbs for asyncio: ``await resize.aio.do("a.jpg", 200)``."""
        from geartrain.typed.aio import AsyncFunction

        return AsyncFunction(self.call)

    # ── inside ───────────────────────────────────────────────────────────────

    def _submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], unseen: bool = True
    ) -> Task[R]:
        workload, options = self.call.request(args, kwargs, unseen)
        decode: Callable[[bytes], R] = self.declaration.signature.decode_result
        return self.call.home.client.hand_in(
            self.name, workload, options, False, decode, self.declaration.is_generator
        )

    def _submit_background(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task[None]:
        workload, options = self.call.request(args, kwargs, False)
        return self.call.home.client.hand_in(self.name, workload, options, True, _nothing)


class AwaitedFunction(Function[P, R]):
    """A function that is an ``async def``: a local call gives a coroutine."""

    def __call__(  # type: ignore[override]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Run it here, without any server; await what this returns."""
        return super().__call__(*args, **kwargs)  # type: ignore[return-value]


class GeneratorFunction(Function[P, R]):
    """A function that is a generator: its yields are sent as they come, its return is the result."""

    def __call__(  # type: ignore[override]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Generator[Any, Any, R]:
        """Run it here, without any server; what this returns is the generator."""
        return super().__call__(*args, **kwargs)  # type: ignore[return-value]


def _nothing(data: bytes) -> None:
    return None


def _with_options(function: Function[..., Any], options: AllOptions) -> Function[..., Any]:
    return function.options(**options)
