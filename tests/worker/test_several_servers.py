"""Several servers, and when they go; and settings that cannot be."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time

import pytest

from geartrain.client.sync import Client
from geartrain.errors import (
    ConfigurationError,
    JobException,
    ResultTimeout,
)
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.client.servers import KINDS, Server
from tests.support import free_port, patient
from tests.worker.conftest import Running


def test_jobs_from_several_servers(server: Server, own_server: Server, running: Running) -> None:
    worker = Worker([str(server), str(own_server), ("127.0.0.1", free_port())])
    worker.add_function("reverse", lambda job: job.workload[::-1])
    with (
        running(worker),
        Client(str(server), timeout=20) as one,
        Client(str(own_server), timeout=20) as two,
    ):
        for n in range(10):
            text = f"{n:02}"
            assert one.do("reverse", text) == text[::-1].encode()
            assert two.do("reverse", text) == text[::-1].encode()
        tasks = [one.submit("reverse", "ab") for _ in range(20)]
        others = [two.submit("reverse", "ab") for _ in range(20)]
        assert one.gather(tasks) == two.gather(others) == [b"ba"] * 20


def test_restarted_server_is_served_again(own_server: Server, running: Running) -> None:
    worker = Worker(str(own_server))
    worker.add_function("reverse", lambda job: job.workload[::-1], timeout=30)
    with running(worker), Client(str(own_server), timeout=20, retry=3) as client:
        assert client.do("reverse", "ab") == b"ba"
        own_server.stop()
        own_server.start()
        assert client.do("reverse", "cd") == b"dc"


def test_worker_may_start_before_its_server(running: Running) -> None:
    port = free_port()
    worker = Worker(f"127.0.0.1:{port}")
    worker.add_function("reverse", lambda job: job.workload[::-1])
    with running(worker), Server(KINDS[0], port=port) as own, Client(str(own)) as client:
        assert client.do("reverse", "ab", timeout=20) == b"ba"


def test_job_that_the_server_took_away_is_dropped(client: Client, server: Server) -> None:
    """After its time limit a job runs elsewhere; our late result is refused."""
    go_on = threading.Event()
    runs: list[Job] = []

    def slow(job: Job) -> str:
        runs.append(job)
        if len(runs) == 1:
            go_on.wait(patient(20))
            return "late"
        return "in time"

    worker = Worker(str(server), concurrency=2)
    worker.add_function("slow", slow, timeout=1)
    thread = threading.Thread(target=worker.work)
    thread.start()
    deadline = time.monotonic() + patient(20)
    try:
        task = client.submit("slow")
        while not task.done() and time.monotonic() < deadline:
            # The C server's timers may sleep on until it has somebody new to accept.
            socket.create_connection(("127.0.0.1", server.port)).close()
            with contextlib.suppress(ResultTimeout):
                task.result(0.25)
        assert task.result(0) == b"in time"
        go_on.set()
        worker.add_function("reverse", lambda job: job.workload[::-1])
        assert client.do("reverse", "ab") == b"ba"
    finally:
        go_on.set()
        worker.stop()
        thread.join(patient(20))
    assert len(runs) == 2


@pytest.mark.parametrize(
    "settings",
    [{"concurrency": 0}, {"pool": "fibre"}, {"pool": "inline", "concurrency": 2}, {"servers": ""}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Worker(**settings)  # type: ignore[arg-type]


def test_worker_without_functions_is_a_mistake(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="without functions"):
        Worker(str(server)).work()


def test_signals_can_be_left_to_the_program(server: Server) -> None:
    worker = Worker(str(server))
    seen: list[object] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:

        @worker.function("signal-me")
        def signal_me(job: Job) -> None:
            signal.raise_signal(signal.SIGTERM)

        with Client(str(server), timeout=20) as client:
            client.do_background("signal-me")
            client.do_background("signal-me")

        assert worker.work(max_jobs=2, signals=False) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(seen) == 2


def test_job_client_is_for_workers_with_threads(
    client: Client, server: Server, running: Running
) -> None:
    worker = Worker(str(server))
    worker.add_function("async-client", lambda job: job.aio_client)

    with running(worker), pytest.raises(JobException, match="is for an AsyncWorker"):
        client.do("async-client")
