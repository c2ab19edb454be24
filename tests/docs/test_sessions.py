"""What the documents tell people to type does what they say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.sessions import Reader, agrees, blocks
from tests.stores.postgres_server import Cluster
from tools.links import ROOT, documents

#: What some pages use and not every machine has.
NEEDED = ("openssl", "sqlite3", "/usr/sbin/gearmand")

PAGES = [path for path in documents() if "<!--" in path.read_text() and blocks(path.read_text())]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    for tool in NEEDED:
        if f"{tool} " in text and shutil.which(tool) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{tool} is required here, or this page is tried by nobody")
            pytest.skip(f"there is no {tool} here")

    with database(text) as url, Reader(tmp_path, OLD=url) as reader:
        for block in blocks(text):
            reader.follow(block)


@contextmanager
def database(text: str) -> Iterator[str]:
    """A PostgreSQL for a page that speaks of one as ``$OLD``; its URL."""
    if '"$OLD"' not in text:
        yield ""
        return
    cluster = Cluster()
    try:
        yield cluster.url()
    finally:
        cluster.remove()


def test_the_readme_is_among_the_pages_that_are_tried() -> None:
    assert ROOT / "README.md" in PAGES


def test_a_session_is_cut_into_commands_and_what_they_print() -> None:
    text = "Say:\n\n<!-- run -->\n```console\n$ one &\n$ two\n2\n\n2\n$ three\n```\n"

    (block,) = blocks(text)

    assert list(block.steps()) == [("one &", []), ("two", ["2", "", "2"]), ("three", [])]


def test_a_session_in_a_list_is_one_too() -> None:
    (block,) = blocks("1. Say:\n\n   <!-- run -->\n   ```console\n   $ one\n   1\n   ```\n")

    assert list(block.steps()) == [("one", ["1"])]


def test_a_comment_without_a_block_is_a_fault() -> None:
    with pytest.raises(ValueError, match="without a code block"):
        blocks("<!-- run -->\n\nnothing\n")


def test_three_dots_stand_for_any_lines() -> None:
    assert agrees(["a", "b", "c"], ["a", "...", "c"])
    assert agrees(["a", "c"], ["a", "...", "c"])
    assert not agrees(["a", "b"], ["a", "...", "c"])


def test_a_reader_notices_what_is_not_as_written(tmp_path: Path) -> None:
    (block,) = blocks("<!-- run -->\n```console\n$ echo yes\nno\n```\n")

    with Reader(tmp_path) as reader, pytest.raises(AssertionError, match="echo yes"):
        reader.follow(block)
