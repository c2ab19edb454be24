"""Cutting a stream into lines and lines into batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geartrain.cli.lines import Batches, Lines

BYTES = st.text("ab\n\0\r", max_size=60).map(str.encode)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Lines of data that arrives in pieces."""
    lines = Lines()
    found: list[bytes] = []
    start = 0
    for end in sorted({*(place % (len(data) + 1) for place in at), len(data)}):
        if end > start:
            found += lines.feed(data[start:end])
        start = end
    return found + lines.end()


@given(BYTES, st.lists(st.integers(0, 1000), max_size=5))
def test_lines_are_the_same_however_the_stream_is_cut(data: bytes, at: list[int]) -> None:
    found = cut(data, at)

    assert b"".join(found) == data
    assert all(line.endswith(b"\n") for line in found[:-1])
    assert all(line.count(b"\n") <= 1 for line in found)


def test_nothing_is_cut_at_nul_bytes_or_carriage_returns() -> None:
    assert Lines().feed(b"a\0b\r\nc\rd\n") == [b"a\0b\r\n", b"c\rd\n"]


def test_a_stream_without_newlines_does_not_grow_for_ever() -> None:
    lines = Lines(longest=10)

    assert lines.feed(b"123456") == []
    assert lines.feed(b"7890123") == [b"1234567890123"]
    assert lines.end() == []


def test_a_long_line_in_many_pieces_costs_what_it_weighs() -> None:
    lines = Lines()
    for _ in range(20_000):
        assert lines.feed(b"x" * 1000) == []

    (line,) = lines.feed(b"\n")

    assert len(line) == 20_000_001


def test_strip_takes_newlines_and_nothing_else() -> None:
    batches = Batches(strip=True)

    assert batches.feed([b"a\n", b"\n", b"ccc"]) == [b"a", b"", b"ccc"]


def test_batches_hold_whole_lines_up_to_a_number() -> None:
    batches = Batches(lines=2)

    assert batches.feed([b"1\n", b"2\n", b"3\n"]) == [b"1\n2\n"]
    assert batches.waiting == 2
    assert batches.flush() == [b"3\n"]
    assert batches.flush() == []


def test_batches_hold_whole_lines_up_to_a_size() -> None:
    batches = Batches(lines=0, size=6)

    assert batches.feed([b"12\n", b"34\n", b"5\n", b"678901234\n", b"x\n"]) == [
        b"12\n34\n",
        b"5\n",
        b"678901234\n",
    ]
    assert batches.flush() == [b"x\n"]


def test_a_stripped_batch_loses_its_last_newline_only() -> None:
    assert Batches(lines=2, strip=True).feed([b"1\n", b"2\n"]) == [b"1\n2"]


@given(st.lists(BYTES.map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=30),
       st.integers(0, 5), st.integers(0, 40))  # fmt: skip
def test_batching_loses_no_byte(lines: list[bytes], count: int, size: int) -> None:
    batches = Batches(lines=count, size=size)

    found = batches.feed(lines) + batches.flush()

    assert b"".join(found) == b"".join(lines)
    if count:
        assert all(batch.count(b"\n") <= count for batch in found)
