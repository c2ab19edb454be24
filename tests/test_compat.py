"""python-gearman's documented examples, with one import changed."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import geartrain.compat as gearman
from geartrain.testing import EmbeddedServer
from tests.support import patient, wait_until

LONG = patient(20)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


Start = Callable[[Any], threading.Thread]


@pytest.fixture
def start(server: EmbeddedServer) -> Iterator[Start]:
    """Has a ``GearmanWorker`` work in a thread, to the end of the test."""
    running: list[tuple[Any, threading.Thread]] = []

    def start(worker: Any) -> threading.Thread:
        stopping = threading.Event()
        after = worker.after_poll
        worker.after_poll = lambda active: after(active) and not stopping.is_set()
        thread = threading.Thread(target=worker.work, kwargs={"poll_timeout": 0.05})
        thread.start()
        running.append((stopping, thread))
        return thread

    yield start
    for stopping, thread in running:
        stopping.set()
        thread.join(LONG)
        assert not thread.is_alive()


def test_a_basic_worker_reverses_and_a_client_waits(server: EmbeddedServer, start: Start) -> None:
    gm_worker = gearman.GearmanWorker([server.address])

    def task_listener_reverse(gearman_worker: Any, gearman_job: Any) -> Any:
        return reversed(gearman_job.data)

    gm_worker.set_client_id("your_worker_client_id_name")
    gm_worker.register_task("reverse", task_listener_reverse)
    start(gm_worker)

    gm_client = gearman.GearmanClient([server.address])
    request = gm_client.submit_job("reverse", "arbitrary dâta", poll_timeout=LONG)

    assert request.complete
    assert not request.timed_out
    assert request.state == gearman.JOB_COMPLETE
    assert request.result == "atâd yrartibra"
    assert request.job.handle.startswith("H:")
    gm_client.shutdown()


def test_a_high_priority_background_job_is_complete_when_it_is_accepted(
    server: EmbeddedServer, start: Start
) -> None:
    gm_client = gearman.GearmanClient([server.address])

    request = gm_client.submit_job(
        "quiet", "data", priority=gearman.PRIORITY_HIGH, background=True, poll_timeout=LONG
    )

    assert request.complete
    assert request.state == gearman.JOB_CREATED
    status = gm_client.get_job_status(request).status
    assert (status["known"], status["running"]) == (True, False)

    gm_worker = gearman.GearmanWorker([server.address])
    gm_worker.register_task("quiet", lambda worker, job: job.data)
    start(gm_worker)
    wait_until(lambda: not gm_client.get_job_status(request).status["known"])
    gm_client.shutdown()


def test_updates_in_flight_are_kept_in_order(server: EmbeddedServer, start: Start) -> None:
    gm_worker = gearman.GearmanWorker([server.address])

    def task_listener_reverse_inflight(gearman_worker: Any, gearman_job: Any) -> None:
        reversed_data = gearman_job.data[::-1]
        total_chars = len(reversed_data)
        for idx, character in enumerate(reversed_data):
            gearman_worker.send_job_data(gearman_job, str(character))
            gearman_worker.send_job_status(gearman_job, idx + 1, total_chars)
        gearman_worker.send_job_warning(gearman_job, "done")

    gm_worker.register_task("inflight", task_listener_reverse_inflight)
    start(gm_worker)

    gm_client = gearman.GearmanClient([server.address])
    request = gm_client.submit_job("inflight", "abc", poll_timeout=LONG)

    assert list(request.data_updates) == ["c", "b", "a"]
    assert list(request.warning_updates) == ["done"]
    assert (request.status["numerator"], request.status["denominator"]) == (3, 3)
    assert request.result == ""
    gm_client.shutdown()


def test_several_jobs_are_submitted_at_once_and_waited_for_later(
    server: EmbeddedServer, start: Start
) -> None:
    gm_client = gearman.GearmanClient([server.address])
    list_of_jobs = [{"task": "task_name", "data": "one"}, {"task": "other_task", "data": "two"}]

    submitted = gm_client.submit_multiple_jobs(
        list_of_jobs, background=False, wait_until_complete=False
    )
    assert [request.state for request in submitted] == [gearman.JOB_CREATED] * 2
    gm_client.wait_until_jobs_completed(submitted, poll_timeout=0.05)
    assert [request.timed_out for request in submitted] == [True, True]

    gm_worker = gearman.GearmanWorker([server.address])
    gm_worker.register_task("task_name", lambda worker, job: job.data.upper())
    gm_worker.register_task("other_task", lambda worker, job: 1 / 0)
    start(gm_worker)
    completed = gm_client.submit_multiple_requests(submitted, poll_timeout=LONG)

    assert [request.state for request in completed] == [gearman.JOB_COMPLETE, gearman.JOB_FAILED]
    assert completed[0].result == "ONE"
    gm_client.shutdown()


class PickleDataEncoder(gearman.DataEncoder):
    @classmethod
    def encode(cls, encodable_object: Any) -> Any:
        return pickle.dumps(encodable_object)

    @classmethod
    def decode(cls, decodable_string: Any) -> Any:
        return pickle.loads(decodable_string)


class JSONDataEncoder(gearman.DataEncoder):
    @classmethod
    def encode(cls, encodable_object: Any) -> Any:
        return json.dumps(encodable_object)

    @classmethod
    def decode(cls, decodable_string: Any) -> Any:
        return json.loads(decodable_string)


@pytest.mark.parametrize("encoder", [PickleDataEncoder, JSONDataEncoder])
def test_python_objects_travel_by_an_encoder(
    server: EmbeddedServer, start: Start, encoder: type[gearman.DataEncoder]
) -> None:
    rollbacks: list[bool] = []

    class ExampleClient(gearman.GearmanClient):
        data_encoder = encoder

    class RollbackWorker(gearman.GearmanWorker):
        data_encoder = encoder

        def after_poll(self, any_activity: bool) -> bool:
            rollbacks.append(any_activity)
            return True

    gm_worker = RollbackWorker([server.address])
    gm_worker.register_task("objects", lambda worker, job: {"got": job.data})
    start(gm_worker)

    with ExampleClient([server.address]) as gm_client:
        request = gm_client.submit_job("objects", [1, None, "é"], poll_timeout=LONG)

        assert request.result == {"got": [1, None, "é"]}
    wait_until(lambda: True in rollbacks)


def test_binary_data_goes_through_text_unharmed_or_as_bytes(
    server: EmbeddedServer, start: Start
) -> None:
    class BytesWorker(gearman.GearmanWorker):
        data_encoder = gearman.BytesDataEncoder

    gm_worker = BytesWorker([server.address])
    gm_worker.register_task("binary", lambda worker, job: job.data + b"\xff\x00")
    start(gm_worker)

    with gearman.GearmanClient([server.address]) as gm_client:
        text = gm_client.submit_job("binary", b"\xfe", poll_timeout=LONG).result

    assert text.encode("utf-8", "surrogateescape") == b"\xfe\xff\x00"


def test_an_exception_that_was_sent_is_kept(server: EmbeddedServer, start: Start) -> None:
    gm_worker = gearman.GearmanWorker([server.address])
    gm_worker.register_task("why", lambda worker, job: worker.send_job_exception(job, "because"))
    start(gm_worker)

    with gearman.GearmanClient([server.address]) as gm_client:
        request = gm_client.submit_job("why", "", poll_timeout=LONG)

    assert (request.state, request.exception) == (gearman.JOB_FAILED, "because")


def test_the_admin_client_inspects_the_server(server: EmbeddedServer, start: Start) -> None:
    gm_worker = gearman.GearmanWorker([server.address])
    gm_worker.set_client_id("me")
    gm_worker.register_task("inspected", lambda worker, job: "")
    start(gm_worker)
    gm_admin_client = gearman.GearmanAdminClient([server.address])

    workers = wait_until(
        lambda: [row for row in gm_admin_client.get_workers() if row["client_id"] == "me"]
    )

    assert workers[0]["tasks"] == ("inspected",)
    row = next(row for row in gm_admin_client.get_status() if row["task"] == "inspected")
    assert row == {"task": "inspected", "queued": 0, "running": 0, "workers": 1}
    assert gm_admin_client.get_version()
    assert 0 < gm_admin_client.ping_server() < LONG
    assert gm_admin_client.send_maxqueue("inspected", 5) == "OK"
    gm_admin_client.shutdown()


def test_no_server_is_an_error_at_the_call() -> None:
    with pytest.raises(gearman.ServerUnavailable):
        gearman.GearmanClient(["127.0.0.1:1"]).submit_job("x", "y")
