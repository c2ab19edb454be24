"""One version, said in one place."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import geartrain


def test_the_version_is_that_of_the_installed_distribution() -> None:
    try:
        installed = version("geartrain")
    except PackageNotFoundError:
        pytest.skip("the plain files are under test, and nothing is installed")

    assert installed == geartrain.__version__


def test_the_version_is_written_once(root: Path) -> None:
    pattern = re.compile(rf"\b{re.escape(geartrain.__version__)}\b")

    hits = [
        path.relative_to(root).as_posix()
        for path in (root / "src").rglob("*.py")
        if pattern.search(path.read_text())
    ]

    assert hits == ["src/geartrain/__init__.py"]
    assert "version" in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dynamic"]
