"""Worker against real servers: what a handler says, and jobs by hand."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from geartrain.client.events import WorkComplete, WorkData, WorkStatus
from geartrain.client.sync import Client
from geartrain.errors import (
    Fail,
    JobException,
    JobFailed,
    JobFinished,
)
from geartrain.worker.job import Job, Status, current_job
from geartrain.worker.sync import Worker
from tests.client.servers import Server
from tests.support import wait_until
from tests.worker.conftest import Running

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
