"""The public face: names found on first use, and nothing loaded before."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

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


def test_importing_geartrain_costs_next_to_nothing() -> None:
    # About a millisecond on a quiet machine. The best of several, and a wide
    # margin: this is to notice a heavy import, not a busy neighbour.
    code = (
        "import time, importlib, typing; t = time.perf_counter(); import geartrain;"
        "print(time.perf_counter() - t)"
    )

    best = min(float(run(code)) for _ in range(5))

    assert best < patient(0.01)


def test_every_public_name_is_found() -> None:
    for name in geartrain.__all__:
        assert getattr(geartrain, name) is not None
        assert name in dir(geartrain)


def test_every_home_is_public() -> None:
    assert {*geartrain._HOME, "__version__"} == set(geartrain.__all__)


def test_type_checkers_see_the_same_names(root: Path) -> None:
    text = (root / "src/geartrain/__init__.py").read_text()
    block = next(
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )

    seen = [
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]

    assert sorted(seen) == sorted(geartrain._HOME)


def test_every_error_is_public() -> None:
    ours = {
        name
        for name, value in vars(geartrain.errors).items()
        if isinstance(value, type) and issubclass(value, geartrain.GearmanError)
    }

    assert ours == set(geartrain._HOMES["geartrain.errors"])


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        geartrain.Cleint  # noqa: B018
