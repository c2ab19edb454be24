"""Decoded values against annotations, with msgspec and without: both must say the same."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypedDict

import pytest

from geartrain.codecs import JsonCodec
from geartrain.errors import DecodeError
from geartrain.typed.signature import Signature


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


class Named(TypedDict):
    name: str


@pytest.fixture(params=["msgspec", "alone"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> JsonCodec:
    """JSON, with msgspec and as if it were not installed."""
    if request.param == "alone":
        monkeypatch.setitem(sys.modules, "msgspec", None)
    else:
        pytest.importorskip("msgspec")
    return JsonCodec()


GOOD: list[tuple[Any, bytes, Any]] = [
    (int, b"1", 1),
    (float, b"1", 1.0),
    (str | None, b"null", None),
    (int | str, b'"a"', "a"),
    (list[int], b"[1,2]", [1, 2]),
    (tuple[int, str], b'[1,"a"]', (1, "a")),
    (tuple[int, ...], b"[1,2,3]", (1, 2, 3)),
    (set[int], b"[1,1]", {1}),
    (Sequence[str], b'["a"]', ["a"]),
    (dict[str, float], b'{"a":1.5}', {"a": 1.5}),
    (Literal["a", "b"], b'"b"', "b"),
    (bytes, b'"YWI="', b"ab"),
    (Colour, b'"red"', Colour.RED),
    (Point, b'{"x":1}', Point(1)),
    (list[Point], b'[{"x":1,"y":2}]', [Point(1, 2)]),
    (Named, b'{"name":"ann"}', {"name": "ann"}),
    (Any, b'{"x":[1]}', {"x": [1]}),
]
BAD: list[tuple[Any, bytes]] = [
    (int, b'"1"'),
    (int, b"1.5"),
    (int, b"true"),
    (str, b"1"),
    (bool, b"1"),
    (str, b"null"),
    (list[int], b'[1,"a"]'),
    (tuple[int, str], b"[1]"),
    (dict[str, int], b"[1]"),
    (int | str, b"[]"),
    (Literal["a", "b"], b'"c"'),
    (bytes, b'"?"'),
    (Colour, b'"blue"'),
    (Point, b'{"y":1}'),
    (Point, b'{"x":"1"}'),
    (Named, b'{"name":1}'),
]


def signature(kind: Any, codec: JsonCodec) -> Signature:
    def fn(value: Any) -> Any: ...

    fn.__annotations__ = {"value": kind, "return": kind}
    return Signature(fn, codec)


@pytest.mark.parametrize(("kind", "data", "value"), GOOD, ids=str)
def test_a_value_becomes_what_its_annotation_says(
    codec: JsonCodec, kind: Any, data: bytes, value: Any
) -> None:
    it = signature(kind, codec)

    assert it.decode(b'{"value":' + data + b"}") == {"value": value}
    assert it.decode_result(data) == value
    assert type(it.decode_result(data)) is type(value)


@pytest.mark.parametrize(("kind", "data"), BAD, ids=str)
def test_a_value_of_another_kind_is_refused_with_its_place(
    codec: JsonCodec, kind: Any, data: bytes
) -> None:
    it = signature(kind, codec)

    with pytest.raises(DecodeError, match=r"\$\.value"):
        it.decode(b'{"value":' + data + b"}")
    with pytest.raises(DecodeError):
        it.decode_result(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"{}", "value"), (b'{"value":1,"x":2}', "x"), (b"[]", "object"), (b"", "value")],
)
def test_names_are_checked_as_types_are(codec: JsonCodec, data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        signature(int, codec).decode(data)


def test_annotations_that_cannot_be_found_are_not_checked(codec: JsonCodec) -> None:
    def fn(value: NotThere) -> AlsoNot: ...  # type: ignore[name-defined]  # noqa: F821

    assert Signature(fn, codec).decode(b'{"value":[1]}') == {"value": [1]}
