"""Decoded values against annotations, where msgspec is not installed.

msgspec does this while it decodes, and better. This is the sensible remainder: it
checks what JSON and MessagePack can say (numbers, text, lists, objects, unions,
literals), makes tuples, sets, enums and dataclasses of them, and leaves alone what
it does not know.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from geartrain.errors import DecodeError

#: Annotations that a decoded list is made into.
_LISTS: dict[Any, Any] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    Iterable: list,
    Collection: list,
    AbstractSet: set,
}


def shape(value: Any, kind: Any, where: str = "$") -> Any:
    """The value as its annotation wants it.

    Args:
        value: decoded, made of what JSON can say.
        kind: the annotation.
        where: path to the value, for the message.

    Raises:
        DecodeError: it is something else; the text says where.
    """
    if kind is Any or kind is object:
        return value
    if kind is None or kind is type(None):
        return value if value is None else _refuse(value, "null", where)
    origin = get_origin(kind)
    if origin is Annotated:
        return shape(value, get_args(kind)[0], where)
    if origin is Literal:
        return (
            value if value in get_args(kind) else _refuse(value, f"one of {get_args(kind)}", where)
        )
    if origin in (Union, types.UnionType):
        return _one_of(value, kind, where)
    container = origin or kind
    if container in _LISTS:
        return _list(value, kind, container, where)
    if container in (dict, Mapping):
        return _mapping(value, kind, where)
    if isinstance(kind, type):
        return _instance(value, kind, where)
    return value


def _instance(value: Any, kind: type[Any], where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind in (int, float, str, bool):
        # bool is an int to Python, and not to anybody who reads JSON.
        return value if type(value) is kind else _refuse(value, kind.__name__, where)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        _names(value, set(hints), set(getattr(kind, "__required_keys__", ())), where)
        return {k: shape(v, hints[k], f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, kind):
        return value
    if kind in (bytes, bytearray):
        return kind(_unarmour(value, where))
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            return _refuse(value, f"one of {[member.value for member in kind]}", where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, where)
    return value


def _unarmour(value: Any, where: str) -> Any:
    """Bytes, which JSON carries as base64 (as msgspec does)."""
    if not isinstance(value, str):
        return _refuse(value, "bytes, or text in base64", where)
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return _refuse(value, "text in base64", where)


def _one_of(value: Any, kind: Any, where: str) -> Any:
    kinds = get_args(kind)
    # What it is already comes first: 1 in `float | int` is to stay an int.
    for one in kinds:
        if isinstance(one, type) and type(value) is one:
            return value
    for one in kinds:
        try:
            return shape(value, one, where)
        except DecodeError:
            continue
    return _refuse(value, " or ".join(getattr(one, "__name__", str(one)) for one in kinds), where)


def _list(value: Any, kind: Any, container: Any, where: str) -> Any:
    make = _LISTS[container]
    if not isinstance(value, (list, tuple, set, frozenset)):
        return _refuse(value, "a list", where)
    kinds = get_args(kind)
    if container is tuple and kinds and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            return _refuse(value, f"a list of {len(kinds)}", where)
        pairs = zip(value, kinds, strict=True)
        return tuple(shape(v, k, f"{where}[{n}]") for n, (v, k) in enumerate(pairs))
    inner = kinds[0] if kinds else Any
    return make(shape(v, inner, f"{where}[{n}]") for n, v in enumerate(value))


def _mapping(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return _refuse(value, "an object", where)
    kinds = get_args(kind)
    if not kinds:
        return value
    return {k: shape(v, kinds[1], f"{where}.{k}") for k, v in value.items()}


def _dataclass(value: Any, kind: type[Any], where: str) -> Any:
    hints = get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    _names(value, {field.name for field in fields}, required, where)
    return kind(**{k: shape(v, hints.get(k, Any), f"{where}.{k}") for k, v in value.items()})


def _names(value: Any, allowed: set[str], required: set[str], where: str) -> None:
    if not isinstance(value, dict):
        _refuse(value, "an object", where)
    if missing := sorted(required - value.keys()):
        raise DecodeError(f"{where} has no {missing[0]!r}")
    if unknown := sorted(value.keys() - allowed):
        raise DecodeError(f"{where} has an unknown {unknown[0]!r}; it takes {sorted(allowed)}")


def _refuse(value: Any, wanted: str, where: str) -> Any:
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    raise DecodeError(f"expected {wanted}, got {text} at {where}")
