"""Everything at once: servers killed, connections cut, workers killed in mid-job.

Three job servers, each behind a proxy; a gearman-worker whose processes do the jobs;
clients in threads and on a loop. Nothing may hang, nothing may be lost in silence,
nothing may be told twice, and when peace returns everything works.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from geartrain.client.aio import AsyncClient
from geartrain.client.sync import Client
from geartrain.errors import GearmanError
from tests.chaos.books import DONE, Books
from tests.chaos.proxy import Proxy
from tests.cli.tools import Server
from tests.manager.running import Running
from tests.support import patient, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(0)]

#: Seconds that a client waits for a result, and what a busy machine may add.
TIMEOUT = 4.0
SLACK = patient(6.0)

CODE = """
    import os, time
    from geartrain.worker.sync import Worker

    app = Worker()
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @app.function
    def reverse(job):
        os.write(ledger, job.workload + b"\\n")
        time.sleep(0.01)
        job.send_status(1, 2)
        return job.workload[::-1]
"""


class Cluster:
    """Three servers behind proxies, and what does their jobs."""

    def __init__(self, folder: Path) -> None:
        self.servers = [Server() for _ in range(3)]
        for server in self.servers:
            server.start()
        self.proxies = [Proxy("127.0.0.1", server.port) for server in self.servers]
        self.running = Running(folder, ",".join(map(str, self.proxies)))
        self.running.write(CODE)
        self.running.start("jobs", "-n", "3")

    def runs(self) -> Counter[bytes]:
        """How often each job was begun."""
        return Counter((self.running.folder / "ledger").read_bytes().splitlines())

    def close(self) -> None:
        if not self.running.has_ended:
            self.running.send(signal.SIGTERM)
            self.running.wait(40)
        for proxy in self.proxies:
            proxy.close()
        for server in self.servers:
            server.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    with cluster.running:
        yield cluster
        cluster.close()


class Mischief:
    """Breaks one thing after another; never two servers at a time."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self.done: Counter[str] = Counter()

    def once(self) -> None:
        what = self._chance.choice(["server", "cut", "cut", "worker", "worker", "reload"])
        self.done[what] += 1
        if what == "server":
            server = self._chance.choice(self._cluster.servers)
            server.kill()
            time.sleep(self._chance.uniform(0.0, 1.0))
            server.start()
        elif what == "cut":
            self._chance.choice(self._cluster.proxies).cut_now(self._chance.random())
        elif what == "worker":
            pids = sorted(pid for pid in self._cluster.running.pids() if pid)
            if pids:
                os.kill(self._chance.choice(pids), signal.SIGKILL)
        else:
            self._cluster.running.send(signal.SIGHUP)


def test_chaos(cluster: Cluster, books: Books, seconds: float) -> None:
    seed = os.environ.get("GEARTRAIN_SEED") or str(random.randrange(10**9))
    print(f"GEARTRAIN_SEED={seed}")
    chance = random.Random(seed)
    mischief = Mischief(cluster, chance)
    servers = [str(proxy) for proxy in cluster.proxies]
    options = {"timeout": TIMEOUT, "submit_timeout": TIMEOUT, "connect_timeout": 1.0}
    peace = threading.Event()
    faults: list[BaseException] = []

    def client() -> None:
        try:
            with Client(servers, **options) as client:  # type: ignore[arg-type]
                while not peace.is_set():
                    books.do(client)
        except BaseException as error:
            faults.append(error)

    def async_client() -> None:
        async def run() -> None:
            async with AsyncClient(servers, **options) as client:  # type: ignore[arg-type]

                async def one() -> None:
                    while not peace.is_set():
                        await books.do_async(client)

                await asyncio.gather(*(one() for _ in range(4)))

        try:
            asyncio.run(run())
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run) for run in (client, client, async_client)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not faults:
            time.sleep(chance.uniform(0.05, 0.4))
            mischief.once()
    finally:
        peace.set()
        for thread in threads:
            thread.join(TIMEOUT + SLACK)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
    if faults:
        raise faults[0]

    with Client(servers, **options) as client_in_peace:  # type: ignore[arg-type]
        wait_until(lambda: _works(client_in_peace), within=60)
        outcomes = [books.do(client_in_peace) for _ in range(30)]
    assert outcomes == [DONE] * 30

    # What a worker did for a client that had gone may still be under way.
    wait_until(lambda: set(cluster.running.states()) == {"idle"}, within=60)
    books.ran = cluster.runs()
    print(f"{dict(mischief.done)}: {books.summary()}")
    books.balance()
    assert books.longest < TIMEOUT + SLACK
    assert any(outcome == DONE for outcome in books.outcomes.values())


def _works(client: Client) -> bool:
    """Ten in a row: each of the three servers has found its workers again."""
    try:
        return all(client.do("reverse", b"%d" % n, timeout=2) for n in range(10))
    except GearmanError:
        return False
