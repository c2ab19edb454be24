"""Packets in bytes, there and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.errors import ProtocolError
from geartrain.protocol import commands as c
from geartrain.protocol.packets import (
    HEADER_BYTES,
    REQUEST,
    RESPONSE,
    Headers,
    encode,
    encode_request,
    encode_response,
    split_body,
)

#: Whole packets as the protocol's text has them.
WRITTEN_OUT = [
    (encode_request(c.CAN_DO, b"reverse"), "00524551 00000001 00000007 72657665727365"),
    (encode_request(c.GRAB_JOB), "00524551 00000009 00000000"),
    (
        encode_request(c.SUBMIT_JOB, b"reverse", b"", b"test"),
        "00524551 00000007 0000000d 72657665727365 00 00 74657374",
    ),
    (encode_response(c.JOB_CREATED, b"H:vm:1"), "00524553 00000008 00000006 483a766d3a31"),
    (
        encode_response(c.JOB_ASSIGN, b"H:vm:1", b"reverse", b"test"),
        "00524553 0000000b 00000013 483a766d3a31 00 72657665727365 00 74657374",
    ),
    (encode_response(c.NO_JOB), "00524553 0000000a 00000000"),
    (encode_response(c.NOOP), "00524553 00000006 00000000"),
]


@pytest.mark.parametrize(("packet", "written"), WRITTEN_OUT)
def test_packet_is_what_the_protocol_writes(packet: bytes, written: str) -> None:
    assert packet == bytes.fromhex(written)


@given(st.integers(0, 2**32 - 1), st.lists(st.binary(max_size=20), max_size=4))
def test_header_says_magic_type_and_size(number: int, arguments: list[bytes]) -> None:
    packet = encode(REQUEST, number, *arguments)

    assert struct.unpack(">4sII", packet[:HEADER_BYTES]) == (b"\0REQ", number, len(packet) - 12)
    assert packet[HEADER_BYTES:] == b"\0".join(arguments)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100_000])
def test_ready_made_header_is_the_one_that_would_be_made(size: int) -> None:
    headers = Headers(RESPONSE, c.WORK_COMPLETE)

    assert headers.of(size) == encode_response(c.WORK_COMPLETE, b"x" * size)[:12]


arguments_of = st.sampled_from(sorted(c.COMMANDS)).flatmap(
    lambda number: st.tuples(
        st.just(number),
        st.lists(
            st.binary(max_size=10).map(lambda argument: argument.replace(b"\0", b"")),
            min_size=len(c.COMMANDS[number].arguments),
            max_size=len(c.COMMANDS[number].arguments),
        ),
    )
)


@given(arguments_of, st.binary(max_size=10))
def test_every_packet_is_cut_into_the_arguments_it_was_made_of(
    packet: tuple[int, list[bytes]], opaque: bytes
) -> None:
    number, arguments = packet
    if arguments:
        # The last argument may hold anything, NUL bytes included.
        arguments[-1] = opaque

    body = encode_request(number, *arguments)[12:]

    assert split_body(number, body) == arguments


@pytest.mark.parametrize(
    "number", [number for number, row in c.COMMANDS.items() if len(row.arguments) > 1]
)
def test_one_argument_too_few_is_refused_by_name(number: int) -> None:
    row = c.COMMANDS[number]
    body = b"\0".join([b"x"] * (len(row.arguments) - 1))

    with pytest.raises(ProtocolError, match=row.name) as caught:
        split_body(number, body)

    assert row.arguments[-1] in str(caught.value)


@pytest.mark.parametrize(
    "number", [number for number, row in c.COMMANDS.items() if not row.arguments]
)
def test_body_of_a_packet_without_arguments_is_ignored(number: int) -> None:
    assert split_body(number, b"what\0is this") == []


@pytest.mark.parametrize("number", [0, 5, 43, 0x80000000])
def test_body_of_an_unknown_packet_is_refused(number: int) -> None:
    with pytest.raises(ProtocolError, match=str(number)):
        split_body(number, b"")
