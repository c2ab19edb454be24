"""The functions that a worker can do, and how one job of them is done."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar, overload

from geartrain.client.options import Seconds, check_function, seconds_of, shortened
from geartrain.codecs import Codec, CodecLike, codec_of
from geartrain.errors import EncodeError, StopWorker
from geartrain.values import Value
from geartrain.worker.blame import blame, traceback_of
from geartrain.worker.job import Job, Status, _current, log

#: Takes a job; what it returns is the result. A generator's ``yield`` sends
#: WORK_DATA (or WORK_STATUS, for a ``Status``), its ``return`` is the result.
Handler: TypeAlias = Callable[[Job], Any]
H = TypeVar("H", bound=Callable[..., Any])


class Decorator(Protocol):
    """What ``function(...)`` with arguments gives."""

    def __call__(self, fn: H, /) -> H: ...


class Ability(Value):
    """One function that can be done here.

    Attributes:
        name: without namespace.
        handler: does it.
        timeout_ms: the server gives the job to another after that; 0: never.
        codec: workload and result.
    """

    __slots__ = ("codec", "handler", "is_raw", "name", "timeout_ms")
    __match_args__: ClassVar = ("name", "handler", "timeout_ms", "codec")

    def __init__(self, name: str, handler: Handler, timeout_ms: int, codec: Codec) -> None:
        self.name: Final = name
        self.handler: Final = handler
        self.timeout_ms: Final = timeout_ms
        self.codec: Final = codec
        #: Workload and result are bytes as they are.
        self.is_raw: Final = codec.name == "bytes"


class Functions:
    """``{name: Ability}``, and a count of changes for those who must tell the servers."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self.changes = 0
        self.have_timeouts = False
        self._by_wire_name: dict[bytes, Ability] = {}

    def add(self, name: str, handler: Handler, timeout: Seconds | None, codec: CodecLike) -> None:
        """Add one, or replace it.

        Raises:
            TypeError, ValueError: an argument cannot be.
        """
        check_function(name)
        if not callable(handler):
            raise TypeError(f"fn = {shortened(handler)}: want a function that takes a Job")
        seconds = seconds_of(timeout)
        if seconds is not None and seconds < 0:
            raise ValueError(f"timeout = {timeout}: want more than 0 seconds, or None for no limit")
        milliseconds = max(1, round(seconds * 1000)) if seconds else 0
        ability = Ability(name, handler, milliseconds, codec_of(codec))
        self._by_wire_name[(self.namespace + name).encode()] = ability
        self._changed()

    def remove(self, name: str) -> None:
        """Take one away; a name that is not there is no error."""
        if self._by_wire_name.pop((self.namespace + name).encode(), None) is not None:
            self._changed()

    def _changed(self) -> None:
        self.have_timeouts = any(a.timeout_ms for a in self._by_wire_name.values())
        self.changes += 1

    def find(self, wire_name: bytes) -> Ability | None:
        """The ability for a name on the wire."""
        return self._by_wire_name.get(wire_name)

    def name_of(self, wire_name: bytes) -> str:
        """A function's name without the namespace, also of one that is no longer here."""
        ability = self._by_wire_name.get(wire_name)
        if ability is not None:
            return ability.name
        return wire_name.decode("utf-8", "surrogateescape").removeprefix(self.namespace)

    def on_the_wire(self) -> dict[bytes, int]:
        """``{name: milliseconds}``, the last one first.

        The C 1.1 server serves the function that was announced last before all
        others; announced in reverse, the first one that was added is preferred.
        """
        return {n: a.timeout_ms for n, a in reversed(list(self._by_wire_name.items()))}

    def __len__(self) -> int:
        return len(self._by_wire_name)

    @overload
    def decorate(self, name: Callable[..., Any], timeout: None, codec: CodecLike) -> Any: ...
    @overload
    def decorate(
        self, name: str | None, timeout: Seconds | None, codec: CodecLike
    ) -> Decorator: ...
    def decorate(
        self, name: str | Callable[..., Any] | None, timeout: Seconds | None, codec: CodecLike
    ) -> Any:
        """Both forms of the decorator: ``@function`` and ``@function("name", ...)``."""
        if callable(name):
            self.add(name.__name__, name, timeout, codec)
            return name

        def decorator(fn: H) -> H:
            self.add(name or fn.__name__, fn, timeout, codec)
            return fn

        return decorator


def payload_of(value: Any, codec: Codec) -> bytes:
    """What a handler returned, as the payload of WORK_COMPLETE.

    Raises:
        EncodeError: the codec cannot.
    """
    if value is None and codec.name == "bytes":
        return b""
    return codec.encode(value)


def do_job(ability: Ability, job: Job) -> BaseException | None:
    """Run the handler and end the job as it says.

    Returns:
        What the worker must know of: a ``StopWorker``, or what is no
        ``Exception`` (then the job has been given back).
    """
    token = _current.set(job)
    try:
        if not ability.is_raw:
            job.args = ability.codec.decode(job.workload)
        result = ability.handler(job)
        if isinstance(result, GeneratorType):
            result = drive(result, job)
        if not job.ended:
            if not (ability.is_raw and type(result) is bytes):
                result = payload_of(result, ability.codec)
            job.send_complete(result)
    except StopWorker as stop:
        end_by_stop(ability, job, stop)
        return stop
    except Exception as error:
        note_failure(job, error)
        job.end_with(error, traceback_of(error))
    except BaseException as error:
        job.end_with(error)
        return error
    finally:
        _current.reset(token)
    return None


def end_by_stop(ability: Ability, job: Job, stop: StopWorker) -> None:
    """A handler has stopped the worker: its job ends with the result that it gave."""
    if job.ended:
        return
    try:
        job.send_complete(payload_of(stop.result, ability.codec))
    except EncodeError as error:
        job.end_with(error)


def note_failure(job: Job, error: BaseException) -> None:
    """Log it where people look for it."""
    from geartrain.errors import Fail, Requeue

    if isinstance(error, (Fail, Requeue)):
        log.info("%s %s: %s %s", job.function, job.handle, type(error).__name__, error)
        return
    blamed = blame(error)
    if blamed is None:
        log.error("%s %s failed: %s", job.function, job.handle, error)
    else:
        log.error("%s %s failed", job.function, job.handle, exc_info=blamed)


def drive(generator: Generator[Any, Any, Any], job: Job) -> Any:
    """Send what a generator handler yields; return what it returns."""
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            return end.value
        send_item(item, job)


def send_item(item: Any, job: Job) -> None:
    """One yielded item: a ``Status`` is WORK_STATUS, anything else WORK_DATA."""
    if isinstance(item, Status):
        job.send_status(item.numerator, item.denominator)
    else:
        job.send_data(item)
