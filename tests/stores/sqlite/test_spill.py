"""``memory://``: the contract on a file without a name, and where that file may be."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from geartrain.stores import registry, sqlite_file
from geartrain.stores.port import (
    StoreRefused,
)
from geartrain.testing.store_kit import TTL, FakeServer, MakeStore
from tests.stores.sqlite.files import held_open
from tests.stores.sqlite.test_contract import SqliteContract


class TestSpillFile(SqliteContract):
    """``memory://``: the same store, on a file without a name."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        store = registry.from_url(f"memory://?spill-dir={tmp_path}")
        return lambda: store

    @pytest.mark.skip(reason="nothing survives")
    async def test_everything_is_there_after_a_restart(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.skip(reason="nothing survives")
    async def test_keys_hold_across_a_restart(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.skip(reason="nothing survives")
    async def test_a_lease_is_never_used_twice(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.skip(reason="nothing survives")
    async def test_new_ids_are_above_all_old_ones(self) -> None:  # type: ignore[override]
        """Not here."""

    async def test_the_file_has_no_name_and_ends_with_the_store(
        self, one: FakeServer, tmp_path: Path
    ) -> None:
        await one.add(*[one.job(b"x" * 10_000) for _ in range(200)])

        assert list(tmp_path.iterdir()) == []
        assert one.store.traits.durable == "none"


def test_a_spill_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    store = registry.from_url(f"memory://?spill-dir={tmp_path / 'nowhere'}")

    with pytest.raises(StoreRefused, match="cannot make a spill file"):
        asyncio.run(store.open("one", TTL))


async def test_a_spill_file_that_cannot_be_made_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite_file, "migrate", full)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        sqlite_file.open_spill(str(tmp_path), cache_bytes=1 << 20)

    assert held_open(tmp_path) == []
    assert os.listdir(tmp_path) == []
