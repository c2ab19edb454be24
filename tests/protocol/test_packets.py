"""Packets in bytes, there and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.protocol import commands as c
from geartrain.protocol.packets import (
    HEADER_BYTES,
    REQUEST,
    RESPONSE,
    Headers,
    encode,
    encode_request,
    encode_response,
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
