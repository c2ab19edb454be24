"""Records waiting their turn: in memory, spilt, spooled; after crashes too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.cli.backlog import Backlog, Memory, Overflow, Spool
from geartrain.cli.segments import Segments
from geartrain.errors import ConfigurationError


def drain(backlog: Backlog, most: int = 10**9) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < most and (record := backlog.take()) is not None:
        found.append(record[1])
    return found


def wants_more(backlog: Backlog) -> bool:
    return backlog.hungry


@given(st.lists(st.lists(st.binary(max_size=40), max_size=10), max_size=12), st.integers(1, 100))
def test_segments_give_back_what_they_were_given(puts: list[list[bytes]], limit: int) -> None:
    segments = Segments(segment_bytes=limit)
    for records in puts:
        segments.append(records)

    found = []
    while records_read := segments.read():
        found += records_read
        segments.forget(records_read[-1][0] + 1)

    whole = [record for records in puts for record in records]
    assert found == list(enumerate(whole))
    segments.close(keep=False)


def test_half_a_record_after_a_crash_is_cut_off(tmp_path: Path) -> None:
    segments = Segments(str(tmp_path))
    segments.append([b"one", b"two"])
    segments.close(keep=True)
    (file,) = tmp_path.glob("*.segment")
    with file.open("ab") as torn:
        torn.write(b"\0\0\0\x09only")

    again = Segments(str(tmp_path))
    again.append([b"three"])

    assert [record for _, record in again.read()] == [b"one", b"two", b"three"]
    again.close(keep=True)


def test_memory_has_had_enough_when_it_is_full() -> None:
    memory = Memory(limit=10)
    memory.put([b"12345"])
    assert wants_more(memory)
    memory.put([b"67890"])
    assert not wants_more(memory)

    assert memory.take() == (1, b"12345")

    assert wants_more(memory)


def test_overflow_is_always_hungry_and_keeps_the_order() -> None:
    overflow = Overflow(limit=100)
    lines = [b"%d\n" % n for n in range(5000)]
    found = []
    for at in range(0, 5000, 100):
        overflow.put(lines[at : at + 100])
        assert wants_more(overflow)
        found += drain(overflow, most=50)

    found += drain(overflow)

    assert found == lines
    assert overflow.empty


def test_overflow_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    overflow = Overflow(limit=1)
    overflow.put([b"a"])
    overflow.put([b"b", b"c"])

    assert list(tmp_path.iterdir()) == []
    assert drain(overflow) == [b"a", b"b", b"c"]
    overflow.close()


def test_overflow_keeps_what_a_full_disk_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    overflow = Overflow(limit=1)
    overflow.put([b"a"])
    overflow.put([b"b"])
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", _no_space)
    overflow.put([b"c"])

    assert not wants_more(overflow)
    monkeypatch.setattr(os, "pwrite", real)
    overflow.tick()

    assert wants_more(overflow)
    assert drain(overflow) == [b"a", b"b", b"c"]
    overflow.close()


def _no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_spool_sends_first_what_was_left_under_the_same_keys(tmp_path: Path) -> None:
    folder = str(tmp_path / "spool")
    spool = Spool(folder)
    spool.put([b"1", b"2", b"3", b"4"])
    first = [spool.take(), spool.take(), spool.take()]
    spool.done(1)
    spool.done(0)
    origin = spool.origin
    spool.close()

    again = Spool(folder)
    again.put([b"5"])

    assert first == [(0, b"1"), (1, b"2"), (2, b"3")]
    assert again.origin == origin
    assert again.left_over == 3
    assert [again.take(), again.take(), again.take()] == [(2, b"3"), (3, b"4"), (4, b"5")]
    assert again.take() is None
    again.close()


def test_a_spool_that_is_done_is_empty_and_never_repeats_a_key(tmp_path: Path) -> None:
    folder = str(tmp_path)
    spool = Spool(folder)
    spool.put([b"1", b"2"])
    drain(spool)
    spool.done(0)
    spool.done(1)
    spool.close()

    again = Spool(folder)
    again.put([b"3"])

    assert list(tmp_path.glob("*.segment")) != []
    assert again.take() == (2, b"3")
    again.done(2)
    again.close()
    assert list(tmp_path.glob("*.segment")) == []


def test_a_spool_that_was_killed_forgets_nothing(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), segment_bytes=64)
    spool.put([b"%d" % n for n in range(1000)])
    for number in range(600):
        assert spool.take() is not None
        spool.done(number)
    os.close(spool._lock)  # as the end of a process does; nothing else is closed or noted

    again = Spool(str(tmp_path), segment_bytes=64)
    left = drain(again)

    assert left[-400:] == [b"%d" % n for n in range(600, 1000)]
    assert len(left) <= 400 + 256


def test_a_spool_gives_finished_files_up(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), segment_bytes=1000)
    most = 0
    for number in range(20_000):
        spool.put([b"x" * 20])
        assert spool.take() is not None
        spool.done(number)
        most = max(most, len(list(tmp_path.glob("*.segment"))) if number % 500 == 0 else 0)

    assert most <= 12
    spool.close()


def test_a_spool_belongs_to_one_process(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))

    with pytest.raises(ConfigurationError, match="another gearman is using it"):
        Spool(str(tmp_path))

    spool.close()
    Spool(str(tmp_path)).close()


def test_a_spool_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"--spool .*: (Not a directory|File exists)"):
        Spool(str(tmp_path / "file" / "spool"))
