"""Numbers with units, wherever people write them."""

from __future__ import annotations

import pytest

from geartrain.units import SIZES, TIMES, whole, with_unit


@pytest.mark.parametrize(
    ("text", "size"),
    [("10", 10), ("10b", 10), ("64k", 65536), ("1.5 GiB", 1.5 * 2**30), ("2Ti", 2**41), (7, 7)],
)
def test_a_size_counts_in_powers_of_1024(text: object, size: float) -> None:
    assert with_unit(text, SIZES) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("500ms", 0.5), ("2min", 120), ("12H", 43200), ("1d", 86400)]
)
def test_a_time_counts_in_seconds(text: object, seconds: float) -> None:
    assert with_unit(text, TIMES) == seconds


@pytest.mark.parametrize(
    "value", ["", "k", "-1", "1e3", "1y", "9" * 19, True, None, float("inf"), float("nan"), 2**63]
)
def test_what_is_no_number_with_a_unit_is_none(value: object) -> None:
    assert with_unit(value, TIMES) is None


@pytest.mark.parametrize(("value", "number"), [("12", 12), ("-3", -3), (5, 5)])
def test_a_whole_number_may_be_text(value: object, number: int) -> None:
    assert whole(value) == number


@pytest.mark.parametrize("value", ["", "1.0", 1.0, "9" * 19, "\N{SUPERSCRIPT TWO}", False, None])
def test_what_is_no_whole_number_is_none(value: object) -> None:
    assert whole(value) is None
