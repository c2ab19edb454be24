"""How often, and how long between: a value, not a loop.

Pure: chance comes in as an argument, waiting is for whoever asks.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeAlias

from geartrain.errors import ConfigurationError
from geartrain.values import Value

ExceptionTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]


class Retry(Value):
    """Try again, after growing pauses.

    Attributes:
        attempts: runs in all, the first included.
        backoff: seconds before the second attempt.
        factor: each further pause is so many times the one before.
        max_backoff: seconds, at most.
        jitter: share of the pause by which it varies, up or down, so that a
            crowd that failed together does not come back together.
        on: which errors are worth another attempt.

    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    __slots__ = ("attempts", "backoff", "factor", "jitter", "max_backoff", "on")
    __match_args__: ClassVar = ("attempts", "backoff", "factor", "max_backoff", "jitter", "on")

    def __init__(
        self,
        attempts: int = 3,
        *,
        backoff: float = 1.0,
        factor: float = 2.0,
        max_backoff: float = 300.0,
        jitter: float = 0.1,
        on: ExceptionTypes = Exception,
    ) -> None:
        self.attempts: Final = attempts
        self.backoff: Final = backoff
        self.factor: Final = factor
        self.max_backoff: Final = max_backoff
        self.jitter: Final = jitter
        self.on: Final = on
        if self.attempts < 1:
            raise ConfigurationError(f"attempts = {self.attempts}: want 1 or more")
        if self.backoff < 0 or self.max_backoff < 0 or self.factor <= 0:
            raise ConfigurationError("backoff, max_backoff and factor cannot be negative")
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError(f"jitter = {self.jitter}: want 0 to 1")
        kinds: tuple[object, ...] = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise ConfigurationError(
                f"on = {self.on!r}: want an exception class, or a tuple of them"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        names = self.__match_args__
        return _retry, (self.attempts, {name: getattr(self, name) for name in names[1:]})

    def wants(self, failures: int, error: BaseException) -> bool:
        """Whether to try again after so many failures, the last of which was ``error``."""
        return failures < self.attempts and isinstance(error, self.on)

    def pause(self, failures: int, chance: float) -> float:
        """Seconds to wait before the next attempt.

        Args:
            failures: so far, counted from 1.
            chance: uniform in [0, 1), drawn by the caller.
        """
        if failures < 1:
            raise ValueError(f"failures = {failures}: a first attempt needs no pause")
        try:
            whole = self.backoff * self.factor ** (failures - 1)
        except OverflowError:
            whole = self.max_backoff
        whole = min(self.max_backoff, whole)
        return min(self.max_backoff, whole * (1.0 + self.jitter * (2.0 * chance - 1.0)))


def _retry(attempts: int, others: dict[str, Any]) -> Retry:
    return Retry(attempts, **others)


def retry_of(value: Retry | int) -> Retry | None:
    """What ``retry=`` may be: a ``Retry``, or the number of *further* attempts; None for none."""
    if isinstance(value, Retry):
        return value if value.attempts > 1 else None
    if type(value) is not int:
        raise TypeError(f"retry = {value!r}: want a Retry, or how many more attempts")
    if value < 0:
        raise ConfigurationError(f"retry = {value}: want 0 or more")
    return Retry(value + 1) if value else None
