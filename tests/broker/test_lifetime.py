"""Any story that peers can tell the broker, and what must hold after each step."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.broker.lifetime import BrokerLifetime

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


@pytest.mark.timeout(120)
def test_whatever_peers_do_the_tables_agree_and_every_client_hears_the_end_once() -> None:
    run_state_machine_as_test(
        BrokerLifetime,
        settings=settings(
            max_examples=settings().max_examples * 4,
            stateful_step_count=50,
            suppress_health_check=_QUIET,
        ),
    )


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_long_stories_end_well_too(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run_state_machine_as_test(
            BrokerLifetime,
            settings=settings(
                max_examples=50,
                stateful_step_count=200,
                derandomize=False,
                database=None,
                suppress_health_check=_QUIET,
            ),
        )
