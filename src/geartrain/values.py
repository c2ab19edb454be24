"""Value: a base for plain classes that compare, print and match by what they hold.

What ``dataclass`` would do for the same classes, without importing ``dataclasses``
(and with it ``inspect``) and without compiling methods for each class at import: the
commands run in shell loops, where their start is their latency. And a frozen
dataclass sets each field through ``object.__setattr__``; these are made at half the cost,
and compiled at a tenth, for every packet.

A subclass names its attributes in ``__slots__``, those that count in
``__match_args__``, and sets them in ``__init__``, which takes them in that order and
``request``, if it has one, last. They are for reading: type checkers see ``Final``,
nothing hinders at run time.
"""

from __future__ import annotations

from typing import Any

from geartrain._native import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Value:
    """Equal to another of the same class that holds the same."""

    __slots__ = ()

    def _held(self) -> tuple[Any, ...]:
        """Everything that counts."""
        names: tuple[str, ...] = getattr(self, "__match_args__", ())
        return tuple([getattr(self, name) for name in names])

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        assert isinstance(other, Value)
        return self._held() == other._held()

    def __hash__(self) -> int:
        return hash((self.__class__, self._held()))

    def __repr__(self) -> str:
        names: tuple[str, ...] = getattr(self, "__match_args__", ())
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{self.__class__.__qualname__}({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A compiled class has no slots that pickle and copy would find.
        request = getattr(self, "request", None)
        held = self._held()
        return self.__class__, held if request is None else (*held, request)
