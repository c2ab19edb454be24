"""Worker against real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

import geartrain
from geartrain.client.admin import AdminClient
from geartrain.client.events import WorkComplete, WorkData, WorkStatus
from geartrain.client.sync import Client
from geartrain.errors import (
    ConfigurationError,
    Fail,
    JobException,
    JobFailed,
    JobFinished,
    Requeue,
    StopWorker,
)
from geartrain.worker.job import Job, Status, current_job
from geartrain.worker.sync import Worker
from tests.client.servers import KINDS, Server
from tests.support import free_port, patient, wait_until
from tests.worker.conftest import Running


@pytest.fixture
def worker(server: Server) -> Worker:
    worker = Worker(str(server), worker_id="my worker")
    worker.add_function("reverse", lambda job: job.workload[::-1])
    return worker


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may kill."""
    with Server(KINDS[0]) as server:
        yield server


# ── fetched ahead ────────────────────────────────────────────────────────────


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


# ── handlers ─────────────────────────────────────────────────────────────────


def test_return_value_is_the_result(client: Client, worker: Worker, running: Running) -> None:
    worker.add_function("text", lambda job: "ä")
    worker.add_function("nothing", lambda job: None)
    with running(worker):
        assert client.do("reverse", "abc") == b"cba"
        assert client.do("text") == "ä".encode()
        assert client.do("nothing") == b""


def test_decorators(client: Client, worker: Worker, running: Running) -> None:
    @worker.function
    def plain(job: Job) -> str:
        return "plain"

    @worker.function("renamed", timeout=30, codec="json")
    def named(job: Job) -> list[object]:
        return [job.args, job.json()]

    with running(worker):
        assert client.do("plain") == b"plain"
        assert client.do("renamed", '{"a":1}') == b'[{"a":1},{"a":1}]'
    assert plain.__name__ == "plain"


def test_reports_by_method(client: Client, worker: Worker, running: Running) -> None:
    @worker.function
    def chatty(job: Job) -> bytes:
        job.send_data("a")
        job.send_warning(b"w")
        job.send_status(1, 2)
        return b"z"

    with running(worker):
        assert client.do("chatty") == b"az"


def test_generator_yields_data_and_status(client: Client, worker: Worker, running: Running) -> None:
    @worker.function
    def lines(job: Job) -> Generator[object, None, str]:
        for n, line in enumerate(job.text().split(), 1):
            yield line
            yield Status(n, 2)
        return "end"

    with running(worker):
        assert list(client.submit("lines", "a b").events(20))[1:] == [
            WorkData(b"a"),
            WorkStatus(1, 2),
            WorkData(b"b"),
            WorkStatus(2, 2),
            WorkComplete(b"end"),
        ]


def test_track_sends_status(client: Client, worker: Worker, running: Running) -> None:
    @worker.function
    def count(job: Job) -> str:
        return str(sum(1 for _ in job.track(job.workload)))

    with running(worker):
        task = client.submit("count", bytes(1000))
        assert task.result() == b"1000"
        assert task.progress == WorkStatus(1000, 1000)


def test_exception_travels_with_type_and_traceback(
    client: Client, worker: Worker, running: Running
) -> None:
    worker.add_function("bad", lambda job: 1 / 0)
    with running(worker):
        with pytest.raises(JobException) as caught:
            client.do("bad")
        assert caught.value.type_name == "ZeroDivisionError"
        assert str(caught.value) == "ZeroDivisionError: division by zero"
        assert "in <lambda>" in caught.value.remote_traceback
        assert client.do("reverse", "ab") == b"ba"


def test_fail_with_and_without_a_reason(client: Client, worker: Worker, running: Running) -> None:
    def fail(job: Job) -> None:
        raise Fail(job.text())

    worker.add_function("fail", fail)
    with running(worker):
        with pytest.raises(JobFailed) as caught:
            client.do("fail")
        assert not isinstance(caught.value, JobException)
        with pytest.raises(JobException, match=r"^because$"):
            client.do("fail", "because")


def test_job_ends_once(client: Client, worker: Worker, running: Running) -> None:
    faults: list[Exception] = []

    @worker.function
    def twice(job: Job) -> None:
        job.send_complete("first")
        for report in (job.send_complete, job.send_fail, lambda: job.send_data(b"")):
            try:
                report()
            except JobFinished as error:
                faults.append(error)

    with running(worker):
        assert client.do("twice") == b"first"
        assert client.do("reverse", "ab") == b"ba"
    assert len(faults) == 3


def test_result_that_the_codec_cannot_say(client: Client, worker: Worker, running: Running) -> None:
    worker.add_function("odd", lambda job: object())
    with running(worker), pytest.raises(JobException, match="choose a codec"):
        client.do("odd")


def test_what_a_job_knows(client: Client, worker: Worker, running: Running) -> None:
    seen: list[Job] = []
    worker.context = {"db": 1}

    @worker.function
    def look(job: Job) -> bytes:
        assert current_job() is job
        seen.append(job)
        job.log.info("hello")
        return job.client.do("reverse", job.workload, timeout=20)

    helper = Worker(worker.servers)
    helper.add_function("reverse", lambda job: job.workload[::-1])
    with running(worker), running(helper):
        task = client.submit("look", "ab", unique="u1")
        assert task.result() == b"ba"
    job = seen[0]
    assert (job.handle, job.unique, job.function) == (task.handle, b"u1", "look")
    assert (job.server, job.context, job.reducer) == (client.servers[0], {"db": 1}, None)
    with pytest.raises(LookupError):
        current_job()


def test_reducer_reaches_the_job(client: Client, server: Server, running: Running) -> None:
    worker = Worker(str(server), namespace="ns-")
    worker.add_function("split", lambda job: job.reducer)
    with running(worker), Client(str(server), namespace="ns-", timeout=20) as client:
        assert client.do("split", reducer="merge") == b"merge"


# ── jobs by hand ─────────────────────────────────────────────────────────────


def test_grab(client: Client, worker: Worker) -> None:
    with worker:
        assert worker.grab(0.05) is None
        task = client.submit("reverse", "abc")
        job = worker.grab(20)
        assert job is not None
        assert job.workload == b"abc"
        with job:
            job.send_complete("done")
        assert task.result() == b"done"
        assert worker.grab(0) is None

        task = client.submit("reverse")
        job = worker.grab(20)
        assert job is not None
        with pytest.raises(ValueError, match="oops"), job:
            raise ValueError("oops")
        with pytest.raises(JobException, match="oops"):
            task.result()


def test_work_one(client: Client, worker: Worker) -> None:
    with worker:
        tasks = [client.submit("reverse", text) for text in ("ab", "cd")]
        assert worker.work_one(20)
        assert worker.work_one(20)
        assert not worker.work_one(0.02)
        assert client.gather(tasks) == [b"ba", b"dc"]


def test_grab_asks_for_no_job_that_nobody_will_do(client: Client, worker: Worker) -> None:
    with worker:
        handles = [client.do_background("reverse") for _ in range(2)]
        assert worker.work_one(20)
        wait_until(lambda: not client.status(handles[0]).known)
        assert not client.status(handles[1]).running
        assert worker.work_one(20)


# ── how long ─────────────────────────────────────────────────────────────────


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


# ── stopping ─────────────────────────────────────────────────────────────────


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


# ── several servers, and when they go ────────────────────────────────────────


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
    try:
        assert client.do("slow") == b"in time"
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
