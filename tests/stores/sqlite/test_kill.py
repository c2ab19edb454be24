"""``kill -9`` in the middle of everything: nothing acknowledged is lost, nothing comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geartrain.stores.port import (
    FIRST,
)
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing.store_kit import FakeServer
from tests.stores.sqlite.test_contract import recount

_VICTIM = """
import asyncio, sys, time
from pathlib import Path
from geartrain.stores.sqlite_file import LONGEST_LOG_BYTES
from geartrain.stores.sqlite import SqliteStore
from geartrain.stores.port import *
from geartrain.testing.store_kit import FakeServer

async def main():
    one = await FakeServer(SqliteStore(Path(sys.argv[1])), "one").open()
    before = []
    while True:
        jobs = [one.job(b"x" * 300) for _ in range(20)]
        await one.store.commit([Add(j, Placement.MINE) for j in jobs],
                               [Ending(j.id) for j in before], [])
        print(*["+%d" % j.id for j in jobs], *["-%d" % j.id for j in before], flush=True)
        before = jobs[::2]

asyncio.run(main())
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged_and_brings_nothing_back(
    tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "jobs.db"
    added: set[int] = set()
    ended: set[int] = set()
    for round in range(5):
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, str(path)],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert victim.stdout
        lines = []
        for line in victim.stdout:
            lines.append(line)
            if len(lines) == 20 + 37 * round:
                victim.kill()
        victim.stdout.close()
        victim.wait()
        for line in lines:
            if not line.endswith("\n"):
                continue
            for word in line.split():
                (added if word[0] == "+" else ended).add(int(word[1:]))
        there = asyncio.run(everything(path))
        assert added - ended <= there | batch_of(lines), "an acknowledged job is lost"
        # What the last commit, whose answer was not read, ended or added is in doubt.
        assert len(there & ended) == 0, "an ended job is back"
        assert len((added - ended) - there) <= 10
        ended |= (added - ended) - there
        added |= there


def batch_of(lines: list[str]) -> set[int]:
    """Jobs that the commit after the last answer may have ended."""
    return {int(word[1:]) for word in lines[-1].split() if word[0] == "+"} | {
        int(word[1:]) for word in lines[-2].split() if word[0] == "+"
    }


async def everything(path: Path) -> set[int]:
    server = await FakeServer(SqliteStore(path), "after").open()
    recount(server.store)
    seen: set[int] = set()
    after = FIRST
    while page := await server.store.scan(None, after, 1000):
        seen |= {facts.id for facts in page}
        after = page[-1].id
    await server.store.close()
    return seen
