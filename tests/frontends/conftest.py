"""A broker with connections, for each test anew."""

from __future__ import annotations

import pytest

from tests.frontends.talk import Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()
