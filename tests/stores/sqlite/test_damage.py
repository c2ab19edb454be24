"""Files that are damaged: told, refused, left alone, and what can be read of them brought back."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from geartrain.stores.port import (
    StoreDown,
    StoreRefused,
)
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import FakeServer
from tests.stores.sqlite.files import crashed, frames_of, refusal
from tests.stores.sqlite.test_contract import recount


async def test_a_damaged_page_is_told_and_nothing_crashes(one: FakeServer, tmp_path: Path) -> None:
    await one.add(*[one.job(b"x" * 3000) for _ in range(300)])
    await one.store.close()
    path = tmp_path / "jobs.db"
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xde\xad" * (4096 * 100))
    store = SqliteStore(path)

    try:
        again = await FakeServer(store, "one").open()
    except StoreRefused as error:
        assert "damaged" in str(error)  # noqa: PT017
        return
    for _ in range(3):
        with pytest.raises(StoreDown, match="damaged"):
            await again.claim()
            await again.add(again.job(b"x" * 100_000))
    await store.close()


@pytest.mark.parametrize("where", ["beginning", "middle"])
async def test_a_damaged_log_is_refused_and_left_alone(
    one: FakeServer, tmp_path: Path, where: str
) -> None:
    for n in range(20):
        await one.add(one.job(b"%d" % n))
    copy = crashed(tmp_path)
    log = copy / "jobs.db-wal"
    with log.open("r+b") as file:
        file.seek(0 if where == "beginning" else 32 + 12 * (24 + 4096) + 2000)
        file.write(b"\xde\xad" * 20)
    before = log.read_bytes()

    assert "jobs.db-wal is damaged: at least" in await refusal(copy / "jobs.db")
    assert log.read_bytes() == before


async def test_a_commit_that_a_crash_cut_off_is_no_damage(one: FakeServer, tmp_path: Path) -> None:
    for n in range(20):
        await one.add(one.job(b"%d" % n))
    copy = crashed(tmp_path)
    frames = frames_of(copy)
    log = copy / "jobs.db-wal"
    with log.open("r+b") as file:
        file.seek(32 + (frames - 1) * (24 + 4096) + 2000)
        file.write(b"\xde\xad" * 20)

    again = await FakeServer(SqliteStore(copy / "jobs.db"), "two").open()

    assert await again.bodies() == [b"%d" % n for n in range(19)]
    await again.store.close()


async def test_the_documented_repair_brings_back_what_can_be_read(
    one: FakeServer, tmp_path: Path, root: Path
) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("no sqlite3 on the path (apt-get install sqlite3)")
    text = (root / "docs" / "durability.md").read_text()
    section = text.partition("\n## A damaged file\n")[2].partition("\n## ")[0]
    count = re.search(r"<!-- file: count.sql -->\n```sql\n(.*?)```", section, re.DOTALL)
    assert count
    (tmp_path / "count.sql").write_text(count[1])
    script = [
        line[2:] for line in section.splitlines() if re.match(r"\$ (mkdir|cp|sqlite3) ", line)
    ]
    assert len(script) > 2
    await one.add(*[one.job(b"x" * 500, unique=b"%d" % n) for n in range(1000)])
    await one.store.close()
    with (tmp_path / "jobs.db").open("r+b") as file:
        file.seek(4096 * 60)
        file.write(b"\xde\xad" * 2048)

    subprocess.run("\n".join(script), shell=True, cwd=tmp_path, check=True)

    again = await FakeServer(SqliteStore(tmp_path / "new.db"), "one").open()
    assert (await again.count()).ready >= 900
    recount(again.store)
    await again.store.close()
