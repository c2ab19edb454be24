"""Retry: values in, values out."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.errors import ConfigurationError
from geartrain.retry import Retry, retry_of


def test_pauses_grow_up_to_a_ceiling() -> None:
    retry = Retry(10, backoff=1, factor=2, max_backoff=5, jitter=0)

    assert [retry.pause(n, 0.5) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_jitter_varies_the_pause_by_its_share() -> None:
    retry = Retry(3, backoff=10, jitter=0.1)

    assert retry.pause(1, 0.0) == pytest.approx(9)
    assert retry.pause(1, 1.0) == pytest.approx(11)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_pause_is_never_negative_nor_above_the_ceiling(
    failures: int, chance: float, jitter: float
) -> None:
    assert 0 <= Retry(jitter=jitter).pause(failures, chance) <= 300


def test_attempts_include_the_first_and_only_listed_errors_count() -> None:
    retry = Retry(2, on=(OSError, KeyError))

    assert retry.wants(1, ConnectionError())
    assert not retry.wants(2, ConnectionError())
    assert not retry.wants(1, ValueError())


def test_number_means_further_attempts() -> None:
    assert retry_of(0) is None
    assert retry_of(Retry(1)) is None
    assert retry_of(2) == Retry(3)


@pytest.mark.parametrize(
    "settings", [{"attempts": 0}, {"backoff": -1}, {"jitter": 2}, {"factor": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        Retry(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        retry_of(-1)


def test_it_travels_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(Retry(4, on=OSError))) == Retry(4, on=OSError)


def test_first_attempt_has_no_pause() -> None:
    with pytest.raises(ValueError, match="first"):
        Retry().pause(0, 0.5)
