"""Names in the documents are names of something: of code, files, make's words, variables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools.links import ROOT, documents

#: [`name`](path/to/file.py)
_NAMED = re.compile(r"\[`([A-Za-z_][\w.]*)`\]\(([^)#]+\.py)\)")


#: a/path.py, anywhere in the text; not part of a URL, an absolute path, a variable
_FILE = re.compile(r"(?<![\w/.:~<>$*-])((?:[\w.-]+/)+[\w*-]+\.(?:py|md|toml|sh|sql|lock))\b")
_FOLDER = re.compile(
    r"(?<![\w/.:~<>$*-])((?:src|tests|tools|docs|fuzz|benchmarks|examples)/(?:[\w.-]+/)*)(?![\w*])"
)
#: Files of the reader's, not ours.
_READERS = {"./script.sh", "workers/reverse.py"}
_WRITTEN = re.compile(r"^<!-- file: (\S+) -->$", re.MULTILINE)
_MAKE = re.compile(r"(?:`|^\$ )make ((?:[a-z-]+ ?)+)", re.MULTILINE)
_VARIABLE = re.compile(r"\bGEARTRAIN_[A-Z_]+\b")


def unknown_files(page: Path) -> list[str]:
    """Paths that are neither in the repository, the package or the tests, nor beside the page."""
    bases = [ROOT, ROOT / "src", ROOT / "src/geartrain", ROOT / "tests", page.parent]
    text = page.read_text()
    readers = {*_READERS, *_WRITTEN.findall(text)}
    return [
        f"{page.relative_to(ROOT)}: there is no {name}"
        for name in _FILE.findall(text) + _FOLDER.findall(text)
        if name not in readers and not any(any(base.glob(name)) for base in bases)
    ]


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


def test_every_file_that_is_named_is_there() -> None:
    assert [wrong for page in documents() for wrong in unknown_files(page)] == []


def test_a_file_that_is_gone_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.test_names.ROOT", tmp_path)
    (tmp_path / "src/geartrain/broker").mkdir(parents=True)
    (tmp_path / "src/geartrain/broker/broker.py").touch()
    page = tmp_path / "page.md"
    page.write_text("`broker/broker.py`, broker/*.py, /etc/a/b.py, broker/effects.py, src/hooks/")

    assert unknown_files(page) == [
        "page.md: there is no broker/effects.py", "page.md: there is no src/hooks/",
    ]  # fmt: skip


def test_every_word_for_make_is_one() -> None:
    words = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    asked = {
        (page.name, word)
        for page in documents()
        for said in _MAKE.findall(page.read_text())
        for word in said.split()
    }

    assert [(page, word) for page, word in sorted(asked) if word not in words] == []


def test_every_variable_of_ours_is_read_somewhere() -> None:
    readers = [ROOT / "Makefile", ROOT / "setup.py"]
    for folder in ("src", "tests", "tools", "fuzz", "benchmarks"):
        readers += [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.sh")]
    known = {name for path in readers for name in _VARIABLE.findall(path.read_text())}

    named = {name for page in documents() for name in _VARIABLE.findall(page.read_text())}

    assert sorted(named - known) == []
