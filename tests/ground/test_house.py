"""The source itself: file sizes, where things lie, nothing that is nobody else's business."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

#: Most files here are one noun or one verb and a few hundred lines.
MAX_LINES = 700

#: Larger ones, each with its reason.
LARGE: dict[str, str] = {}

#: A path that only exists on somebody's machine.
PRIVATE = re.compile(r"(?<![\w.~}/-])/(?:work|home|root|Users)/[\w.]")


def tracked(root: Path, *patterns: str) -> list[Path]:
    """Files that git knows, or all below the usual folders if there is no git."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--", *patterns],
            cwd=root, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [root / name for name in listing.split("\0") if name and (root / name).is_file()]


def test_no_source_file_is_too_long(root: Path) -> None:
    too_long = {
        path.relative_to(root).as_posix(): lines
        for path in (root / "src").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }

    assert too_long.keys() <= LARGE.keys(), too_long


def test_src_holds_source_and_nothing_that_was_built(root: Path) -> None:
    built = [
        path for path in (root / "src").rglob("*") if path.suffix in {".so", ".pyd", ".c", ".o"}
    ]

    assert built == []


def test_no_file_names_a_path_on_somebodys_machine(root: Path) -> None:
    here = Path(__file__).resolve()
    leaks = []
    for path in tracked(root):
        if path == here:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if PRIVATE.search(line):
                leaks.append(f"{path.relative_to(root)}:{number}: {line.strip()[:80]}")

    assert leaks == []


def test_every_package_says_what_it_is(root: Path) -> None:
    silent = [
        path.relative_to(root).as_posix()
        for path in (root / "src").rglob("*.py")
        if (text := path.read_text().lstrip()) and not text.startswith(('"""', 'r"""'))
    ]

    assert silent == []
