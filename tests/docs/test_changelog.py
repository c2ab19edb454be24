"""Fragments of the changelog have a name that a release can sort."""

from __future__ import annotations

from pathlib import Path

KINDS = {"added", "changed", "fixed", "removed", "security"}


def test_fragments_are_named_after_their_kind_and_are_short(root: Path) -> None:
    fragments = [
        path for path in sorted((root / "changelog.d").iterdir()) if path.name != "README.md"
    ]

    assert fragments
    for path in fragments:
        _subject, kind, ending = path.name.split(".")
        assert (kind in KINDS, ending) == (True, "md"), path.name
        assert 0 < len(path.read_text().strip()) < 500, path.name


def test_decisions_are_all_in_their_list(root: Path) -> None:
    folder = root / "docs/decisions"
    listed = (folder / "README.md").read_text()

    missing = [page.name for page in sorted(folder.glob("0*.md")) if page.name not in listed]

    assert missing == []
