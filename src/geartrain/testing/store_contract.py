"""The tests that every store must pass, ours and yours.

Derive a class, give it a ``make_store`` fixture, and override the hooks that
your store can serve; what its traits declare away is skipped::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path / "jobs")

``make_store()`` returns a store that is not open, on the same data each time.
Needs pytest and pytest-asyncio.
"""

from __future__ import annotations

from geartrain.testing.store_kit import FakeServer, MakeStore, Servers
from geartrain.testing.store_reading import ReadingContract
from geartrain.testing.store_shared import SharedContract
from geartrain.testing.store_writing import WritingContract

__all__ = ["FakeServer", "MakeStore", "Servers", "StoreContract"]


class StoreContract(WritingContract, ReadingContract, SharedContract):
    """Each method is one promise of the port."""
