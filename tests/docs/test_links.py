"""Every link in the documents leads somewhere."""

from __future__ import annotations

from tools import links


def test_no_link_is_broken() -> None:
    broken = [fault for page in links.documents() for fault in links.faults(page)]

    assert broken == []
