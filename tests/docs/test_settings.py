"""What is written about gearmand's settings is what their table says."""

from __future__ import annotations

from pathlib import Path

from geartrain.cli.server_manual import files, reference
from geartrain.server.settings import FIELDS, option_name


def test_pages_about_settings_are_those_of_the_table(root: Path) -> None:
    stale = [
        name
        for name, text in files().items()
        if not (root / name).exists() or (root / name).read_text() != text
    ]

    assert stale == [], "run: python -m geartrain.cli.server_manual ."


def test_every_setting_is_in_the_reference() -> None:
    page = reference()

    missing = [name for name in FIELDS if f"`{option_name(name)}`" not in page]

    assert missing == []
