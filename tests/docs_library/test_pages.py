"""What the library's pages show works as they say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs_library.pages import Reader, blocks, has_django_tasks, has_php
from tools.links import ROOT

NAMES = [
    "tutorial.md",
    "howto/retries.md",
    "howto/progress.md",
    "howto/many-servers.md",
    "howto/php-and-python.md",
    "howto/migrate-python-gearman.md",
    "howto/migrate-celery.md",
    "howto/migrate-rq.md",
    "howto/testing-your-workers.md",
    "howto/executor.md",
    "howto/django.md",
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_does_what_it_shows(name: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / name
    found = blocks(page.read_text())
    assert found
    if any(block.language == "php" for block in found) and not has_php():
        if os.environ.get("CI") == "true":
            pytest.fail("CI wants PHP with the extension gearman (apt-get install php-gearman)")
        pytest.skip("no PHP with the extension gearman")
    if name == "howto/django.md" and not has_django_tasks():
        pytest.skip("wants Django 6, for which there is `make test-django`")
    with Reader(page, tmp_path) as reader:
        for block in found:
            reader.follow(block)


def test_a_block_is_read_with_its_mark_and_with_what_it_prints() -> None:
    page = "So:\n\n<!-- worker -->\n```python\na\n```\n\n```python\nb\n```\n\n```text\nc\n```\n"

    first, second = blocks(page)

    assert (first.line, first.mark, first.text, first.printed) == (4, "worker", "a\n", [])
    assert (second.mark, second.text, second.printed) == ("", "b\n", ["c"])
