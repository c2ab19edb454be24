"""Signature: a call's arguments <-> the plain object that is its workload.

The object has one member for each argument, by name::

    shrink("a.jpg", "small.jpg", width=200)  ->  {"src": "a.jpg", "dest": "small.jpg", "width": 200}

Defaults are left to the worker, so that it may change them. There is no envelope:
PHP sends the same with ``json_encode``. With ``value=True`` the only argument stands
bare, which is the one way for codecs such as ``bytes`` that know no objects.

Annotations are looked at on first use, when forward references can be found; what
cannot be found, or what no decoder knows, is not checked.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import cached_property
from inspect import Parameter
from typing import Any, Final, get_args, get_origin, get_type_hints

from geartrain.codecs import Codec
from geartrain.errors import ConfigurationError, DecodeError
from geartrain.typed.shapes import shape

_LONE_CODECS: Final = ("bytes", "text")


class Signature:
    """How a function is called, over the wire.

    Args:
        fn: the function; only its signature is used.
        codec: makes the bytes.
        value: the only argument is the workload, bare. None: as the codec needs it.

    Raises:
        ConfigurationError: bare, with several arguments; or a generator whose
            annotation does not tell its result.
    """

    def __init__(self, fn: Callable[..., Any], codec: Codec, value: bool | None = None) -> None:
        self._fn = fn
        self._codec = codec
        self._signature = inspect.signature(fn)
        parameters = list(self._signature.parameters.values())
        if value is None:
            value = codec.name in _LONE_CODECS
        self.is_bare = value
        name = getattr(fn, "__qualname__", repr(fn))
        if value and (len(parameters) > 1 or any(p.kind in _VARIABLE for p in parameters)):
            why = "value=True" if codec.name not in _LONE_CODECS else f"the codec {codec.name}"
            raise ConfigurationError(
                f"{name}{self._signature}: {why} sends one argument, and no names; give it one "
                f"parameter, or another codec"
            )
        self._names = tuple(self._signature.parameters)
        self._required = {
            p.name for p in parameters if p.default is p.empty and p.kind not in _VARIABLE
        }
        self._by_position = sum(p.kind in _POSITIONAL for p in parameters)
        self._is_plain = not any(
            p.kind in _VARIABLE or p.kind == p.POSITIONAL_ONLY for p in parameters
        )
        self._rest = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), None)
        self._extra = next((p.name for p in parameters if p.kind == p.VAR_KEYWORD), None)
        if inspect.isgeneratorfunction(fn):
            annotated = str(self._signature.return_annotation)
            if self._signature.return_annotation is not Parameter.empty and (
                "Generator" not in annotated
            ):
                raise ConfigurationError(
                    f"{name} is a generator, annotated as {annotated}: want Generator[X, None, R], "
                    f"so that its callers know what it returns"
                )

    # ── the caller's side ────────────────────────────────────────────────────

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, in the order of the signature, without defaults.

        Raises:
            TypeError: they do not fit, as for a local call.
        """
        if self._is_plain and len(args) <= self._by_position:
            named = dict(zip(self._names, args, strict=False))
            if not kwargs:
                if self._required <= named.keys():
                    return named
            elif not (kwargs.keys() & named.keys()):
                given = {**named, **kwargs}
                ordered = {name: given[name] for name in self._names if name in given}
                if len(ordered) == len(given) and self._required <= given.keys():
                    return ordered
        bound = self._signature.bind(*args, **kwargs).arguments
        if self._rest is not None and self._rest in bound:
            bound[self._rest] = list(bound[self._rest])
        if self._extra is not None and self._extra in bound:
            bound.update(bound.pop(self._extra))
        return bound

    def encode(self, arguments: dict[str, Any]) -> bytes:
        """The workload of a call.

        Raises:
            EncodeError: an argument cannot be said in this codec.
        """
        if not self.is_bare:
            return self._codec.encode(arguments)
        if not arguments:
            return b""
        return self._codec.encode(next(iter(arguments.values())))

    def decode_result(self, data: bytes) -> Any:
        """What the function has returned.

        Raises:
            DecodeError: the worker sent something else than the annotation says.
        """
        if self._returns is type(None):
            return None
        return self._decode(data, self._returns)

    # ── the worker's side ────────────────────────────────────────────────────

    def decode(self, data: bytes) -> dict[str, Any]:
        """The arguments of a call, by name, checked against the annotations.

        Raises:
            DecodeError: the workload is something else; the text says what and where.
        """
        if self.is_bare:
            if not self._names or (not data and not self._required and self._names):
                return {}
            name = self._names[0]
            return {name: self._decode(data, self._hints.get(name, Any))}
        if not data:
            arguments: Any = {}
        elif self._struct is not None:
            found = self._codec.decode(data, self._struct)
            if isinstance(found, self._struct):
                unset = self._unset
                return {
                    name: value
                    for name in self._names
                    if (value := getattr(found, name)) is not unset
                }
            arguments = found
        else:
            arguments = self._codec.decode(data)
        return self._check(arguments)

    def call_with(self, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """``args`` and ``kwargs`` of the call."""
        if self._is_plain:
            return [], arguments
        args: list[Any] = []
        kwargs = dict(arguments)
        for name, parameter in self._signature.parameters.items():
            if name not in kwargs:
                if parameter.kind is Parameter.POSITIONAL_ONLY:
                    break
                continue
            if parameter.kind is Parameter.VAR_POSITIONAL:
                args += kwargs.pop(name)
            elif parameter.kind is Parameter.POSITIONAL_ONLY or (
                parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and self._rest in kwargs
            ):
                args.append(kwargs.pop(name))
        return args, kwargs

    # ── inside ───────────────────────────────────────────────────────────────

    def _check(self, arguments: Any) -> dict[str, Any]:
        """Names and, where this can be said of decoded values, types."""
        if not isinstance(arguments, dict):
            raise DecodeError(
                f"expected an object with the arguments {list(self._names)}, got a "
                f"{type(arguments).__name__}"
            )
        for name in self._names:
            if name not in arguments and name in self._required:
                raise DecodeError(f"the argument {name!r} is missing")
        known = set(self._names) - {self._extra}
        if self._extra is None and (unknown := sorted(map(str, arguments.keys() - known))):
            raise DecodeError(f"unknown argument {unknown[0]!r}; there are {list(self._names)}")
        if self._carries_any_value:
            return arguments
        checked: dict[str, Any] = {}
        for name, value in arguments.items():
            kind = self._hints.get(name if name in known else self._extra or "", Any)
            if name == self._rest and name in known:
                kind = list[kind]  # type: ignore[valid-type]
            checked[name] = shape(value, kind, f"$.{name}")
        return checked

    def _decode(self, data: bytes, kind: Any) -> Any:
        if kind is Any or self._codec.name in _LONE_CODECS or self._carries_any_value:
            return self._codec.decode(data)
        if self._msgspec is not None and _is_known(self._msgspec, kind):
            return self._codec.decode(data, kind)
        return shape(self._codec.decode(data), kind)

    @cached_property
    def _msgspec(self) -> Any:
        try:
            import msgspec
        except ImportError:
            return None
        return msgspec

    @property
    def _unset(self) -> Any:
        return self._msgspec.UNSET

    @cached_property
    def _carries_any_value(self) -> bool:
        """Whether values come out as they went in, so that there is nothing to shape."""
        return "pickle" in self._codec.name

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self._fn, include_extras=True)
        except (NameError, TypeError, AttributeError):
            return {}  # imported for type checkers only

    @cached_property
    def _returns(self) -> Any:
        kind = self._hints.get("return", Any)
        if get_origin(kind) in (Generator, AsyncGenerator):
            arguments = get_args(kind)
            kind = arguments[2] if len(arguments) == 3 else Any
        return kind

    @cached_property
    def _struct(self) -> Any:
        """A msgspec type that decodes and checks all arguments in one go; None: there is none."""
        msgspec = self._msgspec
        if msgspec is None or self._extra is not None or self._carries_any_value:
            return None
        fields: list[Any] = []
        for name in self._names:
            kind = self._hints.get(name, Any)
            if name == self._rest:
                kind = list[kind]  # type: ignore[valid-type]
            if not _is_known(msgspec, kind):
                kind = Any
            if name in self._required:
                fields.append((name, kind))
            else:
                fields.append(
                    (name, kind | msgspec.UnsetType if kind is not Any else Any, msgspec.UNSET)
                )
        try:
            return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
        except (TypeError, ValueError):
            return None


_VARIABLE: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def _is_known(msgspec: Any, kind: Any) -> bool:
    """Whether msgspec can decode into an annotation."""
    try:
        msgspec.json.Decoder(kind)
    except TypeError:
        return False
    return True
