"""What is said of a server that is away: one line for all slots, and then fewer."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest

from geartrain.transport.address import Address
from geartrain.worker.absence import LONGEST_SILENCE_SECONDS, is_away, is_here


def test_a_hundred_slots_are_one_line_and_later_ones_come_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = Address("absent", 1)
    error = ConnectionError("cannot connect (absent:1: refused)")
    lines: list[float] = []
    with caplog.at_level(logging.INFO):
        for tenth in range(6000):
            before = len(caplog.records)
            for _ in range(100 if tenth < 3 else 1):
                is_away(address, error, 0.2, tenth / 10)
            lines += [tenth / 10] * (len(caplog.records) - before)
        said = [record.getMessage() for record in caplog.records]
        is_here(address)
        is_here(address)

    assert lines[:5] == [0, 1, 3, 7, 15]
    assert max(b - a for a, b in pairwise(lines)) <= LONGEST_SILENCE_SECONDS
    assert said[0] == "cannot connect (absent:1: refused); trying again in 0.2 seconds"
    assert [r.getMessage() for r in caplog.records[len(said) :]] == ["absent:1 is there again"]
