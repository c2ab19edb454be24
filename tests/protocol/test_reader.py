"""PacketReader: bytes in, whole packets and lines out, however the network cut them."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.errors import BadMagic, LineTooLong, PacketTooLarge
from geartrain.protocol.packets import encode, encode_request, encode_response
from geartrain.protocol.reader import (
    LARGE_BODY,
    LINE,
    NOTHING,
    PACKET,
    WRONG_MAGIC,
    PacketReader,
)

#: What was read: its kind, the packet's number (0 for a line), the body or the line.
Found = tuple[int, int, bytes]


def read_all(reader: PacketReader) -> list[Found]:
    """Everything that is whole now."""
    found: list[Found] = []
    while (kind := reader.next()) != NOTHING:
        if kind == LINE:
            found.append((LINE, 0, reader.line))
        else:
            found.append((kind, reader.number, reader.body))
    return found


def read(data: bytes, cuts: list[int] | None = None, **limits: int) -> list[Found]:
    """Feed ``data`` in pieces of these sizes, over and over; all of it at once without."""
    reader = PacketReader(True, **limits)
    found: list[Found] = []
    stream = BytesIO(data)
    at = 0
    while piece := stream.read(cuts[at % len(cuts)] if cuts else -1):
        reader.feed(piece)
        found += read_all(reader)
        at += 1
    return found


numbers = st.one_of(st.integers(1, 42), st.integers(0, 2**32 - 1))
bodies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([LARGE_BODY - 1, LARGE_BODY, LARGE_BODY + 1, 3 * LARGE_BODY]).map(
        lambda size: b"ab\0\n" * (size // 4) + b"x" * (size % 4)
    ),
)
packets = st.tuples(st.just(PACKET), numbers, bodies)
lines = st.tuples(
    st.just(LINE),
    st.just(0),
    st.one_of(
        st.sampled_from([b"status", b"maxqueue f 1 2 3", b""]),
        st.binary(max_size=30).filter(
            lambda line: (
                not line.startswith((b"\0", b"\x16\x03", b"\x15\x03"))
                and b"\n" not in line
                and line[-1:] != b"\r"
            )
        ),
    ),
)
wrong = st.tuples(st.just(WRONG_MAGIC), numbers, bodies)
messages = st.lists(st.one_of(packets, lines, wrong), max_size=8)
cuts = st.lists(
    st.one_of(st.integers(1, 5), st.integers(1, 2 * LARGE_BODY)), min_size=1, max_size=20
)


def on_the_wire(message: Found, crlf: bool = False) -> bytes:
    kind, number, content = message
    if kind == LINE:
        return content + (b"\r\n" if crlf else b"\n")
    return encode(b"\0REQ" if kind == PACKET else b"\0RES", number, content)


@given(messages, cuts, st.booleans())
def test_however_the_stream_is_cut_the_same_is_read(
    messages: list[Found], cuts: list[int], crlf: bool
) -> None:
    data = b"".join(on_the_wire(message, crlf) for message in messages)
    # A body of a hundred thousand bytes in pieces of one says no more than in pieces of 500.
    if len(data) > 10_000:
        cuts = [cut * 500 for cut in cuts]

    assert read(data, cuts) == messages


@given(messages)
def test_everything_that_came_at_once_is_read_at_once(messages: list[Found]) -> None:
    assert read(b"".join(on_the_wire(message) for message in messages)) == messages


def test_packets_and_lines_byte_by_byte() -> None:
    data = (
        encode_request(7, b"reverse", b"", b"test")
        + b"version\r\n"
        + encode_request(4)
        + b"status\n"
        + encode_request(13, b"H:vm:1", b"a\0b\nc")
    )

    assert read(data, [1]) == [
        (PACKET, 7, b"reverse\0\0test"),
        (LINE, 0, b"version"),
        (PACKET, 4, b""),
        (LINE, 0, b"status"),
        (PACKET, 13, b"H:vm:1\0a\0b\nc"),
    ]


def test_first_bytes_of_the_protocols_own_example() -> None:
    data = bytes.fromhex("00524551 00000001 00000007") + b"reverse"

    assert read(data) == [(PACKET, 1, b"reverse")]


@pytest.mark.parametrize("size", [LARGE_BODY - 1, LARGE_BODY, LARGE_BODY + 1, 2**20])
@pytest.mark.parametrize("cut", [1000, LARGE_BODY, 2**19])
def test_body_of_any_size_arrives_whole_with_what_follows_it(size: int, cut: int) -> None:
    body = b"\0REQ" * (size // 4) + b"\n" * (size % 4)
    data = encode_request(28, body) + b"status\n" + encode_request(16, body)

    assert read(data, [cut]) == [(PACKET, 28, body), (LINE, 0, b"status"), (PACKET, 16, body)]


def test_half_a_packet_is_nothing_yet() -> None:
    whole = encode_request(16, b"hello")
    reader = PacketReader(True)

    for byte in whole[:-1]:
        reader.feed(bytes((byte,)))
        assert reader.next() == NOTHING
    assert reader.held == len(whole) - 1
    reader.feed(whole[-1:])

    assert reader.next() == PACKET
    assert reader.body == b"hello"
    assert reader.held == 0


def test_room_is_made_for_what_came_and_not_for_what_was_announced() -> None:
    reader = PacketReader(True)

    reader.feed(struct.pack(">4sII", b"\0REQ", 7, 200 * 2**20) + b"x")

    assert reader.next() == NOTHING
    assert reader.held == 1
    assert reader.wanted == 200 * 2**20 - 1


def test_more_may_come_before_a_large_body_is_taken() -> None:
    reader = PacketReader(True)
    large = encode_request(16, b"x" * LARGE_BODY)
    reader.feed(large[:100])
    assert reader.next() == NOTHING

    reader.feed(large[100:] + b"status\nver")
    reader.feed(b"sion\n")

    assert read_all(reader) == [
        (PACKET, 16, b"x" * LARGE_BODY),
        (LINE, 0, b"status"),
        (LINE, 0, b"version"),
    ]


def test_type_with_the_highest_bit_is_a_number_like_others() -> None:
    found = read(struct.pack(">4sII", b"\0REQ", 0x80000000, 0) + encode_request(0xFFFFFFFF, b"x"))

    assert found == [(PACKET, 0x80000000, b""), (PACKET, 0xFFFFFFFF, b"x")]


@pytest.mark.parametrize("data", [b"\0", b"\0R", b"\0RE", b"\0REQ", b"\0REQ\0\0", b"\0RES\0"])
def test_beginning_of_a_magic_is_waited_for(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize(
    "data", [b"\0\0", b"\0X", b"\0RX", b"\0REX", b"\0REX\0\0\0\0\0\0\0\0", b"\0REP" + bytes(20)]
)
def test_wrong_magic_is_found_as_soon_as_it_shows(data: bytes) -> None:
    with pytest.raises(BadMagic) as caught:
        read(data)

    assert caught.value.code == "INVALID_MAGIC"
    assert data.startswith(caught.value.found)


@pytest.mark.parametrize("cuts", [[1], [2, 1], [100]])
def test_tls_is_told_from_a_line_by_its_first_bytes(cuts: list[int]) -> None:
    hello = b"\x16\x03\x01\0\x05\x01\n\n\n\n"

    with pytest.raises(BadMagic, match="the other side speaks TLS") as caught:
        read(hello, cuts)
    with pytest.raises(BadMagic) as later:
        read(b"status\n" + hello, cuts)

    assert caught.value.is_tls
    assert later.value.is_tls
    assert read(b"\x16\n") == [(LINE, 0, b"\x16")]


def test_other_sides_magic_is_wrong_but_the_stream_goes_on() -> None:
    data = encode_response(8, b"H:1") + encode_request(16, b"x")

    assert read(data) == [(WRONG_MAGIC, 8, b"H:1"), (PACKET, 16, b"x")]


def test_clients_reader_takes_what_a_server_says() -> None:
    reader = PacketReader(False)
    reader.feed(encode_response(8, b"H:1") + encode_request(16, b"x") + b"OK\n")

    assert read_all(reader) == [(PACKET, 8, b"H:1"), (WRONG_MAGIC, 16, b"x"), (LINE, 0, b"OK")]


def test_packet_over_the_limit_is_refused_on_its_header() -> None:
    reader = PacketReader(True, max_packet_bytes=1000)
    reader.feed(struct.pack(">4sII", b"\0REQ", 7, 1001))

    with pytest.raises(PacketTooLarge) as caught:
        reader.next()

    assert (caught.value.number, caught.value.size, caught.value.limit) == (7, 1001, 1000)
    assert caught.value.code == "ARGUMENT_TOO_LARGE"


def test_packet_of_just_the_limit_is_read() -> None:
    assert read(encode_request(7, b"x" * 1000), max_packet_bytes=1000) == [(PACKET, 7, b"x" * 1000)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_longest_line_is_read_and_a_longer_one_refused(end: bytes) -> None:
    line = b"x" * (100 - len(end))

    assert read(line + end, max_line_bytes=100) == [(LINE, 0, line)]
    with pytest.raises(LineTooLong):
        read(line + b"x" + end, max_line_bytes=100)


def test_line_that_does_not_end_is_refused_without_waiting() -> None:
    reader = PacketReader(True, max_line_bytes=100)
    reader.feed(b"x" * 99)
    assert reader.next() == NOTHING

    reader.feed(b"x")

    with pytest.raises(LineTooLong):
        reader.next()


@given(st.binary(max_size=200), cuts)
def test_noise_is_read_or_refused(data: bytes, cuts: list[int]) -> None:
    try:
        found = read(data, cuts, max_packet_bytes=100, max_line_bytes=50)
    except (BadMagic, PacketTooLarge, LineTooLong):
        return

    assert sum(len(content) for _, _, content in found) <= len(data)


def test_idle_reader_keeps_nothing_of_what_it_read() -> None:
    reader = PacketReader(True)
    reader.feed(b"status\n" * 1000)

    read_all(reader)

    assert reader.held == 0
