"""AsyncFunction: a typed function's verbs for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, ParamSpec, TypeVar, Unpack
from weakref import WeakKeyDictionary

from geartrain.client.aio import AsyncClient
from geartrain.client.aio_flow import flow
from geartrain.client.aio_waiting import AsyncTask
from geartrain.client.handle import Handle
from geartrain.client.options import check_many
from geartrain.typed.call import Call
from geartrain.typed.options import AllOptions

P = ParamSpec("P")
R = TypeVar("R")


class AsyncFunction(Generic[P, R]):
    """``Function.aio``: the same names, awaited. Errors are those of ``Function``.

    Each event loop has its own connections; ``await app.aclose()`` closes them.
    """

    def __init__(self, call: Call) -> None:
        self._call = call

    def __repr__(self) -> str:
        return f"<AsyncFunction {self._call.name}>"

    async def do(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Have a worker run it, and wait for the result."""
        return await (await self._submit(args, kwargs)).result()

    async def do_background(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Have a worker run it some time; return once the server has the job."""
        task = await self.submit_background(*args, **kwargs)
        return await task.wait_created(task.timeout or self._client.submit_timeout)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncTask[R]:
        """Have a worker run it; return as soon as the job is on its way."""
        return await self._submit(args, kwargs, False)

    async def submit_background(self, *args: P.args, **kwargs: P.kwargs) -> AsyncTask[None]:
        """Have a worker run it some time; the task is done at JOB_CREATED."""
        workload, options = self._call.request(args, kwargs, False)
        return await self._client.hand_in(
            self._call.name, workload, options, True, lambda data: None
        )

    def map(
        self,
        arguments: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
    ) -> AsyncIterator[R]:
        """The results for many arguments, one each, as they are asked for; see ``Function.map``."""
        check_many(arguments, window, "arguments", ordered)
        return flow(arguments, lambda one: self._submit((one,), {}), window, ordered)

    def starmap(
        self,
        arguments: Iterable[tuple[Any, ...]] | AsyncIterable[tuple[Any, ...]],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
    ) -> AsyncIterator[R]:
        """As ``map``, where each item has all arguments of a call."""
        check_many(arguments, window, "arguments", ordered)
        return flow(arguments, lambda args: self._submit(args, {}), window, ordered)

    def options(self, **options: Unpack[AllOptions]) -> AsyncFunction[P, R]:
        """The same function, called with these options; see ``Function.options``."""
        return AsyncFunction(self._call.with_options(options))

    @property
    def _client(self) -> AsyncClient:
        return self._call.home.aio_client

    async def _submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], unseen: bool = True
    ) -> AsyncTask[R]:
        workload, options = self._call.request(args, kwargs, unseen)
        decode: Callable[[bytes], R] = self._call.declaration.signature.decode_result
        return await self._client.hand_in(
            self._call.name,
            workload,
            options,
            False,
            decode,
            self._call.declaration.is_generator,
        )


class AsyncClients:
    """One client for each event loop; they cannot be shared."""

    def __init__(self) -> None:
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = (
            WeakKeyDictionary()
        )

    def get(self, *args: Any, **settings: Any) -> AsyncClient:
        """The running loop's client, made if there is none.

        Raises:
            RuntimeError: no loop is running.
        """
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = AsyncClient(*args, **settings)
        return client

    async def close(self) -> None:
        """Close the running loop's client."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
