"""Threads, forks, signals and the end: who waits for a client's sockets, and who is told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

import pytest

from geartrain.client.channel import Channel
from geartrain.client.engine import Engine
from geartrain.client.routing import Routing
from geartrain.client.sync import Client
from geartrain.errors import (
    JobLost,
    ServerUnavailable,
)
from tests.client.servers import RawWorker, Server, raw_worker
from tests.support import patient, wait_until


def test_a_server_that_is_met_while_another_thread_waits_is_heard(server: Server) -> None:
    client = Client(str(server))
    looked: list[int] = []

    class Late(Engine):
        """One whose first connection is made in the moment before it begins to wait."""

        def _open_waker(self) -> socket.socket:
            if not looked:
                self.channel(client.servers[0])
            return super()._open_waker()

        def _wait_for_some(self, channels: Iterable[Channel], end: float | None) -> bool:
            looked.append(len(list(channels)))
            return super()._wait_for_some(channels, end)

    engine = Late(client.servers + client.servers, Routing(client.servers), 4.0, None, True)
    engine.wait(lambda: looked, time.monotonic() + 10)
    engine.close()
    assert looked == [1]


def test_many_threads_share_one_client(client: Client, worker: RawWorker) -> None:
    faults: list[object] = []

    def run(number: int) -> None:
        for n in range(50):
            text = f"{number}-{n}"
            if client.do("reverse", text) != text[::-1].encode():
                faults.append(text)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(40))
    assert not any(thread.is_alive() for thread in threads)
    assert not faults


def test_thread_that_leads_is_not_missed_when_it_leaves(client: Client, server: Server) -> None:
    early = client.submit("reverse", "1", timeout=20)
    late = client.submit("second", "2", timeout=20)
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda t=task: results.append(t.result())) for task in (early, late)
    ]
    for thread in threads:
        thread.start()
    with raw_worker(server, reverse=lambda w, h, d: w.complete(h, d)):
        threads[0].join(patient(20))
    with raw_worker(server, second=lambda w, h, d: w.complete(h, d)):
        threads[1].join(patient(20))
    assert results == [b"1", b"2"]


def test_client_survives_a_fork(client: Client, worker: RawWorker) -> None:
    assert client.do("reverse", "ab") == b"ba"
    pending = client.submit("reverse", "parent")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours = client.do("reverse", "child", timeout=20) == b"dlihc"
            theirs = isinstance(pending.exception(1), ServerUnavailable)
            code = 0 if ours and theirs else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert pending.result(20) == b"tnerap"


def test_close_ends_all_that_wait(server: Server) -> None:
    client = Client(str(server))
    task = client.submit("nobody-does-this")
    task.wait_created(20)
    errors: list[object] = []
    thread = threading.Thread(target=lambda: errors.append(task.exception()))
    thread.start()
    client.close()
    thread.join(patient(10))

    assert [type(error) for error in errors] == [JobLost]
    with pytest.raises(ServerUnavailable, match="closed"):
        client.do("reverse")
    client.close()


def test_ctrl_c_leaves_the_client_usable(client: Client, worker: RawWorker) -> None:
    task = client.submit("nobody-does-this")
    task.wait_created(20)
    main = threading.main_thread().ident or 0

    def interrupt() -> None:
        # Whoever waits has set itself up to lead; more cannot be seen from outside.
        wait_until(lambda: client.engine._leader == main)
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            task.result(20)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert client.engine._leader == 0
    assert client.do("reverse", "ab") == b"ba"


def test_a_client_that_nobody_closes_leaves_nothing_open(server: Server) -> None:
    code = f"import geartrain; print(geartrain.Client({str(server)!r}).ping() < 9)"

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )

    assert (ran.stdout, ran.stderr) == ("True\n", "")
