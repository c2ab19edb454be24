"""What the command line of the server can change, seen from the wire."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, command, python_environment
from tests.conformance.wire import PATIENCE, T, packet
from tests.support import patient, wait_until

MEGABYTE = 1 << 20


def test_silence_and_unfinished_packets_are_borne_only_so_long(
    start: Start, dial: Dial, name: bytes
) -> None:
    # Who is greeted must have its time to answer, on a slow machine too.
    server = start(OURS, "--packet-timeout=100ms", f"--handshake-timeout={patient(1.0)}")
    halves = [b"\0", b"\0REQ\0\0", packet(T.SUBMIT_JOB_BG, name, b"", b"w")[:-1], b"statu"]
    idle, silent, wires = dial(server), dial(server), []
    idle.expect_nothing()
    for half in halves:
        wires.append(dial(server))
        wires[-1].expect_nothing()
        wires[-1].send_bytes(half)

    for wire in (*wires, silent):
        wire.expect_close()

    idle.expect_nothing()
    assert idle.counts(name) in (None, (0, 0, 0))


def test_largest_packet_is_as_asked(start: Start, dial: Dial, name: bytes) -> None:
    server = start(OURS, "--max-packet-bytes=64KiB")
    wire = dial(server)
    room = 65536 - len(name) - 2

    wire.submit(name, b"w" * room)
    wire.send_bytes(struct.pack(">4sII", b"\0REQ", T.SUBMIT_JOB, 65537))

    wire.expect_error(b"ARGUMENT_TOO_LARGE")
    wire.expect_close()


def test_client_that_does_not_read_is_disconnected_at_the_mark(
    start: Start, dial: Dial, name: bytes
) -> None:
    server = start(OURS, "--max-output=2MiB")
    worker, slow, other = dial(server), dial(server, receive_buffer=4096), dial(server)
    worker.can_do(name)
    slow.send(T.SET_CLIENT_ID, b"slow")
    handle = slow.submit(name)
    worker.grab()
    before = server.resident_bytes()

    for _ in range(60):
        worker.socket.sendall(packet(T.WORK_DATA, handle, b"x" * MEGABYTE))
    worker.expect_nothing()

    assert server.resident_bytes() - before < 20 * MEGABYTE
    other.send_bytes(b"workers\n")
    assert not [line for line in other.read_list() if b" slow " in line]
    worker.send(T.WORK_COMPLETE, handle, b"")
    worker.expect_nothing()
    assert other.counts(name) == (0, 0, 1)


def test_number_of_jobs_is_limited_as_asked(start: Start, dial: Dial, name: bytes) -> None:
    wire = dial(start(OURS, "--max-jobs-per-function=2"))

    wire.submit(name)
    wire.submit(name, number=T.SUBMIT_JOB_BG)
    for number in (T.SUBMIT_JOB, T.SUBMIT_JOB_BG, T.SUBMIT_JOB_HIGH):
        wire.send(number, name, b"", b"")
        wire.expect_error(b"QUEUE_ERROR", b"Job queue is full")

    wire.submit(name + b"-other")


def test_number_of_connections_is_limited_as_asked(start: Start, dial: Dial) -> None:
    server = start(OURS, "--max-connections=3")
    wires = [dial(server) for _ in range(3)]
    for wire in wires:
        wire.expect_nothing()

    dial(server).expect_close()

    wires[0].close()
    wait_until(lambda: _answers(server.address))


def _answers(address: tuple[str, int]) -> bool:
    with socket.create_connection(address) as one:
        one.settimeout(PATIENCE)
        try:
            one.sendall(b"getpid\n")
            return one.recv(10).startswith(b"OK ")
        except ConnectionError:
            return False


def test_overdue_job_fails_if_asked_to(start: Start, dial: Dial, name: bytes) -> None:
    server = start(OURS, "--fail-on-timeout")
    client, worker = dial(server), dial(server)
    worker.send(T.CAN_DO_TIMEOUT, name, b"50")
    handle = client.submit(name)
    worker.grab()

    client.expect(T.WORK_FAIL, handle)

    worker.grab_none()
    assert client.counts(name) == (0, 0, 1)


def test_order_of_registration_counts_if_asked_to(start: Start, dial: Dial, name: bytes) -> None:
    server = start(OURS, "--strict-order")
    worker, client = dial(server), dial(server)
    functions = [name + letter for letter in (b"a", b"b")]
    worker.can_do(*functions)
    for function in reversed(functions):
        for number in (T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH):
            client.submit(function, function[-1:] + T(number).name.encode(), number=number)

    assert worker.workloads() == [
        *(b"aSUBMIT_JOB_HIGH", b"aSUBMIT_JOB"),
        *(b"bSUBMIT_JOB_HIGH", b"bSUBMIT_JOB"),
    ]


@pytest.mark.parametrize("said", [b"shutdown\n", b"shutdown graceful\r\n"])
def test_shutdown_by_command_if_allowed(start: Start, dial: Dial, said: bytes) -> None:
    server = start(OURS, "--admin-shutdown")
    wire = dial(server)

    wire.send_bytes(said)

    wire.expect_bytes(b"OK\r\n")
    assert server.process.wait(PATIENCE) == 0


def test_pid_file_has_the_pid_and_goes_with_the_server(
    start: Start, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "gearmand.pid"
    server = start(kind, "--pid-file", str(path))

    wait_until(path.exists)
    assert wait_until(path.read_text) == f"{server.pid}\n"
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)

    assert not path.exists()


def test_log_file_is_opened_anew_when_asked_to(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "gearmand.log"
    server = start(OURS, "-l", str(path))
    wait_until(path.exists)
    path.rename(tmp_path / "old.log")

    server.process.send_signal(signal.SIGHUP)

    wait_until(path.exists)
    assert server.alive()


def test_options_of_the_c_server_are_accepted(start: Start, dial: Dial) -> None:
    server = start(
        OURS,
        *("-b", "32", "-t", "4", "--hashtable-buckets", "991", "--keepalive", "-R", "--coredump"),
        *("--keepalive-idle", "30", "--keepalive-interval", "5", "--keepalive-count", "3"),
    )

    dial(server).expect_nothing()


@pytest.mark.parametrize(
    "options",
    [
        ["--bogus"],
        ["--job-retries", "x"],
        ["--verbose", "loud"],
        ["--port", "no-such-service"],
        ["-L", "192.0.2.1", "-p", "1"],
        ["--pid-file", "/nonexistent/dir/file", "-p", "0"],
    ],
    ids=" ".join,
)
def test_wrong_options_are_told_and_end_the_server(kind: str, options: list[str]) -> None:
    if kind != OURS and {"-L", "--pid-file", "--port"} & set(options):
        pytest.skip("the C server says nothing, or tries for a long time first")
    done = subprocess.run(
        [*command(kind), *options],
        capture_output=True,
        env=python_environment(),
        timeout=2 * PATIENCE,
    )

    assert done.returncode == 1
    assert done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_told(kind: str, option: str) -> None:
    done = subprocess.run(
        [*command(kind), option], capture_output=True, env=python_environment(), timeout=PATIENCE
    )

    assert done.returncode == 0
    assert b"gear" in done.stdout


def test_port_already_taken_ends_the_server(start: Start) -> None:
    server = start(OURS)

    done = subprocess.run(
        [sys.executable, "-m", "geartrain.cli.gearmand", "-L", "127.0.0.1", "-p", str(server.port)],
        capture_output=True,
        env=python_environment(),
        timeout=40,
    )

    assert done.returncode == 1
    assert str(server.port).encode() in done.stderr
