"""Names of code in the documents are names in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools.links import ROOT, documents

#: [`name`](path/to/file.py)
_NAMED = re.compile(r"\[`([A-Za-z_][\w.]*)`\]\(([^)#]+\.py)\)")


def names_in(path: Path) -> set[str]:
    """Classes, functions and ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
    return found


def unknown_names(page: Path) -> list[str]:
    wrong = []
    for name, target in _NAMED.findall(page.read_text()):
        path = (page.parent / target).resolve()
        if name != path.name and (not path.exists() or name not in names_in(path)):
            wrong.append(f"{page.relative_to(ROOT)}: {name} is not in {target}")
    return wrong


def test_every_name_that_links_to_a_file_is_in_that_file() -> None:
    assert [wrong for page in documents() for wrong in unknown_names(page)] == []


def test_a_name_that_is_gone_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.test_names.ROOT", tmp_path)
    (tmp_path / "code.py").write_text("class A:\n    def b(self): ...\n")
    page = tmp_path / "page.md"
    page.write_text("[`A.b`](code.py) and [`A.c`](code.py)")

    assert unknown_names(page) == ["page.md: A.c is not in code.py"]
