"""Real servers for tests: on a free loopback port, gone afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from geartrain.errors import GearmanError
from geartrain.terms import JobHandle
from geartrain.transport.address import Address
from geartrain.transport.sync import connect
from geartrain.worker.connection import WorkerConnection
from geartrain.worker.events import Echoed, JobAssigned
from tests.support import free_port, patient, wait_until

C_SERVER = shutil.which("gearmand", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or ""

KINDS = [
    *(["ours"] if importlib.util.find_spec("geartrain.cli.gearmand") else []),
    *(["c"] if C_SERVER else []),
]


class Server:
    """One gearmand process."""

    def __init__(self, kind: str, *arguments: str, port: int = 0) -> None:
        self.kind = kind
        self.port = port or free_port()
        self.address = Address("127.0.0.1", self.port)
        self._arguments = arguments
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        start = [C_SERVER] if self.kind == "c" else [sys.executable, "-m", "geartrain.cli.gearmand"]
        options = ["-p", str(self.port), "-L", "127.0.0.1", "-l", "none"]
        if self.kind == "c":
            self._folder = tempfile.mkdtemp(prefix="geartrain-test-")
            # The C server removes its pid file when it starts and when it ends: it must
            # have one of its own, for the default is everybody's.
            options += ["-P", f"{self._folder}/pid"]
        self._process = subprocess.Popen([*start, *options, *self._arguments])
        wait_until(self.is_up, within=20)

    def is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.kind} server ended at once"
        try:
            connect(self.address, 1.0).close()
        except GearmanError:
            return False
        return True

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(patient(10))
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class RawWorker:
    """A worker in a thread, made of the pure connection and a stream alone.

    Its handlers get the connection, the handle and the workload, and say all.
    """

    def __init__(
        self,
        server: Server,
        functions: dict[str, Callable[[WorkerConnection, JobHandle, bytes], object]],
    ) -> None:
        self.unique: list[bytes] = []
        self._functions = functions
        self._stream = connect(server.address)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.connection = WorkerConnection()
        for name in functions:
            self.connection.can_do(name.encode())
        self.connection.want(1)
        self.connection.echo(b"registered")
        self._registered = threading.Event()
        self._thread.start()
        assert self._registered.wait(patient(20))

    def _run(self) -> None:
        connection = self.connection
        with contextlib.suppress(OSError):
            while not self._stopping:
                connection.tick(time.monotonic())
                self._stream.send(connection.data_to_send())
                data = self._stream.receive(None)
                if not data:
                    return
                for event in connection.receive_data(data):
                    if isinstance(event, JobAssigned):
                        self.unique.append(event.unique)
                        function = self._functions[event.function.decode()]
                        function(connection, event.handle, event.workload)
                    elif isinstance(event, Echoed):
                        self._registered.set()

    def close(self) -> None:
        self._stopping = True
        self._stream.close()
        self._thread.join(patient(10))


@contextlib.contextmanager
def raw_worker(
    server: Server, **functions: Callable[[WorkerConnection, JobHandle, bytes], object]
) -> Iterator[RawWorker]:
    worker = RawWorker(server, functions)
    try:
        yield worker
    finally:
        worker.close()
