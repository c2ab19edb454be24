"""The servers that peers talk to: ours, and the C one, which proves the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.servers import KINDS, OURS, C, Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of the matrix what would prove nothing more: see there."""
    items[:] = [item for item in items if not _is_surplus(item)]


def _is_surplus(item: pytest.Item) -> bool:
    """A pair of other people's libraries, strangers to each other, over the C server."""
    made = getattr(item, "callspec", None)
    if made is None or item.path.name != "test_matrix.py" or made.params.get("kind") != C:
        return False
    client, worker = made.params.get("client"), made.params.get("worker")
    return worker is not None and client != worker and OURS not in (client, worker)


def pytest_itemcollected(item: pytest.Item) -> None:
    """All that is here is interop."""
    if "tests/interop/" in item.nodeid:
        item.add_marker(pytest.mark.interop)


def pytest_collection_finish(session: pytest.Session) -> None:
    """On CI the peers must be there: bring what is missing. At home, that is yours to do."""
    wanted = any("tests/interop/" in item.nodeid for item in session.items)
    if wanted and os.environ.get("CI") == "true" and not session.config.option.collectonly:
        subprocess.run([Path(__file__).parent / "install.sh"], check=True, timeout=600)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which server: runs the test once for each."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    """A server with default settings, ours and then the C one."""
    with Server(kind) as started:
        yield started
