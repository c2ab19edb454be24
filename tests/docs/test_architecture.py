"""The picture of the house has every room."""

from __future__ import annotations

from pathlib import Path


def test_every_package_is_in_the_picture(root: Path) -> None:
    picture = (root / "ARCHITECTURE.md").read_text().split("```")[1]
    rooms = {
        path.stem
        for path in (root / "src/geartrain").iterdir()
        if not path.name.startswith("_")
        and (path.suffix == ".py" or (path / "__init__.py").exists())
    }

    assert [room for room in sorted(rooms) if room not in picture] == []
