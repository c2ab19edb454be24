"""Lists -> PostgreSQL arrays, in the binary form, one call a column.

psycopg can do this too, one call an element; a batch of a thousand jobs has ten
thousand elements. Fixed types besides: the same statement, prepared once.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, pack
from typing import Any, Final

from geartrain.stores.sql import plain

_BOOL: Final = 16
_BYTEA: Final = 17
_INT8: Final = 20
_INT2: Final = 21
_INT4: Final = 23
_TEXT: Final = 25
_FLOAT8: Final = 701

#: {element: array}
_ARRAYS: Final = {
    _BOOL: 1000, _BYTEA: 1001, _INT8: 1016, _INT2: 1005, _INT4: 1007, _TEXT: 1009, _FLOAT8: 1022
}  # fmt: skip

_NULL: Final = pack(">i", -1)
_SIZE: Final = Struct(">i")


class Column:
    """An array, ready to be sent."""

    __slots__ = ("data", "oid")

    def __init__(self, element: int, count: int, data: bytes) -> None:
        self.oid = _ARRAYS[element]
        # dimensions, has NULLs, element type; size and lower bound of the one dimension
        head = pack(">iii", 0, 0, element) if not count else pack(">iiiii", 1, 1, element, count, 1)
        self.data = head + data


def _fixed(element: int, code: str, size: int, values: Sequence[Any]) -> Column:
    flat: list[Any] = []
    for value in values:
        flat.append(size)
        flat.append(value)
    return Column(element, len(values), pack(">" + f"i{code}" * len(values), *flat))


def int8s(values: Sequence[int]) -> Column:
    return _fixed(_INT8, "q", 8, values)


def int4s(values: Sequence[int]) -> Column:
    return _fixed(_INT4, "i", 4, values)


def int2s(values: Sequence[int]) -> Column:
    return _fixed(_INT2, "h", 2, values)


def bools(values: Sequence[bool]) -> Column:
    return _fixed(_BOOL, "?", 1, values)


def float8s(values: Sequence[float | None]) -> Column:
    parts = [_NULL if value is None else pack(">id", 8, value) for value in values]
    return Column(_FLOAT8, len(values), b"".join(parts))


def maybe_int4s(values: Sequence[int | None]) -> Column:
    parts = [_NULL if value is None else pack(">ii", 4, value) for value in values]
    return Column(_INT4, len(values), b"".join(parts))


def byteas(values: list[bytes | None]) -> Column:
    return Column(_BYTEA, len(values), _joined(values))


def texts(values: Sequence[str | None]) -> Column:
    encoded = [None if value is None else plain(value).encode() for value in values]
    return Column(_TEXT, len(values), _joined(encoded))


def _joined(values: list[bytes | None]) -> bytes:
    size = _SIZE.pack
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(size(len(value)))
            parts.append(value)
    return b"".join(parts)
