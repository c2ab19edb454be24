"""Value: a base for plain classes that compare, print and match by what they hold.

What ``dataclass`` would do for the same classes, without importing ``dataclasses``
(and with it ``inspect``) and without compiling methods for each class at import: the
commands run in shell loops, where their start is their latency. And a frozen
dataclass sets each field through ``object.__setattr__``; these are made at half the cost,
for every packet.

A subclass names its attributes in ``__slots__``, those that count in
``__match_args__``, and sets them in ``__init__``. They are for reading: type checkers
see ``Final``, nothing hinders at run time.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, ClassVar, cast


class Value:
    """Equal to another of the same class that holds the same."""

    __slots__ = ()

    #: Everything that counts, in one object.
    _essence: ClassVar[Any] = None

    def __init_subclass__(cls) -> None:
        names = cast("tuple[str, ...]", cls.__dict__.get("__match_args__", ()))
        if names:
            cls._essence = attrgetter(*names)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._essence is None or bool(self._essence(self) == self._essence(other))

    def __hash__(self) -> int:
        return hash((self.__class__, self._essence and self._essence(self)))

    def __repr__(self) -> str:
        names = cast("tuple[str, ...]", getattr(self, "__match_args__", ()))
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({fields})"
