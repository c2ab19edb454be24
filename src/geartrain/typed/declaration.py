"""Declaration: what an app knows of one function, whoever calls or does it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from geartrain.client.options import PriorityLike, Seconds, priority_of, seconds_of
from geartrain.codecs import Codec, CodecLike, codec_of
from geartrain.errors import ConfigurationError
from geartrain.retry import Retry, retry_of
from geartrain.typed.signature import Signature

#: Makes the key of a job from the arguments of its call; or a key for all calls,
#: such as ``BY_WORKLOAD``.
UniqueLike = Callable[..., str] | str


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """One function.

    Attributes:
        fn: as it was written.
        name: on the wire, before its apps add their prefixes.
        signature: arguments and result <-> workloads.
        codec: makes the bytes.
        timeout: seconds after which a server gives the job to another worker; None: never.
        retry: how a worker tries again while it holds the job; None: not at all.
        priority: where nothing else is said.
        unique: key of a job; None: a fresh one each time.
        is_remote: only the signature is ours; somebody else does the work.
        is_async: an ``async def``.
        is_generator: its ``yield``s are sent while it runs.
    """

    fn: Callable[..., Any]
    name: str
    signature: Signature
    codec: Codec
    timeout: float | None
    retry: Retry | None
    priority: PriorityLike
    unique: UniqueLike | None
    is_remote: bool
    is_async: bool = field(init=False)
    is_generator: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.fn))
        object.__setattr__(self, "is_generator", inspect.isgeneratorfunction(self.fn))
        if inspect.isasyncgenfunction(self.fn):
            raise ConfigurationError(
                f"{self.name} is an async generator, which cannot return a result; write "
                f"`async def` with current_job().send_data(...)"
            )
        if self.is_generator and self.retry is not None:
            raise ConfigurationError(
                f"{self.name} is a generator: trying again would send its data twice; leave retry "
                f"out, or give it to options() of the caller"
            )


def declare(
    fn: Callable[..., Any],
    name: str | None,
    codec: CodecLike,
    *,
    timeout: Seconds | None = None,
    retry: Retry | int = 0,
    priority: PriorityLike = "normal",
    unique: UniqueLike | None = None,
    value: bool | None = None,
    is_remote: bool = False,
) -> Declaration:
    """Check what a decorator was given.

    Raises:
        ConfigurationError: it cannot be.
    """
    if not callable(fn):
        raise ConfigurationError(f"{fn!r} is no function")
    found = codec_of(codec)
    priority_of(priority)
    own_name = name if name is not None else getattr(fn, "__name__", "")
    if not own_name or "\0" in own_name:
        raise ConfigurationError(f"a function cannot be called {own_name!r}")
    return Declaration(
        fn,
        own_name,
        Signature(fn, found, value),
        found,
        seconds_of(timeout),
        retry_of(retry),
        priority,
        unique,
        is_remote,
    )
