"""When servers are gone, go, come back, or say nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from geartrain.client.sync import Client
from geartrain.client.task import TaskState
from geartrain.errors import (
    JobLost,
    OutcomeUnknown,
    ResultTimeout,
    ServerUnavailable,
)
from geartrain.retry import Retry
from tests.client.servers import RawWorker, Server, raw_worker
from tests.support import free_port


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
