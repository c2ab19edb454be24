"""RemoteFunction: one function's name and codec, to be asked for values.

A door to functions that nobody declared in Python; those that are declared have a
richer one (``geartrain.App``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, Unpack

from geartrain.client.handle import Handle
from geartrain.client.options import BackgroundOptions, SubmitOptions
from geartrain.client.waiting import Task
from geartrain.codecs import CodecLike, codec_of

V = TypeVar("V")


class Submitter(Protocol):
    """What a remote function needs of its client."""

    def submit_decoded(
        self,
        function: str,
        workload: bytes,
        decode: Callable[[bytes], Any],
        /,
        **options: Unpack[SubmitOptions],
    ) -> Task[Any]:
        """Submit a job whose result is decoded."""

    def do_background(
        self, function: str, workload: bytes, /, **options: Unpack[BackgroundOptions]
    ) -> Handle:
        """Submit a job that nobody waits for."""


class RemoteFunction(Generic[V]):
    """A function somewhere, whose workloads and results are values.

    Attributes:
        name: on the wire, without the client's namespace.
        codec: turns values into workloads, and results into values.
    """

    def __init__(self, client: Submitter, name: str, codec: CodecLike = "bytes") -> None:
        self._client = client
        self.name = name
        self.codec = codec_of(codec)

    def do(self, value: V, /, **options: Unpack[SubmitOptions]) -> Any:
        """Ask, and wait for the answer; errors as in ``Client.do``, and ``CodecError``."""
        return self.submit(value, **options).result()

    def submit(self, value: V, /, **options: Unpack[SubmitOptions]) -> Task[Any]:
        """Ask, and return at once."""
        workload = self.codec.encode(value)
        return self._client.submit_decoded(self.name, workload, self.codec.decode, **options)

    def do_background(self, value: V, /, **options: Unpack[BackgroundOptions]) -> Handle:
        """Have it done some time; return once the server has it."""
        return self._client.do_background(self.name, self.codec.encode(value), **options)

    def map(
        self, values: Iterable[V], /, *, window: int = 256, **options: Unpack[SubmitOptions]
    ) -> Iterator[Any]:
        """The results over many values, in their order; at most ``window`` ahead."""
        from collections import deque

        flight: deque[Task[Any]] = deque()
        for value in values:
            flight.append(self.submit(value, **options))
            if len(flight) >= window:
                yield flight.popleft().result()
        while flight:
            yield flight.popleft().result()

    def __repr__(self) -> str:
        return f"<RemoteFunction {self.name} ({self.codec.name})>"
