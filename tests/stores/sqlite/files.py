"""What tests of a SQLite file look at from outside."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from geartrain.stores.port import (
    StoreRefused,
)
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import TTL


async def refusal(path: Path) -> str:
    store = SqliteStore(path)
    with pytest.raises(StoreRefused) as caught:
        await store.open("one", TTL)
    await store.close()
    return str(caught.value)


def crashed(folder: Path) -> Path:
    """What a crash would leave of the files now, in a folder of its own."""
    copy = folder / "copy"
    copy.mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(folder / name, copy / name)
    return copy


def frames_of(folder: Path) -> int:
    """How many frames of SQLite's log are valid."""
    other = folder / "other"
    other.mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(folder / name, other / name)
    db = sqlite3.connect(other / "jobs.db")
    (_, frames, _) = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    db.close()
    return int(frames)


def held_open(folder: Path) -> list[str]:
    """Files in a folder that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in found if name.startswith(str(folder))]
