"""Client against real servers, with a worker that is nothing but the pure connection."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.channel import Channel
from geartrain.client.engine import Engine
from geartrain.client.events import JobCreated, WorkComplete, WorkData, WorkStatus, WorkWarning
from geartrain.client.handle import Handle
from geartrain.client.options import BY_WORKLOAD
from geartrain.client.routing import Routing
from geartrain.client.sync import Client
from geartrain.client.task import TaskState
from geartrain.client.waiting import Task
from geartrain.errors import (
    JobException,
    JobFailed,
    JobLost,
    NoWorkers,
    OutcomeUnknown,
    QueueFull,
    ResultTimeout,
    ServerUnavailable,
)
from geartrain.retry import Retry
from geartrain.worker.connection import WorkerConnection
from tests.client.servers import KINDS, RawWorker, Server, raw_worker
from tests.support import free_port, patient, wait_until


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that the test may kill."""
    with Server(KINDS[0]) as server:
        yield server


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


# ── many jobs ────────────────────────────────────────────────────────────────


def test_map_is_ordered_and_lazy(client: Client, worker: RawWorker) -> None:
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield f"<{n}>"

    results = client.map("reverse", source(), window=10)

    assert [next(results) for _ in range(3)] == [b">0<", b">1<", b">2<"]
    assert taken <= 13
    assert sum(1 for _ in results) == 997


def test_map_unordered_gives_all(client: Client, worker: RawWorker) -> None:
    results = client.map("reverse", (f"{n:03}" for n in range(300)), window=20, ordered=False)

    assert sorted(results) == sorted(f"{n:03}"[::-1].encode() for n in range(300))


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


def test_map_over_a_list_keeps_to_its_window(client: Client, worker: RawWorker) -> None:
    words = [f"{n:03}" for n in range(300)]
    backwards = [word[::-1].encode() for word in words]

    assert list(client.map("reverse", words, window=20)) == backwards
    assert list(client.map("reverse", words, window=1)) == backwards
    assert list(client.map("reverse", [])) == []
    assert sorted(client.map("reverse", words, window=7, ordered=False)) == sorted(backwards)


@pytest.mark.parametrize("ordered", [True, False])
def test_an_item_leaves_before_a_source_is_asked_for_the_next(
    client: Client, worker: RawWorker, ordered: bool
) -> None:
    heard: list[bytes] = []

    def source() -> Iterator[bytes]:
        yield b"ab"
        while not heard:  # the second depends on the first
            client.wait_until(lambda: heard, timeout=20)
        yield heard[0]

    tell = {"on_complete": lambda task: heard.append(task.outcome())}
    results = client.map("reverse", source(), ordered=ordered, **tell)  # type: ignore[arg-type]

    assert sorted(results) == [b"ab", b"ba"]


@pytest.mark.parametrize("ordered", [True, False])
def test_map_waits_no_longer_than_it_may(client: Client, ordered: bool) -> None:
    with pytest.raises(ResultTimeout):
        list(client.map("nobody-does-this", [b"a", b"b"], ordered=ordered, timeout=0.1))


def test_as_completed_wait_and_gather(client: Client, worker: RawWorker) -> None:
    tasks = [client.submit("reverse", str(n)) for n in range(20)]
    never = client.submit("nobody-does-this")

    done, left = client.wait([*tasks, never], timeout=0.5)
    assert (done, left) == (set(tasks), {never})
    assert set(client.as_completed(tasks)) == set(tasks)
    assert client.gather(tasks) == [str(n)[::-1].encode() for n in range(20)]
    with pytest.raises(ResultTimeout):
        list(client.as_completed([*tasks, never], timeout=0.02))
    with pytest.raises(ResultTimeout):
        client.gather([never], timeout=0.02)
    first, _ = client.wait([never, client.submit("reverse", "a")], return_when="FIRST_COMPLETED")
    assert [task.outcome() for task in first] == [b"a"]
    never.cancel()


def test_events_of_several_tasks(client: Client, worker: RawWorker) -> None:
    tasks = [client.submit("chatty"), client.submit("chatty")]

    heard = list(client.events(tasks, timeout=20))

    for task in tasks:
        assert [type(event).__name__ for t, event in heard if t is task] == [
            "JobCreated",
            "WorkData",
            "WorkWarning",
            "WorkStatus",
            "WorkData",
            "WorkComplete",
        ]


def test_task_set_waits_and_tells_all_failures(client: Client, worker: RawWorker) -> None:
    with client.task_set() as ts:
        good = ts.submit("reverse", "ab")
    assert good.outcome() == b"ba"

    with pytest.raises(ExceptionGroup) as caught, client.task_set() as ts:
        ts.submit("reverse", "a")
        ts.submit("fail")
        ts.submit("boom")
    assert [type(e) for e in caught.value.exceptions] == [JobFailed, JobException]


def test_merged_jobs_are_all_answered(client: Client, server: Server) -> None:
    tasks = [client.submit("reverse", "ab", unique="same") for _ in range(3)]
    for task in tasks:
        task.wait_created(20)
    assert len({task.handle for task in tasks}) == 1
    assert client.status(unique="same").waiting == 3
    with raw_worker(server, reverse=lambda w, h, data: w.complete(h, data[::-1])):
        assert client.gather(tasks, timeout=20) == [b"ba"] * 3


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


# ── in a batch ───────────────────────────────────────────────────────────────


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
    from geartrain.client.admin import AdminClient

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


# ── when servers go ──────────────────────────────────────────────────────────


def test_no_server_names_each_and_its_cause() -> None:
    ports = (free_port(), free_port())
    with Client([("127.0.0.1", port) for port in ports]) as client:
        with pytest.raises(ServerUnavailable) as caught:
            client.do("reverse")
        assert set(caught.value.causes) == {f"127.0.0.1:{port}" for port in ports}
        with pytest.raises(ServerUnavailable):
            client.ping()


@pytest.mark.parametrize("routing", ["hash", "ordered", "round-robin"])
def test_dead_server_is_passed_over(server: Server, worker: RawWorker, routing: str) -> None:
    servers = [("127.0.0.1", free_port()), ("127.0.0.1", server.port)]
    with Client(servers, routing=routing, timeout=20) as client:  # type: ignore[arg-type]
        for n in range(6):
            assert client.do("reverse", "ab", unique=f"{n}") == b"ba"
        assert client.ping() > 0


def test_same_key_reaches_the_same_server(server: Server, own_server: Server) -> None:
    with Client([str(server), str(own_server)]) as a, Client([str(own_server), str(server)]) as b:
        used = set()
        for n in range(12):
            one = a.do_background("later", unique=f"k{n}")
            two = b.do_background("later", unique=f"k{n}")
            assert (one, one.server) == (two, two.server)
            assert a.cancel(two)
            used.add(one.server)
        assert len(used) == 2


def test_restarted_server_is_found_again(own_server: Server) -> None:
    with Client(str(own_server), timeout=20) as client:
        client.do_background("later")
        own_server.stop()
        own_server.start()
        time.sleep(0.6)  # quiet for longer than QUIET_SECONDS, as after a night
        assert client.do_background("later")


def test_job_that_was_accepted_is_lost_with_its_server(own_server: Server) -> None:
    with Client(str(own_server)) as client:
        task = client.submit("later")
        task.wait_created(20)
        own_server.stop()
        with pytest.raises(JobLost):
            task.result(20)
        assert task.state is TaskState.LOST
        with pytest.raises(ServerUnavailable):
            client.do("later")


def test_retry_brings_a_lost_job_back(own_server: Server) -> None:
    retry = Retry(50, backoff=0.02, factor=1.2, max_backoff=0.3)
    with Client(str(own_server), retry=retry) as client:
        task = client.submit("reverse", "ab")
        task.wait_created(20)
        own_server.stop()
        with pytest.raises(ResultTimeout):
            task.result(0.1)
        own_server.start()
        with raw_worker(own_server, reverse=lambda w, h, d: w.complete(h, d[::-1])):
            assert task.result(20) == b"ba"


def test_retry_runs_a_failed_job_again(client: Client, server: Server) -> None:
    runs: list[bytes] = []

    def flaky(worker: object, handle: bytes, workload: bytes) -> None:
        runs.append(handle)
        assert hasattr(raw.connection, "fail")
        if len(runs) < 3:
            raw.connection.fail(handle)
        else:
            raw.connection.complete(handle, b"at last")

    with raw_worker(server, flaky=flaky) as raw:
        retry = Retry(3, backoff=0.01)
        assert client.do("flaky", retry=retry, timeout=20) == b"at last"
    assert len(runs) == 3


class Mute:
    """A server that accepts, reads, says nothing, and hangs up."""

    def __init__(self) -> None:
        import socket

        self.listener = socket.create_server(("127.0.0.1", 0))
        self.accepted = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                self.accepted += 1
                while b"\0REQ\0\0\0" in (data := sock.recv(65536)) and data.count(b"\0REQ") < 2:
                    pass


@pytest.fixture
def mute() -> Iterator[Mute]:
    mute = Mute()
    yield mute
    mute.listener.close()


def test_background_job_without_a_key_is_in_doubt_when_nobody_answers(mute: Mute) -> None:
    with Client(f"127.0.0.1:{mute.listener.getsockname()[1]}") as client:
        with pytest.raises(OutcomeUnknown):
            client.do_background("f")
        assert mute.accepted == 1


def test_foreground_job_moves_on_when_nobody_answers(
    mute: Mute, server: Server, worker: RawWorker
) -> None:
    servers = [("127.0.0.1", mute.listener.getsockname()[1]), ("127.0.0.1", server.port)]
    with Client(servers, routing="ordered", timeout=20) as client:
        assert client.do("reverse", "ab") == b"ba"
        assert mute.accepted == 2


def test_job_with_a_key_moves_on_when_nobody_answers(mute: Mute, server: Server) -> None:
    servers = [("127.0.0.1", mute.listener.getsockname()[1]), ("127.0.0.1", server.port)]
    with Client(servers, routing="ordered") as client:
        handle = client.do_background("f", unique="k")
        assert handle.server == server.address
        assert mute.accepted == 2
        client.cancel(handle)


# ── processes, the end ───────────────────────────────────────────────────────


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
