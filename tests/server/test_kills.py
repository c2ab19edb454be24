"""``kill -9``, again and again: what was acknowledged is done, and what was over stays over.

A thousand times is ``make kills``; in the short form it is fifty times, and a few in the
suite. Each tells what it saw: jobs acknowledged, lost and repeated, and how long the
restarts took, from the command to the first answer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sqlite3
import statistics
import threading
import time
from pathlib import Path
from typing import Final

import pytest

from geartrain.stores.sqlite_log import LARGEST_BODY
from tests.conformance.servers import Server
from tests.conformance.wire import T, packet
from tests.server.keeping import grab, serving, totals
from tests.support import patient

#: How often the long story kills.
KILLS: Final = int(os.environ.get("GEARTRAIN_KILLS") or 50)
#: One kill in so many comes before the server has begun to serve.
EARLY: Final = 6
#: Submissions in flight, of each client.
BATCH: Final = 20
#: What a body is filled up with that is worth a row of its own at once.
FILLING: Final = b" " * (LARGEST_BODY + 1)


class Life:
    """Clients and workers that note what was promised and what was done.

    Nobody is told that an end is on the disk. But it is once a job is acknowledged
    that was submitted after the server had taken the end: ``settled`` counts those.
    """

    def __init__(self) -> None:
        self.acknowledged: set[bytes] = set()
        self.done: set[bytes] = set()
        #: Done before, and again: its end was in flight when the server was killed.
        self.repeated = 0
        #: The same of what was settled: there must be none.
        self.revived: list[bytes] = []
        #: Done, and the server has answered the worker since.
        self.taken: list[bytes] = []
        self.settled = 0
        #: Settled in an earlier round.
        self.over: set[bytes] = set()
        #: For names; ``+= 1`` in several threads would give one twice.
        self.numbers = itertools.count(1)

    def round(self, server: Server, seconds: float) -> None:
        """Live until the server dies."""
        threads = [threading.Thread(target=self._submit, args=(server, n)) for n in range(3)]
        threads += [threading.Thread(target=self._work, args=(server,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        server.kill()
        for thread in threads:
            thread.join(patient(20))
            assert not thread.is_alive()
        # The others may come back in the next round, and be done in any later one.
        self.over.update(self.taken[: self.settled])
        self.taken.clear()
        self.settled = 0

    def _submit(self, server: Server, number: int) -> None:
        """Client 0 sends plain jobs, 1 jobs with keys, 2 jobs of both functions, some large."""
        with contextlib.suppress(AssertionError, OSError):
            wire = server.connect()
            while True:
                taken = len(self.taken)
                names = [b"%d.%d" % (number, next(self.numbers)) for _ in range(BATCH)]
                words = []
                for place, name in enumerate(names):
                    function = b"g" if number == 2 and place % 2 else b"f"
                    body = name + FILLING if number == 2 and not place else name
                    unique = name if number == 1 else b""
                    words.append(packet(T.SUBMIT_JOB_BG, function, unique, body))
                wire.socket.sendall(b"".join(words))
                for name in names:
                    wire.created()
                    self.acknowledged.add(name)
                self.settled = max(self.settled, taken)

    def _work(self, server: Server) -> None:
        with contextlib.suppress(AssertionError, OSError):
            wire = server.connect()
            wire.can_do(b"f")
            wire.can_do(b"g")
            ended: list[bytes] = []
            while True:
                job = grab(wire)
                self.taken += ended
                ended = []
                if not job:
                    time.sleep(0.001)
                    continue
                wire.socket.sendall(packet(T.WORK_COMPLETE, job[0], b""))
                ended = [self._note(job[4])]

    def _note(self, body: bytes) -> bytes:
        name = body.rstrip()
        if name in self.over:
            self.revived.append(name)
        self.repeated += name in self.done
        self.done.add(name)
        return name

    def queue(self, server: Server, count: int) -> None:
        """Put jobs in line, far more than a server keeps in memory."""
        wire = server.connect()
        names = [b"ahead.%d" % number for number in range(count)]
        wire.socket.sendall(b"".join(packet(T.SUBMIT_JOB_BG, b"f", b"", name) for name in names))
        for name in names:
            wire.created()
            self.acknowledged.add(name)

    def finish(self, server: Server) -> None:
        """Do what is left, until there is none, or none has come for long."""
        wire = server.connect()
        wire.can_do(b"f")
        wire.can_do(b"g")
        last = time.monotonic()
        while any(totals(server).values()) and time.monotonic() < last + patient(20):
            while job := grab(wire):
                wire.send(T.WORK_COMPLETE, job[0], b"")
                self._note(job[4])
                last = time.monotonic()
            wire.expect_nothing()


class Restarts:
    """How long each start took, and that none of them had anything to complain about."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.seconds: list[float] = []
        self.killed_early = 0

    def start(self, server: Server) -> None:
        """Start it again; now and then it is killed before it serves, and started once more."""
        while self.seconds and self.chance.randrange(EARLY) == 0:
            process = server.launch()
            time.sleep(self.chance.uniform(0.0, statistics.median(self.seconds)))
            process.kill()
            process.wait()
            self.killed_early += 1
        began = time.monotonic()
        server.restart()
        self.seconds.append(time.monotonic() - began)
        said = server.log().splitlines()
        assert not [line for line in said if " NOTICE " not in line[:9]], "it is not clean"

    def __str__(self) -> str:
        return (
            f"restarts: slowest {max(self.seconds):.2f} s, "
            f"median {statistics.median(self.seconds):.2f} s, "
            f"{self.killed_early} more were killed before they served"
        )


def live_and_die(folder: Path, rounds: int, ahead: int = 0) -> None:
    """Kill a server again and again; ``ahead`` jobs wait in line before all others."""
    seed = os.environ.get("GEARTRAIN_SEED") or str(random.randrange(10**9))
    print(f"GEARTRAIN_SEED={seed}")
    chance = random.Random(seed)
    life, restarts = Life(), Restarts(chance)
    most = 0
    with serving(folder) as server:
        life.queue(server, ahead)
        for number in range(1, rounds + 1):
            life.round(server, chance.uniform(0.02, 0.4))
            restarts.start(server)
            most = max(most, len(life.acknowledged) - len(life.done))
            if number % 50 == 0:
                print(f"{number} kills, {len(life.acknowledged)} acknowledged; {restarts}")
            assert not life.revived
        life.finish(server)
    lost = life.acknowledged - life.done
    print(
        f"{rounds} kills: {len(life.acknowledged)} jobs acknowledged, {len(lost)} lost, "
        f"{len(life.revived)} of {len(life.over)} settled ends undone, "
        f"{life.repeated} repeated of those in flight, up to {most} in line; {restarts}"
    )
    assert not lost
    assert not life.revived
    assert len(life.acknowledged) > 10 * rounds
    assert len(life.over) > rounds
    assert what_is_left(folder / "jobs.db") == (["ok"], 0, 0)


def what_is_left(path: Path) -> tuple[list[str], int, int]:
    """What SQLite thinks of the file, and how many jobs are rows, and counted, in it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        found = [text for (text,) in db.execute("PRAGMA integrity_check")]
        (rows,) = db.execute("SELECT count(*) FROM job").fetchone()
        (counted,) = db.execute(
            "SELECT coalesce(sum(ready + delayed), 0) FROM counter WHERE fn > 0"
        ).fetchone()
    return found, rows, counted


def test_nothing_is_lost_when_the_server_is_killed_again_and_again(tmp_path: Path) -> None:
    live_and_die(tmp_path, 8)


def test_nothing_is_lost_when_it_is_killed_while_jobs_come_from_the_store(tmp_path: Path) -> None:
    live_and_die(tmp_path, 5, ahead=5000)


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_nothing_is_lost_in_a_thousand_kills(tmp_path: Path) -> None:
    live_and_die(tmp_path, KILLS)
