"""Times and numbers in arguments, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.frontends.arguments import epoch_seconds, limit_seconds, whole_part
from geartrain.protocol import commands as c
from tests.frontends.talk import Talk

# ── epoch ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("when", [b"", b"0", b"-5", b"1", b" 17 ", b"1700000000"])
def test_epoch_job_whose_time_has_come_runs_now(talk: Talk, when: bytes) -> None:
    worker, client = talk.worker(b"f"), talk.join()

    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"u", when, b"w")

    assert client.only()[0] == c.JOB_CREATED
    assert worker.grab()[2] == b"w"


@pytest.mark.parametrize("when", [b"abc", b"12x", b"9" * 20, b"-", b"1.5", b"0x10", "١".encode()])
def test_epoch_that_is_no_time_is_one_error(talk: Talk, when: bytes) -> None:
    client = talk.join()

    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"u", when, b"w")

    assert client.error() == b"INVALID_ARGUMENT"
    assert talk.broker.idle


def test_epoch_job_wakes_a_sleeper_when_its_time_comes(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"u", b"%d" % (talk.now + 60), b"w")
    worker.send(c.PRE_SLEEP)
    talk.pass_time(59.0)
    assert worker.heard() == []

    talk.pass_time(1.0)

    assert worker.heard() == [(c.NOOP, b"")]
    assert worker.grab()[2] == b"w"


# ── numbers in arguments ────────────────────────────────────────────────────────


@given(st.binary(max_size=30))
def test_any_argument_is_a_number_or_none(argument: bytes) -> None:
    assert limit_seconds(argument) >= 0.0
    assert -1 <= epoch_seconds(argument) < 10**18
    assert 0 <= whole_part(argument) <= 4294967295


@given(st.integers(0, 10**15 - 1))
def test_numbers_are_read(number: int) -> None:
    text = b"%d" % number

    assert limit_seconds(text) == number / 1000.0
    assert epoch_seconds(text) == number
    assert whole_part(text + b".75\0") == min(number, 4294967295)
