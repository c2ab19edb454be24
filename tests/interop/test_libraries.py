"""What only some of the libraries can do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, Wire
from tests.interop.peer import FUNCTIONS, PEERS, Client, Program, Worker
from tests.support import wait_until


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """A connection of our own, to play the other part."""
    made = server.connect()
    yield made
    made.close()


@contextmanager
def client_of(name: str, server: Server) -> Iterator[Client]:
    with Client(PEERS[name], server) as client:
        yield client


# ── what they read out of the text protocol ──────────────────────────────────


def test_pygearman_understands_the_administrators_answers(server: Server, wire: Wire) -> None:
    wire.can_do(b"admin-pygearman")
    handle = wire.submit(b"admin-pygearman", number=T.SUBMIT_JOB_BG)
    with client_of("pygearman", server) as client:
        answer = client.ask("admin")

    assert answer.get("error") is None, answer
    assert answer["ping"] >= 0
    assert answer["pid"] in (server.pid, str(server.pid), f"OK {server.pid}")
    assert any(
        "admin-pygearman" in row[0] and row[1:] == ["1", "0", "1"] for row in answer["status"]
    )
    assert any("admin-pygearman" in row for row in answer["workers"])
    assert any(handle.decode() in row for row in answer["jobs"])
    wire.workloads()


def test_gear_understands_the_administrators_answers(server: Server, wire: Wire) -> None:
    wire.can_do(b"admin-gear")
    handle = wire.submit(b"admin-gear", b"", b"unique of gear", T.SUBMIT_JOB_BG)
    with client_of("gear", server) as client:
        answer = client.ask("admin")["admin"]

    assert answer["version"].startswith("OK ")
    assert "admin-gear\t1\t0\t1\n" in answer["status"]
    assert " : admin-gear\n" in answer["workers"]
    assert f"{handle.decode()}\t0\t0\t1\n" in answer["jobs"]
    assert "unique of gear\n" in answer["unique jobs"]
    assert answer["cancel"].startswith("ERR UNKNOWN_JOB")
    wire.workloads()


def test_npm_gearman_understands_the_administrators_answers(server: Server, wire: Wire) -> None:
    wire.send(T.SET_CLIENT_ID, b"admin-id")
    wire.can_do(b"admin-npm")
    with client_of("npm", server) as client:
        answer = client.ask("admin")

    assert answer["status"]["admin-npm"] == {"total": 0, "running": 0, "available_workers": 1}
    assert {"ip": "127.0.0.1", "id": "admin-id", "functions": ["admin-npm"]} in [
        {key: row[key] for key in ("ip", "id", "functions")} for row in answer["workers"]
    ]


def test_perl_understands_the_administrators_answers(server: Server, wire: Wire) -> None:
    wire.can_do(b"admin-perl")
    wire.submit(b"admin-perl", number=T.SUBMIT_JOB_BG)
    with client_of("perl", server) as client:
        (status,) = client.ask("jobs")["status"].values()

    assert status["admin-perl"] == {"queued": "1", "running": "0", "capable": "1"}
    wire.workloads()


def test_perl_worker_that_leaves_the_denominator_out_works_on(server: Server, wire: Wire) -> None:
    if server.kind != OURS:
        pytest.skip("the C server waits for the denominator, and takes the next packet for it")
    with Program(PEERS["perl"], "worker-half-status.pl", server) as worker:
        for _ in range(2):
            handle = wire.submit(b"perl-half-status", b"abc")
            wire.expect(T.WORK_COMPLETE, handle, b"cba")

        assert worker.process.poll() is None, worker.errors()


# ── who they are, and what becomes of their jobs ────────────────────────────


@pytest.mark.parametrize("name", PEERS)
def test_worker_is_listed_under_its_id_and_loses_no_job_when_it_is_killed(
    server: Server, wire: Wire, tmp_path: Path, name: str
) -> None:
    function = f"{name}-reverse".encode()

    def words() -> list[bytes]:
        wire.send_bytes(b"workers\n")
        return next((line.split() for line in wire.read_list() if function in line), [])

    with Worker(PEERS[name], server, tmp_path / "notes") as worker:
        wait_until(lambda: words()[2:3] == [name.encode()])
        assert sorted(words()[4:]) == sorted(f"{name}-{word}".encode() for word in FUNCTIONS)

        # Stopped, it takes in nothing more; then it is gone before it can answer.
        worker.process.send_signal(signal.SIGSTOP)
        handle = wire.submit(function, b"abc")
        worker.process.kill()
        worker.process.wait()
        wait_until(lambda: wire.counts(function) == (1, 0, 0))

    with Worker(PEERS[name], server, tmp_path / "notes"):
        wire.expect(T.WORK_COMPLETE, handle, b"cba")


@pytest.mark.parametrize("name", PEERS)
def test_client_that_is_killed_leaves_no_queued_job(server: Server, wire: Wire, name: str) -> None:
    if server.kind != OURS:
        pytest.skip("the C server lists such a job until a worker comes for it")
    function = f"nobody-waits-{name}".encode()
    client = Client(PEERS[name], server)
    try:
        client.process.stdin.write(  # type: ignore[union-attr]
            b'{"verb": "call", "function": "%s", "workload": "00"}\n' % function
        )
        client.process.stdin.flush()  # type: ignore[union-attr]
        wait_until(lambda: wire.counts(function) == (1, 0, 0))

        client.process.kill()

        wait_until(lambda: wire.counts(function) == (0, 0, 0))
    finally:
        client.end()


# ── PHP, which most of our users have ────────────────────────────────────────


def test_php_finds_jobs_by_their_unique_key(server: Server, wire: Wire) -> None:
    client_a, client_b = server.connect(), server.connect()
    wire.can_do(b"unique-php")
    for one in (client_a, client_b):
        one.submit(b"unique-php", b"w", b"the one")
    handle = wire.grab()[0]
    wire.send(T.WORK_STATUS, handle, b"3", b"4")
    wire.expect_nothing()
    with client_of("php", server) as client:
        assert client.ask("unique status", unique="the one") == {"status": [1, 1, 3, 4]}
        assert client.ask("unique status", unique="no one") == {"status": [0, 0, 0, 0]}
    wire.send(T.WORK_COMPLETE, handle, b"")
    client_a.close()
    client_b.close()


def test_php_asks_for_the_status_of_a_job_in_a_task(server: Server, wire: Wire) -> None:
    wire.can_do(b"watched-php")
    handle = wire.submit(b"watched-php", number=T.SUBMIT_JOB_BG)
    wire.grab()
    wire.send(T.WORK_STATUS, handle, b"5", b"8")
    wire.expect_nothing()
    with client_of("php", server) as client:
        assert client.ask("watch", handle=handle.decode()) == {"told": [[5, 8, True]]}
    wire.send(T.WORK_COMPLETE, handle, b"")


def test_php_runs_foreground_and_background_tasks_together(
    server: Server, wire: Wire, tmp_path: Path
) -> None:
    with (
        client_of("php", server) as client,
        Worker(PEERS["php"], server, tmp_path / "notes") as worker,
    ):
        answer = client.ask(
            "mixed", function="php-reverse", background="php-note", workload=b"abc".hex()
        )

        assert answer["ok"]
        assert answer["done"] == sorted(
            ["fg=cba", "fgHigh=cba", "fgLow=cba"]
            + ["created php-reverse"] * 3
            + ["created php-note"] * 3
        )
        wait_until(lambda: worker.noted() == [b"abc"] * 3)
