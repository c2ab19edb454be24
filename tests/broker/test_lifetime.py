"""Any story that peers can tell the broker, and what must hold after each step."""

from __future__ import annotations

import os
import random
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.broker.chance import tell
from tests.broker.lifetime import BrokerLifetime

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)

#: Told by chance at every run; HYPOTHESIS_PROFILE=long tells many more.
STORIES = 4 * settings().max_examples


@pytest.mark.timeout(180)
def test_whatever_peers_do_the_tables_agree_and_every_client_hears_the_end_once() -> None:
    run_state_machine_as_test(
        BrokerLifetime,
        settings=settings(
            max_examples=settings().max_examples,
            stateful_step_count=50,
            suppress_health_check=_QUIET,
        ),
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("first", [1, 10_001])
def test_stories_told_by_chance_end_well(first: int) -> None:
    for seed in range(first, first + STORIES // 2):
        tell(seed, 100)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_long_stories_end_well_too(seconds: float) -> None:
    chance = random.Random(os.environ.get("GEARTRAIN_SEED"))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tell(chance.randrange(2**32), 400)
