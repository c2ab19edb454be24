"""Nine ways to submit a job, and the one packet for each."""

from __future__ import annotations

import pytest

from geartrain.protocol import commands as c
from geartrain.protocol.packets import encode_request
from geartrain.protocol.submits import encode_submit
from geartrain.terms import HIGH, LOW, NORMAL


@pytest.mark.parametrize(
    ("priority", "background", "number"),
    [
        (HIGH, False, c.SUBMIT_JOB_HIGH),
        (NORMAL, False, c.SUBMIT_JOB),
        (LOW, False, c.SUBMIT_JOB_LOW),
        (HIGH, True, c.SUBMIT_JOB_HIGH_BG),
        (NORMAL, True, c.SUBMIT_JOB_BG),
        (LOW, True, c.SUBMIT_JOB_LOW_BG),
    ],
)
def test_priority_and_background_choose_the_packet(
    priority: int, background: bool, number: int
) -> None:
    packet = encode_submit(b"f", b"u", b"w\0w", priority=priority, background=background)

    assert packet == encode_request(number, b"f", b"u", b"w\0w")


@pytest.mark.parametrize("background", [True, False])
def test_time_makes_an_epoch_job_which_is_always_in_the_background(background: bool) -> None:
    packet = encode_submit(b"f", b"u", b"w", when=1_700_000_000, background=background)

    assert packet == encode_request(c.SUBMIT_JOB_EPOCH, b"f", b"u", b"1700000000", b"w")


@pytest.mark.parametrize(
    ("background", "number"),
    [(False, c.SUBMIT_REDUCE_JOB), (True, c.SUBMIT_REDUCE_JOB_BACKGROUND)],
)
def test_reducer_makes_a_reduce_job_with_an_empty_aggregator(background: bool, number: int) -> None:
    packet = encode_submit(b"f", b"u", b"w", reducer=b"r", background=background)

    assert packet == encode_request(number, b"f", b"u", b"r", b"", b"w")


def test_time_and_reducer_have_no_packet_together() -> None:
    with pytest.raises(ValueError, match="when and reducer"):
        encode_submit(b"f", b"", b"", when=1, reducer=b"r")


@pytest.mark.parametrize("more", [{"when": 1}, {"reducer": b"r"}])
def test_epoch_and_reduce_jobs_have_no_priority(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="normal priority"):
        encode_submit(b"f", b"", b"", priority=HIGH, **more)  # type: ignore[arg-type]


def test_unknown_priority_is_refused() -> None:
    with pytest.raises(ValueError, match="priority = 3"):
        encode_submit(b"f", b"", b"", priority=3)
