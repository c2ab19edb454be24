"""Client against real servers, with a worker that is nothing but the pure connection."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.events import JobCreated, WorkComplete, WorkData, WorkStatus, WorkWarning
from geartrain.client.handle import Handle
from geartrain.client.options import BY_WORKLOAD
from geartrain.client.sync import Client
from geartrain.client.task import TaskState
from geartrain.client.waiting import Task
from geartrain.errors import (
    JobException,
    JobFailed,
    NoWorkers,
    QueueFull,
    ResultTimeout,
)
from geartrain.worker.connection import WorkerConnection
from tests.client.servers import RawWorker, Server, raw_worker
from tests.support import wait_until

# ── one job ──────────────────────────────────────────────────────────────────


def test_do(client: Client, worker: RawWorker) -> None:
    assert client.do("reverse", "Hello World!") == b"!dlroW olleH"
    assert client.do("reverse") == b""
    assert client.do("reverse", bytes(300_000) + b"x") == b"x" + bytes(300_000)


def test_result_is_all_data_and_the_last_word(client: Client, worker: RawWorker) -> None:
    assert client.do("chatty") == b"abc"


def test_events_in_order_each_once(client: Client, worker: RawWorker) -> None:
    task = client.submit("chatty")

    events = list(task.events(20))

    assert isinstance(events[0], JobCreated)
    assert events[1:] == [
        WorkData(b"a"),
        WorkWarning(b"careful"),
        WorkStatus(1, 4),
        WorkData(b"b"),
        WorkComplete(b"c"),
    ]
    assert task.progress == WorkStatus(1, 4)
    assert list(task.events()) == []


def test_data_as_it_comes(client: Client, worker: RawWorker) -> None:
    assert list(client.submit("chatty").data()) == [b"a", b"b", b"c"]


def test_callbacks(client: Client, worker: RawWorker) -> None:
    heard: list[object] = []
    task = client.submit(
        "chatty",
        context="mine",
        on_created=lambda t: heard.append(t.handle),
        on_data=lambda t, d: heard.append(d),
        on_warning=lambda t, w: heard.append(w),
        on_status=lambda t, s: heard.append(s.fraction),
        on_complete=lambda t: heard.append(t.context),
    )

    assert task.result() == b"c"
    assert heard == [task.handle, b"a", b"careful", 0.25, b"b", "mine"]


def test_callback_may_ask_and_may_fail(
    client: Client, worker: RawWorker, caplog: pytest.LogCaptureFixture
) -> None:
    inner: list[bytes] = []

    def on_created(task: Task[bytes]) -> None:
        inner.append(client.do("reverse", b"ni"))
        raise RuntimeError("not your fault")

    assert client.do("reverse", b"tuo", on_created=on_created) == b"out"
    assert inner == [b"in"]
    assert "not your fault" in caplog.text


def test_failures_raise(client: Client, worker: RawWorker) -> None:
    heard: list[object] = []
    with pytest.raises(JobFailed) as failed:
        client.do("fail", on_fail=lambda t, e: heard.append(e))
    assert not isinstance(failed.value, JobException)
    assert heard == [failed.value]
    with pytest.raises(JobException, match="boom: x") as raised:
        client.do("boom", "x")
    assert raised.value.data == b"boom: x"
    assert raised.value.function == "boom"
    task = client.submit("boom")
    assert isinstance(task.exception(), JobException)
    assert task.state is TaskState.FAILED


def test_done_callback(client: Client, worker: RawWorker) -> None:
    done: list[object] = []
    task = client.submit("reverse", "a")
    task.add_done_callback(done.append)
    task.result()
    task.add_done_callback(done.append)

    assert done == [task, task]


def test_timeout_leaves_the_job_alone(client: Client) -> None:
    task = client.submit("slow-to-come", "x", timeout=0.02)
    with pytest.raises(ResultTimeout):
        task.result()
    status = task.status()
    assert status.known
    assert not status.running
    assert task.cancel()
    with pytest.raises(JobFailed):
        task.result(20)


# ── background, epoch, status ────────────────────────────────────────────────


def test_background_job(client: Client, server: Server) -> None:
    handle = client.do_background("later", b"x", unique="one", priority="low")

    assert isinstance(handle, Handle)
    assert handle.server == server.address
    assert Handle.from_uri(handle.uri) == handle
    assert Handle.from_uri(handle.uri).server == server.address
    assert client.status(handle).known
    assert client.status(str(handle)).known
    assert client.status(unique="one").known
    assert client.cancel(handle)
    assert not client.cancel("H:no:1")
    assert not client.status("H:no:1").known


def test_epoch_jobs(client: Client, server: Server) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    handles = [
        client.do_background("later", when=when)
        for when in (now + hour, hour, int(time.time()) + 3600)
    ]
    ran: list[bytes] = []

    def later(worker: WorkerConnection, handle: bytes, workload: bytes) -> None:
        ran.append(handle)
        worker.complete(handle)

    with raw_worker(server, later=later):
        soon = client.do_background("later", when=now - hour)
        wait_until(lambda: ran)
    assert ran == [soon.encode()]
    assert all(client.status(handle).known for handle in handles)
    for handle in handles:
        client.cancel(handle)


def test_ping(client: Client) -> None:
    assert 0 < client.ping(b"x" * 1000) < 20


def test_unique_by_workload_merges_equal_jobs(client: Client) -> None:
    one, two, other = (
        client.do_background("later", workload, unique=BY_WORKLOAD) for workload in "aab"
    )
    assert one == two != other
    client.cancel(one)
    client.cancel(other)


def test_keys_that_nobody_gave_do_not_merge(client: Client, worker: RawWorker) -> None:
    client.gather([client.submit("reverse", "a") for _ in range(5)])
    assert len(set(worker.unique)) == 5
    assert all(0 < len(unique) < 64 for unique in worker.unique)


def test_remote_function_speaks_in_values(client: Client, server: Server) -> None:
    def add(worker: WorkerConnection, handle: bytes, workload: bytes) -> None:
        worker.complete(handle, b"%d" % sum(json.loads(workload)))

    with raw_worker(server, add=add):
        function = client.function("add", codec="json")
        assert function.do([1, 2], timeout=20) == 3
        assert list(function.map([[n, n] for n in range(5)], window=2)) == [0, 2, 4, 6, 8]
        handle = function.do_background([1])
        wait_until(lambda: not client.status(handle).known)


def test_namespace(server: Server, worker: RawWorker) -> None:
    with Client(str(server), namespace="rev") as client:
        assert client.do("erse", "ab") == b"ba"
        assert client.submit("erse").function == "erse"


@pytest.mark.parametrize(
    "options",
    [
        {"unique": "x" * 64},
        {"unique": "a\0b"},
        {"priority": "urgent"},
        {"nonsense": 1},
        {"when": 5},
    ],
)
def test_options_that_cannot_be_are_refused(client: Client, options: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        client.submit("reverse", b"", **options)  # type: ignore[arg-type]


def test_time_without_a_zone_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="time zone"):
        client.do_background("later", when=datetime(2030, 1, 1))  # noqa: DTZ001


def test_full_queue_is_an_error_of_its_own(client: Client) -> None:

    with AdminClient(client.servers[0]) as admin:
        admin.create_function("small")
        admin.max_queue("small", 1)
        first = client.do_background("small")
        with pytest.raises(QueueFull):
            client.do_background("small")
        assert client.submit("small").exception(20) is not None
        client.cancel(first)
        admin.max_queue("small")


def test_require_worker(server: Server, worker: RawWorker) -> None:
    with Client(str(server), require_worker=True) as client:
        assert client.do("reverse", "ab") == b"ba"
        with pytest.raises(NoWorkers, match="nobody"):
            client.do("nobody")
