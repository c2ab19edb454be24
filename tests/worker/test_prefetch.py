"""Jobs that are fetched ahead: done once, in order, and given up when they must be."""

from __future__ import annotations

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.sync import Client
from geartrain.errors import (
    ConfigurationError,
    Requeue,
)
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.client.servers import Server


def queue(client: Client, function: str, count: int) -> list[bytes]:
    bodies = [b"%d" % n for n in range(count)]
    with client.batch():
        tasks = [client.submit_background(function, body) for body in bodies]
    for task in tasks:
        task.wait_created(20)
    return bodies


def test_jobs_that_are_fetched_ahead_are_done_once_and_in_order(
    client: Client, server: Server
) -> None:
    bodies = queue(client, "ahead", 300)
    done: list[bytes] = []
    worker = Worker(str(server), prefetch=8)
    worker.add_function("ahead", lambda job: done.append(job.workload))

    assert worker.work(burst=True) == 300
    assert done == bodies


def test_a_worker_that_is_stopped_does_what_it_has_fetched(client: Client, server: Server) -> None:
    queue(client, "ahead", 50)
    done: list[bytes] = []
    worker = Worker(str(server), prefetch=4)

    def ahead(job: Job) -> None:
        done.append(job.workload)
        if len(done) == 20:
            worker.stop()

    worker.add_function("ahead", ahead)
    first = worker.work()
    assert 20 <= first <= 20 + 1 + 4
    assert first + worker.work(burst=True) == len(done) == len(set(done)) == 50


def test_jobs_fetched_through_a_connection_that_went_are_left_to_others(
    client: Client, server: Server
) -> None:
    queue(client, "ahead", 20)
    begun: list[bytes] = []
    worker = Worker(str(server), prefetch=8)

    def ahead(job: Job) -> None:
        begun.append(job.workload)
        if len(begun) == 10:
            raise Requeue

    worker.add_function("ahead", ahead)
    worker.work(burst=True)
    assert len(begun) == 21
    assert len(set(begun)) == 20


@pytest.mark.parametrize(("concurrency", "prefetch"), [(1, 0), (1, 8), (1, 50), (3, 8)])
def test_no_job_is_fetched_beyond_a_count(
    client: Client, server: Server, concurrency: int, prefetch: int
) -> None:
    queue(client, "ahead", 100)
    done: list[bytes] = []
    worker = Worker(str(server), concurrency=concurrency, prefetch=prefetch)
    worker.add_function("ahead", lambda job: done.append(job.workload))

    for count in (1, 3, 20, 40):
        assert worker.work(max_jobs=count) == count
    assert worker.work(max_jobs=100, burst=True) == 36
    assert len(set(done)) == len(done) == 100


def test_a_count_does_not_keep_jobs_from_being_fetched_ahead(
    client: Client, server: Server
) -> None:
    queue(client, "ahead", 20)
    worker = Worker(str(server), prefetch=4)
    running: list[int] = []

    def ahead(job: Job) -> None:
        with AdminClient(str(server)) as admin:
            running.append(next(f.running for f in admin.status() if f.function == "ahead"))

    worker.add_function("ahead", ahead)
    assert worker.work(max_jobs=20) == 20
    assert max(running) == 5


def test_nothing_is_fetched_ahead_of_a_time_limit(client: Client, server: Server) -> None:
    queue(client, "ahead", 7)
    worker = Worker(str(server), prefetch=8)
    most: list[int] = []

    def limited(job: Job) -> None:
        with AdminClient(str(server)) as admin:
            most.append(next(f.running for f in admin.status() if f.function == "ahead"))

    worker.add_function("ahead", limited, timeout=30)
    assert worker.work(burst=True) == 7
    assert most == [1] * 7


@pytest.mark.parametrize("prefetch", [-1, 1.5, True])
def test_a_prefetch_that_cannot_be_is_refused(prefetch: int) -> None:
    with pytest.raises(ConfigurationError, match="prefetch"):
        Worker(prefetch=prefetch)
