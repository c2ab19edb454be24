"""The glossary is in order, and those who send people there find the word."""

from __future__ import annotations

import re
from pathlib import Path


def words(root: Path) -> list[str]:
    return re.findall(r"^### (.+)$", (root / "docs/glossary.md").read_text(), re.MULTILINE)


def test_words_are_in_alphabetical_order(root: Path) -> None:
    found = words(root)

    assert found == sorted(found, key=str.lower)
    assert len(found) == len(set(found))


def test_the_words_that_everybody_needs_are_there(root: Path) -> None:
    wanted = {"Job", "Task", "Function", "Unique key", "Handle", "Workload", "Peer", "Ability"}

    assert wanted <= set(words(root))
