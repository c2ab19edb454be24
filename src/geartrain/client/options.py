"""How a job is asked for: the options of every submitting method, and their checks.

They are spelled alike in all clients, so they stand in one place; ``Unpack`` lets
editors help with each.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, TypedDict

from geartrain.client.handle import Handle
from geartrain.errors import ConfigurationError
from geartrain.retry import Retry, retry_of
from geartrain.terms import MAX_HANDLE_BYTES, PRIORITY_NAMES
from geartrain.values import Value

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from geartrain.client.events import WorkStatus
    from geartrain.client.task import BaseTask
    from geartrain.errors import GearmanError

#: Times are seconds everywhere.
Seconds: TypeAlias = "float | timedelta"
Buffer: TypeAlias = bytes | bytearray | memoryview | str


class Priority(IntEnum):
    """Which queue of the function a job goes to."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


PriorityLike: TypeAlias = Priority | Literal["high", "normal", "low"]

#: ``unique=BY_WORKLOAD``: the key is a digest of the workload, made here, so equal
#: workloads coalesce on any server (and reach the same one).
BY_WORKLOAD: Final = "\0by-workload"

#: The C server cuts a key of 64 bytes and garbles the job (protocol reference, 1.3).
MAX_UNIQUE_BYTES: Final = MAX_HANDLE_BYTES


#: Names of functions that are kept; a program that makes them up must not grow by them.
MANY_NAMES: Final = 1000


class SubmitOptions(TypedDict, total=False):
    """Options of ``do`` and ``submit``."""

    #: Key for coalescing. None: one is made up, so nothing coalesces. ``"-"``: the
    #: server uses the workload. ``BY_WORKLOAD``: a digest made here.
    unique: str | bytes | None
    #: ``high``, ``normal`` or ``low``.
    priority: PriorityLike
    #: Seconds to wait for the result; the job itself goes on.
    timeout: Seconds | None
    #: Resubmit after JobLost, or a failure that the ``Retry`` lists.
    retry: Retry | int
    #: Function that merges the results (SUBMIT_REDUCE_JOB).
    reducer: str | None
    #: Yours; the task carries it.
    context: Any
    #: Called with the task once the server has the job. As all of these, by whoever waits.
    on_created: Callable[[Any], object] | None
    #: Called with the task and a piece of the result, which is then not part of ``result()``.
    on_data: Callable[[Any, bytes], object] | None
    #: Called with the task and a warning.
    on_warning: Callable[[Any, bytes], object] | None
    #: Called with the task and a ``WorkStatus``.
    on_status: Callable[[Any, WorkStatus], object] | None
    #: Called with the task when it has ended well.
    on_complete: Callable[[Any], object] | None
    #: Called with the task and the error when it has not.
    on_fail: Callable[[Any, GearmanError], object] | None


class BackgroundOptions(TypedDict, total=False):
    """Options of ``do_background`` and ``submit_background``."""

    #: As for jobs that are waited for, and so are ``priority`` and ``retry``.
    unique: str | bytes | None
    #: ``normal`` where there is a ``when``: the protocol has no other.
    priority: PriorityLike
    #: Not before: an aware datetime, a delay, or seconds since 1970.
    when: datetime | timedelta | int | None
    #: Seconds to wait for JOB_CREATED.
    timeout: Seconds | None
    #: Submit again where no server could be reached.
    retry: Retry | int
    #: Yours; the task carries it.
    context: Any


class Callbacks(Value):
    """What a user wants to be told, and how."""

    __slots__ = ("complete", "created", "data", "fail", "status", "warning")
    __match_args__: ClassVar = ("created", "data", "warning", "status", "complete", "fail")

    def __init__(
        self,
        created: Callable[[Any], object] | None,
        data: Callable[[Any, bytes], object] | None,
        warning: Callable[[Any, bytes], object] | None,
        status: Callable[[Any, WorkStatus], object] | None,
        complete: Callable[[Any], object] | None,
        fail: Callable[[Any, GearmanError], object] | None,
    ) -> None:
        self.created: Final = created
        self.data: Final = data
        self.warning: Final = warning
        self.status: Final = status
        self.complete: Final = complete
        self.fail: Final = fail


def seconds_of(value: Seconds | None, name: str = "timeout") -> float | None:
    """Seconds as a float; None stays None: for ever.

    Args:
        name: of the argument, for the error.

    Raises:
        TypeError, ValueError: it is no time.
    """
    if value is None:
        return None
    if type(value) is float or type(value) is int:
        if value == value:
            return float(value)
        raise ValueError(f"{name} = {value!r}: want a number of seconds")
    from datetime import timedelta

    if isinstance(value, timedelta):
        return value.total_seconds()
    given: Any = value
    if not isinstance(given, (str, bytes)):  # float("1") would do, and hide a mistake
        try:
            seconds = float(given)
        except (TypeError, ValueError):
            pass
        else:
            if seconds == seconds:
                return seconds
            raise ValueError(f"{name} = {value!r}: want a number of seconds")
    raise TypeError(f"{name} = {value!r}: want seconds, a timedelta, or None for ever")


def limit_of(value: Seconds | None, name: str) -> float | None:
    """A time that something may take: seconds, more than none; None: for ever.

    Raises:
        ConfigurationError: none at all.
        TypeError, ValueError: it is no time.
    """
    seconds = seconds_of(value, name)
    if seconds is not None and seconds <= 0:
        raise ConfigurationError(f"{name} = {value!r}: want more than 0 seconds, or None for ever")
    return seconds


def count_of(value: object, name: str) -> None:
    """Refuse what cannot be a number of things, or None for any.

    Raises:
        ValueError: it is none.
    """
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{name} = {value!r}: want a number, 0 or more, or None for any")


def text_of(value: object, name: str) -> str:
    """A setting that has to be text.

    Raises:
        ConfigurationError: it is not, or has a NUL in it.
    """
    if not isinstance(value, str) or "\0" in value:
        raise ConfigurationError(f"{name} = {shortened(value)}: want text, without NUL")
    return value


def flag_of(value: object, name: str) -> bool:
    """A setting that is on or off. ``"no"``, from some file, would be true.

    Raises:
        ConfigurationError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} = {shortened(value)}: want True or False")
    return value


def check_function(name: object) -> None:
    """Refuse what cannot be the name of a function.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not name or not isinstance(name, str):
        raise no_function(name)
    if "\0" in name:
        raise ValueError(f"function = {shortened(name)}: want a name without NUL")


class WireNames(dict[str, bytes]):
    """``{function: its name on the wire}``, of those that were asked for."""

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace

    def learn(self, function: object) -> bytes:
        """One more name.

        Raises:
            TypeError, ValueError: it is none.
        """
        check_function(function)
        wire_name = (self._namespace + str(function)).encode()
        if len(self) < MANY_NAMES:
            self[str(function)] = wire_name
        return wire_name


def bytes_of(data: Buffer, name: str = "workload") -> bytes:
    """What users give as payload, as bytes; text is taken as UTF-8.

    Args:
        name: of the argument, for the error.

    Raises:
        TypeError: it is neither.
    """
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        return data.encode()
    try:
        # Not bytes(data): that makes twelve zeros of the number 12.
        return bytes(memoryview(data))
    except TypeError:
        raise TypeError(
            f"{name} = {shortened(data)}: want bytes or text; a codec makes them of other values"
        ) from None


def shortened(value: object) -> str:
    """A value for an error's text."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_many(items: object, window: object, name: str, ordered: object) -> None:
    """Refuse at the call what a generator would find out later.

    Raises:
        TypeError, ValueError: ``items`` cannot be gone through, there is no such window, or
            ``ordered`` is neither on nor off.
    """
    if not isinstance(items, (Iterable, AsyncIterable)):
        raise TypeError(f"{name} = {shortened(items)}: want an iterable of them")
    if isinstance(items, (str, bytes, bytearray)) and name == "workloads":
        raise TypeError(f"{name} = {shortened(items)}: want an iterable of them, not a single one")
    if not isinstance(window, int) or window < 1:
        raise ValueError(f"window = {window!r}: want 1 or more")
    flag_of(ordered, "ordered")


def no_function(name: object) -> Exception:
    """The error for what cannot be the name of a function."""
    if name == "":
        return ValueError("function = '': want a name")
    return TypeError(f"function = {shortened(name)}: want the name of a function")


def no_task(found: object) -> TypeError:
    """The error for what is among tasks, and is none."""
    return TypeError(f"tasks has {shortened(found)}: want Tasks, as submit() returns them")


def handle_of(handle: object) -> Handle:
    """A handle, with its server where that is known.

    Raises:
        TypeError: it is none.
        ValueError: a ``uri``. Nobody knows where a text comes from, and what it
            names is not asked unless the caller says so.
    """
    if isinstance(handle, Handle):
        return handle
    if not isinstance(handle, str):
        raise TypeError(f"handle = {shortened(handle)}: want a Handle, or its text")
    if "#" in handle:
        raise ValueError(f"handle = {shortened(handle)} is a uri: read it with Handle.from_uri")
    return Handle(handle)


def handle_bytes_of(handle: str) -> bytes:
    """A handle on the wire."""
    return handle.encode("utf-8", "surrogateescape")


def priority_of(value: PriorityLike | int) -> int:
    """The number of a priority.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, int):
        if 0 <= value <= 2:
            return int(value)
    elif value in PRIORITY_NAMES:
        return PRIORITY_NAMES.index(value)
    raise ValueError(f"priority = {value!r}: want high, normal or low")


def unique_of(value: str | bytes, workload: bytes) -> bytes:
    """The key on the wire.

    Raises:
        ValueError: too long, or with a NUL.
    """
    if value == BY_WORKLOAD:
        from hashlib import blake2b

        return blake2b(workload, digest_size=20).hexdigest().encode()
    unique = bytes_of(value, "unique")
    if len(unique) > MAX_UNIQUE_BYTES or b"\0" in unique:
        raise ValueError(
            f"unique has {len(unique)} bytes ({unique[:80]!r}): want at most "
            f"{MAX_UNIQUE_BYTES}, without NUL; longer keys can be hashed"
        )
    return unique


def epoch_of(when: datetime | timedelta | float | None, now: float) -> int | None:
    """Seconds since 1970 before which a job is not to run; None: at once.

    Args:
        when: an aware datetime, a delay from ``now``, or seconds since 1970.
        now: seconds since 1970.

    Raises:
        TypeError, ValueError: it is no time; a datetime without a time zone.
    """
    if when is None:
        return None
    from datetime import datetime, timedelta

    if isinstance(when, timedelta):
        # Rounded up: never earlier than was asked for.
        return -int(-(now + when.total_seconds()) // 1)
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"when = {when!r} has no time zone; add one, or give a timedelta")
        return -int(-when.timestamp() // 1)
    if type(when) in (int, float):
        return int(when)
    raise TypeError(
        f"when = {when!r}: want a datetime with a time zone, a timedelta, or seconds since 1970"
    )


def callbacks_of(options: SubmitOptions) -> Callbacks | None:
    """The callbacks among the options, None where there are none."""
    found = Callbacks(
        options.get("on_created"),
        options.get("on_data"),
        options.get("on_warning"),
        options.get("on_status"),
        options.get("on_complete"),
        options.get("on_fail"),
    )
    if found == _NO_CALLBACKS:
        return None
    return found


_NO_CALLBACKS: Final = Callbacks(None, None, None, None, None, None)


def apply_options(
    task: BaseTask[Any], options: SubmitOptions | BackgroundOptions, retry: Retry | None, now: float
) -> None:
    """Write the options of one submission into its task.

    Args:
        retry: what holds where the options say nothing.
        now: seconds since 1970, for ``when``.

    Raises:
        ValueError: an option has a value that it cannot have.
        TypeError: an option that does not exist.
    """
    task.retry = retry
    for name, value in options.items():
        if name == "unique":
            if value is not None:
                task.unique = unique_of(value, task.workload)  # type: ignore[arg-type]
                task.unique_given = True
        elif name == "priority":
            task.priority = Priority(priority_of(value))  # type: ignore[arg-type]
        elif name == "retry":
            task.retry = retry_of(value)  # type: ignore[arg-type]
        elif name == "context":
            task.context = value
        elif name == "timeout":
            task.timeout = seconds_of(value)  # type: ignore[arg-type]
        elif name == "when" and task.background:
            task.when = epoch_of(value, now)  # type: ignore[arg-type]
        elif name == "reducer" and not task.background:
            if value is not None and (not isinstance(value, str) or not value):
                raise TypeError(f"reducer = {value!r}: want the name of a function, or None")
            task.reducer = value.encode() if value else None
        elif name not in _CALLBACK_NAMES or task.background:
            raise TypeError(f"there is no option {name!r} for this kind of job")
        elif value is not None:
            if not callable(value):
                raise TypeError(f"{name} = {value!r}: want a function, or None")
            if task.callbacks is None:
                task.callbacks = callbacks_of(options)  # type: ignore[arg-type]


_CALLBACK_NAMES: Final = (
    "on_created",
    "on_data",
    "on_warning",
    "on_status",
    "on_complete",
    "on_fail",
)
