from __future__ import annotations

import pytest

from geartrain.worker.versions import timeouts_in_seconds


@pytest.mark.parametrize(
    ("version", "seconds"),
    [
        ("1.1.18", True),
        ("1.0.6", True),
        ("0.41", True),
        ("1.1.19", False),
        ("1.1.20+ds", False),
        ("2.0.0-51-gabc", False),
        ("1.130.1", True),
        ("v1.130.1", True),
        ("", False),
        ("unknown", False),
    ],
)
def test_who_reads_time_limits_in_seconds(version: str, seconds: bool) -> None:
    assert timeouts_in_seconds(version) is seconds
