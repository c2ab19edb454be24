"""Codecs: values to bytes and back, and what must not come back."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.codecs import Codec, Compressed, JsonCodec, Pickle, Signed, codec_of
from geartrain.errors import ConfigurationError, DecodeError, EncodeError

KEY = b"0123456789abcdef"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
STRUCTURED: list[Codec] = [
    codec_of("json"),
    codec_of("msgpack"),
    Pickle(KEY),
    Signed("json", KEY),
    Compressed("json", min_size=10),
    Compressed(Signed("msgpack", KEY), min_size=0),
]


@pytest.mark.parametrize("codec", STRUCTURED, ids=lambda codec: codec.name)
@given(value=VALUES)
def test_values_come_back(codec: Codec, value: Any) -> None:
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("codec", STRUCTURED, ids=lambda codec: codec.name)
@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_value_or_a_clear_no(codec: Codec, data: bytes) -> None:
    try:
        codec.decode(data)
    except DecodeError:
        pass


@given(st.binary())
def test_bytes_stay_what_they_are(data: bytes) -> None:
    codec = codec_of("bytes")
    assert codec.decode(codec.encode(data)) == data
    assert codec.encode(bytearray(data)) == codec.encode(memoryview(data)) == data


def test_bytes_take_text_and_nothing_else() -> None:
    assert codec_of("bytes").encode("ä") == "ä".encode()
    with pytest.raises(EncodeError, match="choose a codec"):
        codec_of("bytes").encode(5)


def test_text() -> None:
    codec = codec_of("text")
    assert codec.decode(codec.encode("ä")) == "ä"
    with pytest.raises(EncodeError):
        codec.encode(b"x")
    with pytest.raises(DecodeError):
        codec.decode(b"\xff")


@pytest.mark.parametrize("codec", [codec_of("json"), codec_of("msgpack"), Pickle(KEY)])
def test_what_cannot_be_said_is_an_error_of_ours(codec: Codec) -> None:
    with pytest.raises(EncodeError):
        codec.encode(lambda: None)


def test_empty_workload_is_nothing() -> None:
    assert codec_of("json").decode(b"") is None
    assert codec_of("msgpack").decode(b"") is None


def test_json_is_checked_against_a_type() -> None:
    assert codec_of("json").decode(b"[1]", list[int]) == [1]
    with pytest.raises(DecodeError):
        codec_of("json").decode(b'["a"]', list[int])


@given(VALUES)
def test_json_without_msgspec_reads_and_writes_the_same(value: Any) -> None:
    plain, fast = JsonCodec(), JsonCodec()
    plain._msgspec = None
    assert plain.decode(fast.encode(value)) == value
    assert fast.decode(plain.encode(value)) == value
    assert json.loads(fast.encode(value)) == value


def test_signed_refuses_what_is_not_signed_with_its_key() -> None:
    codec = Signed("json", KEY)
    data = codec.encode({"a": 1})
    for wrong in (b"", data[:-1], data[:31], bytes([data[0] ^ 1]) + data[1:], data + b" "):
        with pytest.raises(DecodeError, match="not signed"):
            codec.decode(wrong)
    with pytest.raises(DecodeError):
        Signed("json", KEY + b"2").decode(data)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("unpickled what was not signed",))


def test_pickle_looks_at_nothing_that_is_not_signed() -> None:
    data = pickle.dumps(Bomb())
    with pytest.raises(DecodeError):
        Pickle(KEY).decode(data)
    with pytest.raises(DecodeError):
        Pickle(KEY).decode(bytes(32) + data)


def test_pickle_cannot_be_had_by_a_bare_name() -> None:
    with pytest.raises(ConfigurationError, match="key"):
        codec_of("pickle")


def test_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="16"):
        Pickle(b"secret")


def test_compressed_shrinks_what_is_worth_it_and_nothing_else() -> None:
    codec = Compressed("bytes", min_size=100)
    assert len(codec.encode(b"a" * 10_000)) < 100
    assert codec.encode(b"a" * 99) == b"\0" + b"a" * 99


def test_few_bytes_do_not_unfold_to_gigabytes() -> None:
    codec = Compressed("bytes", max_size=1000)
    assert codec.decode(b"\1" + zlib.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(DecodeError, match="more than 1000"):
        codec.decode(b"\1" + zlib.compress(bytes(1001)))
    with pytest.raises(DecodeError, match="too early"):
        codec.decode(b"\1" + zlib.compress(bytes(1000))[:-4])


class Upper:
    name = "upper"

    def encode(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def decode(self, data: bytes, type: Any = Any) -> Any:
        return data.decode().lower()


def test_own_codecs_are_welcome_and_odd_ones_told() -> None:
    upper = Upper()
    assert codec_of(upper) is upper
    assert codec_of("json") is codec_of("json")
    with pytest.raises(ConfigurationError, match="'nonsense': there is none of that name"):
        codec_of("nonsense")
    with pytest.raises(ConfigurationError, match="no codec"):
        codec_of(7)  # type: ignore[arg-type]


def test_codecs_import_nothing_heavy() -> None:
    code = (
        "import sys, geartrain.codecs; print({'msgspec', 'msgpack', 'pickle'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert answer.stdout == "set()\n"
