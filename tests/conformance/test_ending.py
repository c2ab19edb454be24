"""How the server ends, and what it says while it does."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS
from tests.conformance.wire import PATIENCE, T
from tests.support import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_at_once_and_well(
    start: Start, kind: str, dial: Dial, number: signal.Signals
) -> None:
    server = start(kind)
    worker, client = dial(server), dial(server)
    worker.can_do(b"f")
    client.submit(b"f")
    client.submit(b"g", number=T.SUBMIT_JOB_BG)
    worker.grab()

    server.process.send_signal(number)

    assert server.process.wait(PATIENCE) == 0
    client.expect_close()
    worker.expect_close()


def test_port_is_free_after_the_end(start: Start, dial: Dial) -> None:
    server = start(OURS)
    dial(server).expect_nothing()

    server.process.terminate()
    server.process.wait(PATIENCE)

    with pytest.raises(ConnectionRefusedError), socket.create_connection(server.address):
        pass


def test_graceful_end_waits_for_running_jobs(start: Start, kind: str, dial: Dial) -> None:
    server = start(kind)
    worker, client = dial(server), dial(server)
    worker.can_do(b"f")
    handle = client.submit(b"f")
    worker.grab()

    server.process.send_signal(signal.SIGUSR1)
    worker.expect_nothing()
    assert server.alive()
    worker.send(T.WORK_COMPLETE, handle, b"just in time")

    client.expect(T.WORK_COMPLETE, handle, b"just in time")
    if kind == OURS:  # the C server does not always notice that this was the last job
        assert server.process.wait(PATIENCE) == 0


def test_graceful_end_without_jobs_is_at_once(start: Start, kind: str, dial: Dial) -> None:
    server = start(kind)
    dial(server).expect_nothing()

    server.process.send_signal(signal.SIGUSR1)

    assert server.process.wait(PATIENCE) == 0


def test_graceful_end_lets_workers_in_and_no_more_jobs(start: Start, dial: Dial) -> None:
    server = start(OURS)
    client = dial(server)
    handle = client.submit(b"f", b"w")
    server.process.send_signal(signal.SIGUSR1)

    def refused() -> bool:
        client.send(T.SUBMIT_JOB, b"f", b"", b"more")
        return client.receive().number == T.ERROR

    wait_until(refused)
    worker = dial(server)
    worker.can_do(b"f")
    while (job := worker.grab())[0] != handle:
        worker.send(T.WORK_COMPLETE, job[0], b"")
    worker.send(T.WORK_COMPLETE, handle, b"r")
    # What came in before the signal was taken in is done, too.
    while client.receive().body != handle + b"\0r":
        pass
    deadline = time.monotonic() + PATIENCE
    while server.alive() and time.monotonic() < deadline:
        try:
            worker.workloads()
        except (AssertionError, OSError):
            break

    assert server.process.wait(PATIENCE) == 0
