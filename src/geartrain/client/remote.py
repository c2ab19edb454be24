"""RemoteFunction: one function's name and codec, to be asked for values.

A door to functions that nobody declared in Python; those that are declared have a
richer one (``geartrain.App``).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, Unpack

from geartrain.client.handle import Handle
from geartrain.client.options import BackgroundOptions, SubmitOptions, check_many
from geartrain.client.waiting import Task
from geartrain.codecs import CodecLike, codec_of

if TYPE_CHECKING:
    from geartrain.client.aio_waiting import AsyncTask

V = TypeVar("V")
T = TypeVar("T")


class Asking(Protocol):
    """What a remote function needs of a ``Client``, which offers remote functions itself."""

    def do_background(
        self, function: str, workload: bytes, /, **options: Unpack[BackgroundOptions]
    ) -> Handle: ...

    def submit_decoded(
        self,
        function: str,
        workload: bytes,
        decode: Callable[[bytes], T],
        /,
        **options: Unpack[SubmitOptions],
    ) -> Task[T]: ...

    def submit_background(
        self, function: str, workload: bytes, /, **options: Unpack[BackgroundOptions]
    ) -> Task[None]: ...

    def map(
        self,
        function: str,
        workloads: Iterable[bytes],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[bytes]: ...


class AsyncAsking(Protocol):
    """The same of an ``AsyncClient``."""

    async def do_background(
        self, function: str, workload: bytes, /, **options: Unpack[BackgroundOptions]
    ) -> Handle: ...

    async def submit_decoded(
        self,
        function: str,
        workload: bytes,
        decode: Callable[[bytes], T],
        /,
        **options: Unpack[SubmitOptions],
    ) -> AsyncTask[T]: ...

    async def submit_background(
        self, function: str, workload: bytes, /, **options: Unpack[BackgroundOptions]
    ) -> AsyncTask[None]: ...

    def map(
        self,
        function: str,
        workloads: AsyncIterable[bytes],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[bytes]: ...


class RemoteFunction(Generic[V]):
    """A function somewhere, whose workloads and results are values.

    Attributes:
        name: on the wire, without the client's namespace.
        codec: turns values into workloads, and results into values.
    """

    def __init__(self, client: Asking, name: str, codec: CodecLike = "bytes") -> None:
        self._client = client
        self.name = name
        self.codec = codec_of(codec)

    def __repr__(self) -> str:
        return f"<RemoteFunction {self.name} ({self.codec.name})>"

    def do(self, value: V, /, **options: Unpack[SubmitOptions]) -> Any:
        """Ask, and wait for the answer; errors as in ``Client.do``, and ``CodecError``."""
        return self.submit(value, **options).result()

    def do_background(self, value: V, /, **options: Unpack[BackgroundOptions]) -> Handle:
        """Have it done some time; return once the server has it."""
        return self._client.do_background(self.name, self.codec.encode(value), **options)

    def submit(self, value: V, /, **options: Unpack[SubmitOptions]) -> Task[Any]:
        """Ask, and return at once."""
        workload = self.codec.encode(value)
        return self._client.submit_decoded(self.name, workload, self.codec.decode, **options)

    def submit_background(self, value: V, /, **options: Unpack[BackgroundOptions]) -> Task[None]:
        """Have it done some time; the task is done at JOB_CREATED."""
        return self._client.submit_background(self.name, self.codec.encode(value), **options)

    def map(
        self,
        values: Iterable[V],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Any]:
        """The results over many values, as they are asked for; see ``Client.map``."""
        check_many(values, window, "values", ordered)
        workloads = map(self.codec.encode, values)
        results = self._client.map(self.name, workloads, window=window, ordered=ordered, **options)
        return map(self.codec.decode, results)


class AsyncRemoteFunction(Generic[V]):
    """``RemoteFunction`` for asyncio: the same names, awaited."""

    def __init__(self, client: AsyncAsking, name: str, codec: CodecLike = "bytes") -> None:
        self._client = client
        self.name = name
        self.codec = codec_of(codec)

    def __repr__(self) -> str:
        return f"<AsyncRemoteFunction {self.name} ({self.codec.name})>"

    async def do(self, value: V, /, **options: Unpack[SubmitOptions]) -> Any:
        """Ask, and wait for the answer; errors as in ``Client.do``, and ``CodecError``."""
        return await (await self.submit(value, **options)).result()

    async def do_background(self, value: V, /, **options: Unpack[BackgroundOptions]) -> Handle:
        """Have it done some time; return once the server has it."""
        return await self._client.do_background(self.name, self.codec.encode(value), **options)

    async def submit(self, value: V, /, **options: Unpack[SubmitOptions]) -> AsyncTask[Any]:
        """Ask; return as soon as the job is on its way."""
        workload = self.codec.encode(value)
        return await self._client.submit_decoded(self.name, workload, self.codec.decode, **options)

    async def submit_background(
        self, value: V, /, **options: Unpack[BackgroundOptions]
    ) -> AsyncTask[None]:
        """Have it done some time; the task is done at JOB_CREATED."""
        return await self._client.submit_background(self.name, self.codec.encode(value), **options)

    def map(
        self,
        values: Iterable[V] | AsyncIterable[V],
        /,
        *,
        window: int = 256,
        ordered: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[Any]:
        """The results over many values, as they are asked for; see ``Client.map``."""
        check_many(values, window, "values", ordered)
        workloads = _encoded(values, self.codec.encode)
        results = self._client.map(self.name, workloads, window=window, ordered=ordered, **options)
        return _decoded(results, self.codec.decode)


async def _decoded(
    results: AsyncIterator[bytes], decode: Callable[[bytes], Any]
) -> AsyncIterator[Any]:
    async for result in results:
        yield decode(result)


async def _encoded(
    values: Iterable[V] | AsyncIterable[V], encode: Callable[[V], bytes]
) -> AsyncIterator[bytes]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield encode(value)
    else:
        for value in values:
            yield encode(value)
