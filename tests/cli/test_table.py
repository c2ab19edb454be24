"""Tables fit the terminal, and what is cut says so."""

from __future__ import annotations

import pytest

from geartrain.cli.answers import align
from geartrain.cli.job_rows import DEAD, JOBS, Columns, layout
from geartrain.cli.table import GAP, cells, cut, fit, pad


def total(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def test_a_text_that_does_not_fit_ends_in_an_ellipsis() -> None:
    assert [cut("resize", width) for width in (6, 5, 1)] == ["resize", "resi…", "…"]


def test_a_letter_that_takes_two_columns_counts_for_two() -> None:
    assert cells("画像の縮小") == 10
    assert cut("画像の縮小", 6) == "画像…"
    assert pad("画像の縮小", 6) == "画像… "
    assert cells("e\u0301te\u0301") == 3


def test_columns_shrink_together_the_widest_first() -> None:
    assert fit([40, 10, 5], [8, 8, 5], 59) == [40, 10, 5]
    assert fit([40, 10, 5], [8, 8, 5], 50) == [31, 10, 5]
    assert fit([40, 38, 5], [8, 8, 5], 40) in ([15, 16, 5], [16, 15, 5])
    assert fit([40, 10, 5], [40, 10, 5], 20) == [40, 10, 5]


@pytest.mark.parametrize("columns", [DEAD, JOBS, (("server", 16), *DEAD), (("server", 16), *JOBS)])
@pytest.mark.parametrize("room", [60, 80, 120, 200])
def test_a_list_of_jobs_fits_and_shows_whole_handles(columns: Columns, room: int) -> None:
    shown = layout(columns, 26, room)

    assert total([width for _, width in shown]) <= room
    assert dict(shown)["handle"] == 26
    assert dict(shown)["function"] >= 12


def test_a_narrow_list_leaves_out_what_says_least() -> None:
    assert [key for key, _ in layout(DEAD, 26, 60)] == ["handle", "function", "reason"]
    assert [key for key, _ in layout(DEAD, 26, 80)] == [
        "handle", "function", "attempts", "died", "reason",
    ]  # fmt: skip
    assert [key for key, _ in layout(DEAD, 40, 50)] == ["handle", "function"]


def test_a_status_of_long_names_fits_and_its_numbers_are_whole() -> None:
    rows = [["app.pictures.resize_and_watermark_for_the_web", "1000000", "0", "12"]]

    text = align(["function", "total", "running", "workers"], rows, False, 40)

    assert text == (
        "function         total  running  workers\napp.pictures…  1000000        0       12\n"
    )


def test_a_list_of_one_column_is_whole_for_it_has_nothing_to_line_up_with() -> None:
    assert align(["unique"], [["k" * 64]], False, 40) == f"unique\n{'k' * 64}\n"


def test_a_handle_is_whole_in_every_list() -> None:
    handle = "H:a-machine.example.net:0ca9fddb7bc01000"

    text = align(["handle", "retries"], [[handle, "0"]], False, 20)

    assert handle in text
