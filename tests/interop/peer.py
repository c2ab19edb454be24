"""Other people's clients and workers, each in a process of its own.

``PEERS`` says which there are, how they are started and in what they differ; the
programs behind them are in ``peers/``, where README.md has what is said to them.
"""

from __future__ import annotations

import functools
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conformance.servers import ROOT, Server, absent, python_environment
from tests.conformance.wire import PATIENCE
from tests.support import wait_until

HERE = Path(__file__).parent / "peers"
CACHE = ROOT / ".cache" / "interop"
FOREIGN_PYTHON = CACHE / "python" / "bin" / "python"
NODE_MODULES = CACHE / "npm" / "node_modules"

#: What each worker registers, behind its own name.
FUNCTIONS = ("reverse", "chatty", "fail", "raise", "note")


@dataclass(frozen=True)
class Peer:
    """One library, and what one must know of it to judge what it says.

    Attributes:
        name: what its worker's functions begin with.
        runs: the words that start its programs, before the program.
        client, worker: its programs.
        news: kinds of event that its callbacks report; None if it has no callbacks.
        call_joins_data: its plain call returns the data packets and the result as one.
        empty_workloads: it submits jobs without a workload.
        exceptions: how an exception ends a job for a client that asked for them.
        any_bytes: its worker returns results that are not text.
        pings: its client can ask for an echo.
    """

    name: str
    runs: tuple[str, ...]
    client: str
    worker: str
    news: frozenset[str] | None = frozenset(
        {"created", "data", "warning", "status", "complete", "fail", "exception"}
    )
    call_joins_data: bool = True
    empty_workloads: bool = True
    any_bytes: bool = True
    pings: bool = True
    exceptions: bool = True

    def check(self) -> None:
        """Skip the test if this peer is not installed; on CI, fail."""
        missing = what_is_missing(self)
        if missing:
            absent(f"{self.name}: {missing} (tests/interop/install.sh brings it)")


@functools.cache
def what_is_missing(peer: Peer) -> str:
    """What keeps a peer from running; nothing, if it is there."""
    if shutil.which(peer.runs[0]) is None:
        return f"no {peer.runs[0]}"
    probe = {
        "php": ["-r", "exit(extension_loaded('gearman') ? 0 : 1);"],
        "perl": ["-MGearman::Worker", "-e", "1"],
        "npm": ["-e", "require('gearman')"],
        "gearmanode": ["-e", "require('gearmanode')"],
        "gear": ["-c", "import gear"],
        "pygearman": ["-c", "import gearman"],
        "geartrain": ["-c", "import geartrain"],
    }[peer.name]
    found = subprocess.run(
        [*peer.runs, *probe], env=environment(peer), capture_output=True, cwd=HERE
    )
    return "its library is not installed" if found.returncode else ""


PEERS = {
    peer.name: peer
    for peer in (
        Peer("php", ("php",), "client.php", "worker.php", empty_workloads=False),
        Peer("perl", ("perl",), "client.pl", "worker.pl", call_joins_data=False, pings=False),
        Peer("npm", ("node",), "client-gearman.js", "worker-gearman.js"),
        Peer(
            "gearmanode", ("node",), "client-gearmanode.js", "worker-gearmanode.js", any_bytes=False
        ),
        # Its echo() ends its reading thread: it notifies a condition without holding the lock.
        Peer("gear", (str(FOREIGN_PYTHON),), "client_gear.py", "worker_gear.py", pings=False),
        Peer(
            "pygearman",
            (str(FOREIGN_PYTHON),),
            "client_pygearman.py",
            "worker_pygearman.py",
            news=None,
            pings=False,
            exceptions=False,
        ),
        Peer("geartrain", (sys.executable,), "client_geartrain.py", "worker_geartrain.py"),
    )
}


def environment(peer: Peer | None = None) -> dict[str, str]:
    """Where a peer finds its library, and nothing of ours if it is not our own."""
    made = python_environment() | {"NODE_PATH": str(NODE_MODULES)}
    if peer is None or peer.runs != (sys.executable,):
        made.pop("PYTHONPATH", None)
        made["PYTHONWARNINGS"] = "ignore"
    return made


class Program:
    """A peer's program, running; ended with the ``with``."""

    def __init__(self, peer: Peer, program: str, server: Server, **extra: str) -> None:
        peer.check()
        self.peer = peer
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self.process = subprocess.Popen(
            [*peer.runs, str(HERE / program), server.address[0], str(server.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(peer) | extra,
            cwd=HERE,
        )

    def errors(self) -> str:
        """What it wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()

    def __enter__(self: Any) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


class Client(Program):
    """A peer's client: asked one thing after the other."""

    def __init__(self, peer: Peer, server: Server) -> None:
        super().__init__(peer, peer.client, server)
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self._answers.put(line)
        except ValueError:  # closed under it, at the end
            pass
        self._answers.put(b"")

    def ask(self, verb: str, **more: object) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        question = json.dumps({"verb": verb, **more}).encode() + b"\n"
        assert self.process.stdin is not None
        self.process.stdin.write(question)
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        try:
            line = self._answers.get(timeout=2 * PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no answer from {self.peer.name}\n{self.errors()}") from None
        assert line, f"{self.peer.name} ended\n{self.errors()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, function: str, workload: bytes, **more: object) -> bytes:
        """The result of a job, which must not fail."""
        answer = self.ask("call", function=function, workload=workload.hex(), **more)
        assert "result" in answer, f"{self.peer.name}: {function}: {answer}\n{self.errors()}"
        return bytes.fromhex(answer["result"])

    def task(self, function: str, workload: bytes = b"x") -> list[tuple[str, ...]]:
        """All that its callbacks tell of a job: kind, and the data as text."""
        answer = self.ask("task", function=function, workload=workload.hex())
        assert "events" in answer, f"{self.peer.name}: {function}: {answer}\n{self.errors()}"
        return [
            (kind, *(bytes.fromhex(one).decode() for one in data))
            for kind, *data in answer["events"]
        ]

    def background(self, function: str, workload: bytes, **more: object) -> str:
        """Submit a background job; its handle."""
        answer = self.ask("background", function=function, workload=workload.hex(), **more)
        assert answer.get("handle"), f"{self.peer.name}: {function}: {answer}\n{self.errors()}"
        handle: str = answer["handle"]
        return handle

    def end(self) -> None:
        # Its reader ends with it; closing the pipe under the reader would not do.
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE)
        super().end()


class Worker(Program):
    """A peer's worker: ready when the server knows all its functions."""

    def __init__(self, peer: Peer, server: Server, notes: Path) -> None:
        super().__init__(peer, peer.worker, server, NOTES=str(notes))
        self.notes = notes
        self._server = server
        try:
            wait_until(self._ready, within=15)
        except BaseException:
            print(self.errors(), file=sys.stderr)
            self.end()
            raise

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"{self.peer.name}'s worker ended: {self.errors()}"
        wire = self._server.connect()
        try:
            return all(
                (wire.counts(f"{self.peer.name}-{function}".encode()) or (0, 0, 0))[2] >= 1
                for function in FUNCTIONS
            )
        finally:
            wire.close()

    def noted(self) -> list[bytes]:
        """What its background jobs have written."""
        return self.notes.read_bytes().splitlines() if self.notes.exists() else []
