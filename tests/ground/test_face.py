"""The public face: names found on first use, and nothing loaded before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import geartrain
from tests.support import patient


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=patient(20),
    ).stdout.strip()


def test_importing_geartrain_loads_none_of_its_parts() -> None:
    loaded = run(
        "import sys, geartrain; print(*sorted(m for m in sys.modules if m.startswith('geartrain.')))"
    )

    assert loaded == ""


def test_importing_geartrain_takes_less_than_two_milliseconds() -> None:
    # The best of several: what the machine does meanwhile is not our doing.
    code = (
        "import time, importlib, typing; t = time.perf_counter(); import geartrain;"
        "print(time.perf_counter() - t)"
    )

    best = min(float(run(code)) for _ in range(5))

    assert best < patient(0.002)


def test_every_public_name_is_found() -> None:
    for name in geartrain.__all__:
        assert getattr(geartrain, name) is not None
        assert name in dir(geartrain)


def test_every_home_is_public() -> None:
    assert {*geartrain._HOMES, "__version__"} == set(geartrain.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        geartrain.Cleint  # noqa: B018
