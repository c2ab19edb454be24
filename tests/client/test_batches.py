"""What a batch gathers, and when it leaves."""

from __future__ import annotations

import threading

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.sync import Client
from geartrain.client.waiting import Task
from geartrain.errors import (
    OutcomeUnknown,
)
from tests.client.servers import RawWorker, Server
from tests.support import wait_until


def queued(client: Client, function: str) -> int:
    with AdminClient(client.servers[0]) as admin:
        return sum(line.total for line in admin.status() if line.function == function)


def test_what_a_batch_gathers_leaves_when_it_ends(client: Client) -> None:
    with client.batch():
        tasks = [client.submit_background("batched", str(n)) for n in range(3)]
        assert queued(client, "batched") == 0
    wait_until(lambda: queued(client, "batched") == 3)
    for task in tasks:
        assert client.cancel(task.wait_created(20))


def test_a_batch_inside_a_batch_ends_nothing(client: Client) -> None:
    with client.batch():
        with client.batch():
            task = client.submit_background("batched")
        other = client.submit_background("batched")
        assert client.engine.channel(client.servers[0]).connection.unsent_bytes > 0
    client.wait([task, other], timeout=20)
    assert client.cancel(task.wait_created(20))
    assert client.cancel(other.wait_created(20))


def test_waiting_in_a_batch_sends_what_it_holds(client: Client, worker: RawWorker) -> None:
    with client.batch():
        first = client.submit("reverse", "ab")
        assert client.do("reverse", "cd") == b"dc"
        assert first.result(20) == b"ba"


def test_a_large_batch_begins_before_it_ends(client: Client, worker: RawWorker) -> None:
    with client.batch():
        tasks = [client.submit("reverse", bytes(1000)) for _ in range(100)]
        wait_until(lambda: len(worker.unique) > 10)
    assert client.gather(tasks, timeout=20) == [bytes(1000)] * 100


def test_a_batch_gathers_for_its_own_thread_alone(client: Client, worker: RawWorker) -> None:
    client.ping()
    others: list[Task[bytes]] = []
    with client.batch():
        thread = threading.Thread(target=lambda: others.append(client.submit("reverse", "ab")))
        thread.start()
        thread.join()
        wait_until(lambda: worker.unique == [others[0].unique])
    assert others[0].result(20) == b"ba"


def test_what_a_batch_gathered_outlives_its_server(own_server: Server) -> None:
    with Client(str(own_server), timeout=20) as client:
        client.ping()
        with client.batch():
            task = client.submit_background("batched")
            own_server.stop()
            own_server.start()
        assert client.cancel(task.wait_created(20))


def test_closing_in_a_batch_leaves_no_task_behind(server: Server) -> None:
    with Client(str(server)) as client, client.batch():
        tasks = [client.submit_background("batched") for _ in range(3)]
        client.close()
    for task in tasks:
        with pytest.raises(OutcomeUnknown):
            task.wait_created(20)
