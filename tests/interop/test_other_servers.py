"""Our client, worker and tools with job servers that few people know.

The C server is in test_matrix.py and test_tools.py; here are the Perl one, which knows
less of the protocol, and gear's, which leaves some questions unanswered.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.servers import OURS, Server, absent
from tests.conformance.wire import PATIENCE, Address, T, Wire
from tests.interop.peer import FOREIGN_PYTHON, PEERS, Client, Worker, environment
from tests.interop.test_tools import Tools
from tests.support import free_port, wait_until

PERL = "perl"
GEAR = "gear"


class ForeignServer(Server):
    """A server that has no ``getpid``, and its own options."""

    def __init__(self, kind: str, words: list[str]) -> None:
        self.kind = kind
        self.address: Address = ("127.0.0.1", free_port())
        self.process = subprocess.Popen(
            [word.replace("PORT", str(self.address[1])) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        try:
            wait_until(self._listens, within=15)
        except BaseException:
            self.end()
            raise

    def _listens(self) -> bool:
        assert self.process.poll() is None, f"{self.kind} ended with {self.process.returncode}"
        try:
            with socket.create_connection(self.address, PATIENCE):
                return True
        except ConnectionRefusedError:
            return False

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def perl_words() -> list[str]:
    """The Perl server has the name of the C one, in another directory."""
    path = shutil.which("gearmand", path="/usr/bin")
    if path is None or b"perl" not in Path(path).read_bytes()[:40]:
        absent("Debian's gearman-server is not installed")
    assert path is not None
    return [path, "--port", "PORT", "--listen", "127.0.0.1"]


def gear_words() -> list[str]:
    geard = FOREIGN_PYTHON.parent / "geard"
    if not geard.exists():
        absent("gear is not installed")
    return [str(geard), "-d", "-p", "PORT", "--listen-address", "127.0.0.1"]


WORDS: dict[str, Callable[[], list[str]]] = {PERL: perl_words, GEAR: gear_words}


@pytest.fixture(scope="module", params=WORDS)
def foreign(request: pytest.FixtureRequest) -> Iterator[ForeignServer]:
    """Each of the two servers."""
    kind: str = request.param
    server = ForeignServer(kind, WORDS[kind]())
    yield server
    server.end()


@pytest.fixture(scope="module")
def worker(foreign: ForeignServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Our worker at work for it."""
    with Worker(PEERS[OURS], foreign, tmp_path_factory.mktemp("notes") / "notes") as started:
        yield started


@pytest.fixture(scope="module")
def client(foreign: ForeignServer) -> Iterator[Client]:
    """Our client, without exceptions: gear does not answer when asked for them."""
    with Client(PEERS[OURS], foreign) as started:
        yield started


def test_our_client_and_worker_do_a_job(client: Client, worker: Worker) -> None:
    del worker
    for workload in (b"abc", b"", bytes(range(256)) * 500):
        assert client.call("geartrain-reverse", workload) == workload[::-1]


def test_our_client_and_worker_do_many_jobs(client: Client, worker: Worker) -> None:
    del worker
    workloads = [b"job %d" % number for number in range(20)]

    answer = client.ask(
        "many", function="geartrain-reverse", workloads=[one.hex() for one in workloads]
    )

    assert answer == {"results": [one[::-1].hex() for one in workloads]}


def test_our_worker_fails_jobs(client: Client, worker: Worker) -> None:
    del worker
    answer = client.ask("call", function="geartrain-fail", workload=b"x".hex())

    assert answer == {"failed": True}


def test_our_worker_does_background_jobs(client: Client, worker: Worker) -> None:
    client.background("geartrain-note", b"in the background")

    wait_until(lambda: worker.noted() == [b"in the background"])


def test_our_client_sees_a_job_fail_whose_worker_is_gone(
    foreign: ForeignServer, client: Client
) -> None:
    # Neither of the two gives the job to another worker.
    wire = Wire(foreign.address)
    wire.send(T.CAN_DO, b"dies")
    wire.send(T.PRE_SLEEP)
    wait_until(lambda: b"dies\t0\t0\t1\n" in status_of(foreign))
    assert client.process.stdin is not None
    client.process.stdin.write(b'{"verb": "call", "function": "dies", "workload": "00"}\n')
    client.process.stdin.flush()
    wire.expect(T.NOOP)
    wire.send(T.GRAB_JOB_UNIQ if foreign.kind == GEAR else T.GRAB_JOB)
    assert wire.receive().number in (T.JOB_ASSIGN, T.JOB_ASSIGN_UNIQ)

    wire.close()

    assert client.answer() == {"failed": True}


def status_of(server: Server) -> bytes:
    with socket.create_connection(server.address, PATIENCE) as one:
        one.sendall(b"status\n")
        heard = b""
        while not heard.endswith(b".\n"):
            heard += one.recv(65536)
        return heard


def test_our_tools_work_with_it(foreign: ForeignServer) -> None:
    tools = Tools(OURS, foreign)
    with tools.working("-f", "wc", "--", "wc", "-c"):
        assert tools.gearman("-f", "wc", say=b"hello") == b"5\n"
        assert tools.gearman("-f", "wc", "one", "three") == b"3\n5\n"
        assert b"wc\t0\t0\t1\n" in tools.gearadmin("--status")
        assert b": wc" in tools.gearadmin("--workers")
