"""A database for those tests that need one, made when the first of them runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.postgres_server import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL for the whole run; each test has a schema of its own."""
    cluster = Cluster()
    yield cluster
    cluster.remove()
