"""The API reference says what the docstrings say, and leaves nothing out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

import geartrain
from geartrain.testing import EmbeddedServer
from tests.docs_library.pages import blocks
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


EXAMPLES = [
    pytest.param(page.name, block.text, id=f"{page.stem}:{block.line}")
    for page in sorted((ROOT / "docs/reference/api").glob("*.md"))
    for block in blocks(page.read_text())
    if block.language == "python"
]


@contextmanager
def scene() -> Iterator[dict[str, Any]]:
    """What the examples in docstrings take for granted."""

    class Images(geartrain.App):
        """Whose functions are done here."""

        def __init__(self, name: str = "images") -> None:
            super().__init__(name)
            inline.append(self.inline())
            inline[-1].__enter__()

    inline: list[Any] = []
    app = Images()

    @app.function
    def resize(name: str, width: int) -> str:
        return name

    with EmbeddedServer() as server, geartrain.Client(server.address, timeout=20) as client:
        worker = geartrain.Worker(server.address)
        worker.add_function("one", lambda job: b"")
        client.do_background("one")
        grab = iter([worker.grab(20), None])
        yield {
            **{name: getattr(geartrain, name) for name in geartrain.__all__},
            "App": Images,
            "addresses": [b"ann", b"bob"],
            "app": app,
            "client": client,
            "connect": nullcontext,
            "images": [],
            "metrics": SimpleNamespace(observe=print),
            "resize": resize,
            "time": time,
            "worker": SimpleNamespace(function=worker.function, grab=lambda: next(grab)),
        }
        worker.close()
        for one in inline:
            one.__exit__(None, None, None)


@pytest.mark.parametrize(("page", "text"), EXAMPLES)
def test_the_examples_in_docstrings_run(page: str, text: str) -> None:
    assert EXAMPLES
    with scene() as names:
        # An ellipsis stands for the reader's own value.
        exec(compile(text.replace("(...)", "(b'')"), page, "exec"), names)
