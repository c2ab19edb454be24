"""How long a worker works, on how much at once, and with which functions."""

from __future__ import annotations

import threading

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.sync import Client
from geartrain.errors import (
    Requeue,
    StopWorker,
)
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.client.servers import Server
from tests.support import patient, wait_until
from tests.worker.conftest import Running


def test_burst_does_what_there_is(client: Client, worker: Worker) -> None:
    for _ in range(5):
        client.do_background("reverse")
    assert worker.work(burst=True) == 5
    assert worker.work(burst=True) == 0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_max_jobs(client: Client, server: Server, concurrency: int) -> None:
    worker = Worker(str(server), concurrency=concurrency)
    worker.add_function("reverse", lambda job: b"")
    for _ in range(7):
        client.do_background("reverse")

    assert worker.work(max_jobs=5) == 5
    assert worker.work(burst=True) == 2


def test_max_time(worker: Worker) -> None:
    assert worker.work(max_time=0.05) == 0


def test_handler_may_stop_the_worker(client: Client, worker: Worker) -> None:
    def last(job: Job) -> None:
        raise StopWorker("bye")

    worker.add_function("last", last)
    task = client.submit("last")
    after = client.do_background("reverse")
    assert worker.work() >= 1
    assert task.result() == b"bye"
    worker.work(burst=True)
    wait_until(lambda: not client.status(after).known)


def test_requeue_gives_the_job_to_another(client: Client, server: Server, worker: Worker) -> None:
    runs: list[int] = []

    def shy(job: Job) -> str:
        runs.append(1)
        if len(runs) == 1:
            raise Requeue
        return "second time"

    worker.add_function("shy", shy)
    task = client.submit("shy")
    assert worker.work(max_jobs=2) == 2
    assert task.result() == b"second time"


def test_threads_work_at_once(client: Client, server: Server, running: Running) -> None:
    meeting = threading.Barrier(4, timeout=patient(20))
    worker = Worker(str(server), concurrency=4)
    worker.add_function("meet", lambda job: str(meeting.wait()))
    with running(worker):
        results = client.gather([client.submit("meet") for _ in range(4)], timeout=20)
    assert sorted(results) == [b"0", b"1", b"2", b"3"]


def test_server_counts_one_worker_for_each_slot(server: Server, running: Running) -> None:
    worker = Worker(str(server), concurrency=3, worker_id="my worker")
    worker.add_function("counted", lambda job: b"")

    def workers() -> int:
        with AdminClient(str(server)) as admin:
            return sum(s.workers for s in admin.status() if s.function == "counted")

    with running(worker):
        wait_until(lambda: workers() == 3)
        with AdminClient(str(server)) as admin:
            assert sum(info.client_id == "my_worker" for info in admin.workers()) == 3
    wait_until(lambda: workers() == 0)


def test_functions_come_and_go_while_working(
    client: Client, worker: Worker, running: Running
) -> None:
    with running(worker):
        assert client.do("reverse", "ab") == b"ba"
        task = client.submit("learnt-later")
        task.wait_created(20)
        worker.add_function("learnt-later", lambda job: "now")
        assert task.result() == b"now"
        worker.remove_function("learnt-later")
        wait_until(lambda: not _can_do(client, "learnt-later"))


def _can_do(client: Client, function: str) -> bool:
    with AdminClient(client.servers[0]) as admin:
        return any(s.function == function and s.workers for s in admin.status())
