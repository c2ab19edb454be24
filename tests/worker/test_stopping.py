"""A worker that is stopped, by a call or by signals, in threads and in processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import geartrain
from geartrain.client.sync import Client
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker
from tests.client.servers import Server
from tests.support import patient, wait_until


@pytest.mark.parametrize("concurrency", [1, 2])
def test_stop_finishes_what_runs_and_runs_nothing_twice(
    client: Client, server: Server, concurrency: int
) -> None:
    started, go_on = threading.Event(), threading.Event()
    runs: list[bytes] = []

    def slow(job: Job) -> str:
        runs.append(job.workload)
        started.set()
        go_on.wait(patient(20))
        return "finished"

    worker = Worker(str(server), concurrency=concurrency)
    worker.add_function("slow", slow)
    tasks = [client.submit("slow", str(n)) for n in range(4)]
    thread = threading.Thread(target=worker.work)
    thread.start()
    wait_until(lambda: len(runs) == concurrency)
    worker.stop()
    go_on.set()
    thread.join(patient(20))
    assert not thread.is_alive()

    assert len(runs) == concurrency
    done, left = client.wait(tasks, timeout=0.2)
    assert {task.outcome() for task in done} == {b"finished"}
    assert len(left) == 4 - concurrency
    for task in left:  # back in the queue, and untouched
        assert not task.status().running
    worker.work(burst=True)
    assert sorted(runs) == [b"0", b"1", b"2", b"3"]


def test_stop_wakes_a_sleeper(worker: Worker) -> None:
    thread = threading.Thread(target=worker.work)
    thread.start()
    worker.stop()
    thread.join(patient(10))
    assert not thread.is_alive()


PROGRAM = """
import os, sys, time
from geartrain.worker.sync import Worker
worker = Worker(sys.argv[1], concurrency=int(sys.argv[3]), pool=sys.argv[2] or None, grace=20)
@worker.function
def slow(job):
    job.send_data(b"started")
    time.sleep(float(job.text()))
    return b" and finished"
@worker.function
def die_once(job):
    if os.path.exists(job.text()):
        return "alive"
    open(job.text(), "w").close()
    os._exit(3)
@worker.function
def pid(job):
    return str(os.getpid())
print(worker.work())
"""


Program = Callable[[Server, str, int], "subprocess.Popen[bytes]"]


@pytest.fixture
def program() -> Iterator[Program]:
    """Start PROGRAM with this pool and concurrency; killed at the end, if it still runs."""
    source = os.path.dirname(os.path.dirname(geartrain.__file__))
    environment = {**os.environ, "PYTHONPATH": source}
    started: list[subprocess.Popen[bytes]] = []

    def start(server: Server, pool: str, concurrency: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM, str(server), pool, str(concurrency)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("pool", "concurrency"), [("inline", 1), ("thread", 2), ("process", 2)])
def test_sigterm_lets_the_job_end(
    client: Client, server: Server, program: Program, pool: str, concurrency: int
) -> None:
    process = program(server, pool, concurrency)
    task = client.submit("slow", "0.3")
    assert next(task.data(20)) == b"started"
    process.send_signal(signal.SIGTERM)
    assert task.result() == b" and finished"
    output, _ = process.communicate(timeout=patient(20))
    assert (process.returncode, output) == (0, b"1\n")


@pytest.mark.parametrize(("pool", "concurrency"), [("inline", 1), ("thread", 2), ("process", 2)])
def test_second_signal_does_not_wait(
    client: Client, server: Server, program: Program, pool: str, concurrency: int
) -> None:
    process = program(server, pool, concurrency)
    task = client.submit("slow", "60")
    assert next(task.data(20)) == b"started"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)  # two signals at one moment are one
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=patient(20))
    assert process.returncode == 0
    wait_until(lambda: not task.status().running)
    task.cancel()


def test_process_that_dies_is_replaced(
    client: Client, server: Server, program: Program, tmp_path: Path
) -> None:
    process = program(server, "process", 1)
    before = client.do("pid")

    assert client.do("die_once", str(tmp_path / "mark")) == b"alive"

    assert client.do("pid") not in (before, str(process.pid).encode())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=patient(20))
    assert process.returncode == 0


def test_processes_do_not_outlive_their_parent(
    client: Client, server: Server, program: Program
) -> None:
    process = program(server, "process", 2)
    client.do("pid")
    process.kill()
    process.communicate(timeout=patient(20))  # ends when nobody holds the pipe any more
