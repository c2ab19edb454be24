"""The two builds: what is installed is what it says, and both can be made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import geartrain
from geartrain import _build
from tests.support import patient

#: A compiler was asked for, so it is an error to have been built without.
COMPILED_WANTED = os.environ.get("CI") == "true" or os.environ.get("GEARTRAIN_COMPILE") == "require"


def home() -> Path:
    return Path(geartrain.__file__).parent


def hot_modules(root: Path) -> list[str]:
    """The list in setup.py, as module names."""
    text = (root / "setup.py").read_text()
    lists = re.findall(r"^(?:NOT_)?HOT = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    hot, cold = (re.findall(r'"([^"]+)"', block) for block in lists)
    files = {path for pattern in hot for path in root.glob(pattern)}
    files -= {root / name for name in cold}
    return sorted(
        ".".join(path.relative_to(root / "src").with_suffix("").parts)
        for path in files
        if path.name != "__init__.py"
    )


def test_everything_that_the_list_names_is_there(root: Path) -> None:
    text = (root / "setup.py").read_text()
    lists = re.findall(r"^(?:NOT_)?HOT = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    patterns = [name for block in lists for name in re.findall(r'"([^"]+)"', block)]

    assert len(patterns) > 5
    assert [name for name in patterns if not any(root.glob(name))] == []


def under_test_is_plain(root: Path) -> bool:
    return home().is_relative_to(root / "src")


def test_the_build_tells_what_it_is() -> None:
    words = _build.describe()

    assert words.startswith("compiled" if _build.is_compiled() else "pure Python")
    assert not _build.is_compiled("geartrain.no_such_module")
    assert not _build.is_compiled("geartrain.no_such_package.module")


def test_plain_files_are_not_compiled(root: Path) -> None:
    if not under_test_is_plain(root):
        pytest.skip("the installed package is under test")

    assert not _build.is_compiled()


@pytest.mark.skipif(not COMPILED_WANTED, reason="a compiler is required in CI only")
def test_the_installed_hot_path_is_compiled_whole(root: Path) -> None:
    if under_test_is_plain(root):
        pytest.skip("the plain files are under test")

    plain = [name for name in hot_modules(root) if not _build.is_compiled(name)]

    assert plain == []


def build_wheel(
    root: Path, tmp_path: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build a wheel of a copy of this repository, which stays as it is."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ["setup.py", "pyproject.toml", "LICENSE", "MANIFEST.in", "README.md"]:
        if (root / name).exists():
            shutil.copy(root / name, copy)
    shutil.copytree(root / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["docs/man", "completion"]:
        if (root / name).exists():
            shutil.copytree(root / name, copy / name)
    settings = {
        k: v for k, v in os.environ.items() if not k.startswith(("GEARTRAIN_", "PYTHONPATH"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--no-deps", "--no-build-isolation"]
        + ["--disable-pip-version-check", "-w", str(tmp_path / "wheels"), "."],
        cwd=copy,
        env={**settings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patient(120),
    )


def the_wheel(tmp_path: Path) -> Path:
    (wheel,) = (tmp_path / "wheels").iterdir()
    return wheel


def assert_pure(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "geartrain/py.typed" in names
    assert any(name.endswith("share/man/man8/gearmand.8") for name in names)
    assert any(name.endswith("share/zsh/site-functions/_gearman-worker") for name in names)
    assert any(name.endswith("share/fish/vendor_completions.d/gearman.fish") for name in names)
    assert not [name for name in names if name.endswith(tuple(EXTENSION_SUFFIXES))]


@pytest.mark.slow
def test_without_a_compiler_the_pure_wheel_is_built_and_says_so(root: Path, tmp_path: Path) -> None:
    result = build_wheel(root, tmp_path, "-v", CC="/nonexistent/cc", CXX="/nonexistent/c++")

    assert result.returncode == 0, result.stdout
    assert "built without a compiler: this is the slower, pure Python build" in result.stdout
    assert_pure(the_wheel(tmp_path))


@pytest.mark.slow
def test_the_slower_build_is_told_by_a_pip_that_hides_what_builders_say(
    root: Path, tmp_path: Path
) -> None:
    result = build_wheel(root, tmp_path, CC="/nonexistent/cc", CXX="/nonexistent/c++")

    assert result.returncode == 0, result.stdout
    assert "slower_pure_python_build-py3-none-any.whl" in result.stdout


@pytest.mark.slow
def test_the_pure_wheel_is_built_when_asked_for(root: Path, tmp_path: Path) -> None:
    result = build_wheel(root, tmp_path, GEARTRAIN_PURE="1")

    assert result.returncode == 0, result.stdout
    assert_pure(the_wheel(tmp_path))
    assert "slower" not in the_wheel(tmp_path).name  # whoever asked for it knows


@pytest.mark.slow
def test_a_compiler_that_is_required_and_missing_is_an_error(root: Path, tmp_path: Path) -> None:
    result = build_wheel(root, tmp_path, "-v", CC="/nonexistent/cc", GEARTRAIN_COMPILE="require")

    assert result.returncode != 0
    assert "GEARTRAIN_COMPILE=require" in result.stdout


@pytest.mark.slow
def test_a_type_error_in_the_hot_path_fails_the_build(root: Path, tmp_path: Path) -> None:
    if not COMPILED_WANTED and shutil.which("cc") is None:
        pytest.skip("no compiler here")
    # A small hot path is checked sooner than the whole of it, and by the same words.
    source = tmp_path / "bad"
    small = source / "src/geartrain"
    small.mkdir(parents=True)
    for name in ["__init__.py", "_build.py", "_native.py", "errors.py", "terms.py", "values.py"]:
        shutil.copy(root / "src/geartrain" / name, small)
    shutil.copytree(root / "src/geartrain/protocol", small / "protocol",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    for name in ["docs/man", "completion"]:
        shutil.copytree(root / name, source / name)
    for name in ["setup.py", "pyproject.toml", "LICENSE", "README.md"]:
        if (root / name).exists():
            shutil.copy(root / name, source)
    (source / "src/geartrain/protocol/wrong.py").write_text('SIZE: int = "twelve"\n')

    result = build_wheel(source, tmp_path, "-v")

    assert result.returncode != 0
    assert "Incompatible types in assignment" in result.stdout
