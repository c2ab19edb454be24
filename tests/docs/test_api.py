"""The API reference says what the docstrings say, and leaves nothing out."""

from __future__ import annotations

import re

import pytest

import geartrain
from tools.links import ROOT

#: Modules; their pages are listed in the index.
MODULES = {"codecs", "compat", "errors", "executor", "progress", "testing"}
#: Values, not things with methods; told of where they are used.
VALUES = {"__version__", "BY_WORKLOAD"}


def test_the_reference_is_up_to_date() -> None:
    pytest.importorskip("griffe")
    from tools import apidocs

    assert apidocs.stale() == [], "make apidocs"


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(
        page.read_text() for page in sorted((ROOT / "docs/reference/api").glob("*.md"))
    )
    told = set(re.findall(r"^## (\w+)$", text, re.MULTILINE))

    assert set(geartrain.__all__) - MODULES - VALUES - told == set()
    for name in MODULES - {"errors"}:
        assert f"geartrain.{name}" in text


def test_docstrings_become_markdown() -> None:
    pytest.importorskip("griffe")
    from tools.apidocs import _split, _text

    assert _text("Say ``x``::\n\n    f(1)\n\nand so on.") == (
        "Say `x`:\n\n```python\nf(1)\n```\n\nand so on.\n"
    )
    assert _split("a: dict[str, int], *, b: int = 1") == ["a: dict[str, int]", "*", "b: int = 1"]
