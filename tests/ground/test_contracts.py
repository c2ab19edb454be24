"""Who may import whom: pyproject.toml says it, this test holds us to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support import patient

# They are about the text of src/.
pytestmark = pytest.mark.once

#: Neither wing: what both stand on, and what may know both.
NO_WING = {"__init__", "__main__", "_build", "_native", "auth", "cli", "codecs", "errors", "jsonlog",
           "plugins", "protocol", "retry", "terms", "testing", "transport", "units", "values"}  # fmt: skip


def lint_imports(root: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts against the package in ``source``."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
        + ["--config", str(root / "pyproject.toml")],
        env={**os.environ, "PYTHONPATH": str(source)},
        cwd=source,
        capture_output=True,
        text=True,
        timeout=patient(50),
    )


def contracts(root: Path) -> list[dict[str, Any]]:
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_the_contracts_hold(root: Path) -> None:
    result = lint_imports(root, root / "src")

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def flawless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house of empty files, in which nothing is forbidden."""
    root = Path(__file__).resolve().parents[2]
    street = tmp_path_factory.mktemp("flawless")
    house = street / "geartrain"
    names = [*named_modules(root), "__init__.py", "_build.py", "_native.py"]
    names += ["protocol/commands.py", "protocol/reader.py", "broker/broker.py"]
    names += ["server/session.py", "client/aio.py"]
    for name in names:
        for parent in (house / name).relative_to(house).parents:
            (house / parent).mkdir(parents=True, exist_ok=True)
            (house / parent / "__init__.py").touch()
        (house / name).touch()
    assert lint_imports(root, street).returncode == 0
    return house


@pytest.mark.parametrize(
    ("where", "line", "contract"),
    [
        ("protocol/reader.py", "import time", "Pure:"),
        ("protocol/reader.py", "from mypy_extensions import i64", "Self-contained:"),
        ("broker/broker.py", "from geartrain.protocol import commands", "The broker does not know"),
        ("broker/broker.py", "from geartrain.server import session", "Floors:"),
        ("client/aio.py", "from geartrain.broker import broker", "The client wing"),
        ("server/session.py", "from geartrain.client import aio", "The server wing"),
        ("surprise.py", "", "Floors:"),
    ],
)
def test_a_forbidden_import_is_noticed(
    root: Path, tmp_path: Path, flawless: Path, where: str, line: str, contract: str
) -> None:
    shutil.copytree(flawless, tmp_path / "geartrain")

    (tmp_path / "geartrain" / where).write_text(line + "\n")
    result = lint_imports(root, tmp_path)

    broken = [row for row in result.stdout.splitlines() if row.endswith("BROKEN")]
    assert any(row.startswith(contract) for row in broken), result.stdout + result.stderr


def named_modules(root: Path) -> list[str]:
    """The files that have to exist because a contract names them, relative to the package."""
    names = {
        name.removeprefix("geartrain.").replace(".", "/")
        for contract in contracts(root)
        for key in ("source_modules", "forbidden_modules")
        for name in contract.get(key, [])
        if name.startswith("geartrain.") and "*" not in name
    }
    for contract in contracts(root):
        for container in contract.get("containers", []):
            inside = container.removeprefix("geartrain").lstrip(".")
            layers = {name for row in contract["layers"] for name in row.split(" | ")}
            names |= {f"{inside}/{name}".lstrip("/") for name in layers if name[0] != "("}
    home = root / "src" / "geartrain"
    return sorted(
        f"{name}/__init__.py" if (home / name).is_dir() else f"{name}.py" for name in names
    )


def test_everything_belongs_to_a_wing_or_is_known_to_belong_to_none(root: Path) -> None:
    named = {
        name.split(".")[1]
        for contract in contracts(root)
        if "wing" in contract["name"]
        for name in contract["source_modules"]
    }
    there = {
        path.stem
        for path in (root / "src" / "geartrain").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert there - named - NO_WING == set()


def test_lint_imports_is_installed() -> None:
    assert shutil.which("lint-imports", path=str(Path(sys.executable).parent))
