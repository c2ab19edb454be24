"""The board, and the handlers that write on it."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from geartrain.errors import Requeue
from geartrain.manager.board import Board
from geartrain.manager.watched import watched


def test_a_row_says_what_runs_and_what_has_been_done() -> None:
    board = Board(4)
    pen = board.pen(2)

    first = pen.begin(b"resize")
    pen.begin(b"wc")

    row = board.read(2)
    assert (row.running, row.function, row.jobs) == (2, "wc", 0)
    pen.end(first, failed=True)
    row = board.read(2)
    assert (row.running, row.function, row.jobs, row.failures) == (1, "wc", 1, 1)
    assert board.read(1).jobs == 0


def test_a_row_can_be_read_after_its_writer_was_killed() -> None:
    board = Board(1)
    pid = os.fork()
    if not pid:
        board.pen(0).begin(b"deadly")
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)

    assert board.read(0).function == "deadly"


def test_a_name_that_is_too_long_is_cut() -> None:
    board = Board(1)
    board.pen(0).begin("ä".encode() * 200)

    assert board.read(0).function.startswith("ää")


def test_a_reader_never_sees_half_a_row() -> None:
    board = Board(1)
    pen = board.pen(0)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            pen.end(pen.begin(b"a" * 50), failed=True)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2000):
            row = board.read(0)
            assert row.failures == row.jobs
            assert row.function in ("", "a" * 50)
            assert row.running == bool(row.function)
    finally:
        stop.set()
        thread.join()


class Notes:
    """``begin`` and ``end`` that remember."""

    def __init__(self) -> None:
        self.ends: list[bool] = []
        self.begun = 0

    def begin(self) -> int:
        self.begun += 1
        return self.begun

    def end(self, ticket: int, failed: bool) -> None:
        assert ticket == self.begun
        self.ends.append(failed)


def test_plain_functions_and_generators_are_watched_to_their_end() -> None:
    notes = Notes()

    def pieces(job: Any) -> Any:
        yield 1
        return 2

    assert watched(lambda job: job, notes.begin, notes.end)(7) == 7
    generator = watched(pieces, notes.begin, notes.end)(None)
    assert notes.ends == [False]
    assert list(generator) == [1]
    assert notes.ends == [False, False]


def test_failures_are_counted_and_giving_back_is_none() -> None:
    notes = Notes()

    def fails(job: Any) -> Any:
        raise job

    with pytest.raises(KeyError):
        watched(fails, notes.begin, notes.end)(KeyError())
    with pytest.raises(Requeue):
        watched(fails, notes.begin, notes.end)(Requeue())

    assert notes.ends == [True, False]


def test_coroutine_functions_and_asynchronous_generators_stay_what_they_are() -> None:
    notes = Notes()

    async def answer(job: Any) -> int:
        return 42

    async def pieces(job: Any) -> Any:
        yield 1

    async def both() -> list[Any]:
        found = [await watched(answer, notes.begin, notes.end)(None)]
        found += [piece async for piece in watched(pieces, notes.begin, notes.end)(None)]
        return found

    assert asyncio.iscoroutinefunction(watched(answer, notes.begin, notes.end))
    assert asyncio.run(both()) == [42, 1]
    assert notes.ends == [False, False]
