"""Start a job server for a test, ours or the C one, and end it again.

Both are started as their users start them: as a process, by command line, on a
free port of 127.0.0.1.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

from tests.conformance.wire import PATIENCE, Address, Wire
from tests.support import free_port

#: The servers that tests can ask for by name.
OURS = "geartrain"
C = "c"
KINDS = (OURS, C)

ROOT = Path(__file__).resolve().parents[2]


def absent(reason: str) -> None:
    """Skip, because something is not installed; on CI, fail: there it must be."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must have it", pytrace=False)
    pytest.skip(reason)


def python_environment() -> dict[str, str]:
    """The environment in which ``python -m geartrain...`` finds the package under test.

    That is the one which the tests themselves import, wherever they are started.
    """
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    spec = importlib.util.find_spec("geartrain")
    home = Path(spec.origin).parents[1] if spec and spec.origin else ROOT / "src"
    if not home.is_relative_to(sys.prefix):  # else it is installed, and found without help
        environment["PYTHONPATH"] = str(home)
    environment["PYTHONUNBUFFERED"] = "1"
    for name in ("GEARMAN_SERVER", "GEARMAN_SERVERS", "GEARMAND_PORT"):
        environment.pop(name, None)
    return environment


def command(kind: str) -> list[str]:
    """The words that start a server of this kind; skips the test if it is not there."""
    if kind == OURS:
        return [sys.executable, "-m", "geartrain.cli.gearmand"]
    path = os.environ.get("C_GEARMAND") or shutil.which(
        "gearmand", path=os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"])
    )
    if path is None:
        absent("the C gearmand is not installed")
    assert path is not None
    return [path]


class Server:
    """A job server in its own process; gone at the end of the ``with``.

    Args:
        kind: ``"geartrain"`` or ``"c"``.
        options: for its command line, beside port, address and log file.
        limit_files: its limit of open files, if not ours.
        started_by: the words that start it, if not those of its kind.
    """

    def __init__(
        self,
        kind: str,
        *options: str,
        limit_files: int | None = None,
        started_by: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.options = options
        self._limit_files = limit_files
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._command = list(started_by) or command(kind)
        self.address: Address = ("127.0.0.1", 0)
        self.process = self._start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return self.address[1]

    def _start(self) -> subprocess.Popen[bytes]:
        process = self.launch()
        try:
            self._await(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def launch(self) -> subprocess.Popen[bytes]:
        """Start a process at a new port, and do not wait until it listens."""
        self.address = ("127.0.0.1", free_port())
        words = [
            *self._command,
            *("-p", str(self.address[1]), "-L", self.address[0], "-l", "stderr"),
            *self.options,
        ]
        if self._limit_files is not None:
            words = ["sh", "-c", f'ulimit -n {self._limit_files}; exec "$@"', "sh", *words]
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=python_environment(),
            cwd=ROOT,
        )

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            if process.poll() is not None:
                raise AssertionError(f"{self.kind} ended with {process.returncode}:\n{self.log()}")
            try:
                wire = Wire(self.address)
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{self.kind} does not listen:\n{self.log()}") from None
                time.sleep(0.01)
                continue
            # Whoever answers must be the process just started, not a server
            # that somebody else has put on the same port meanwhile.
            wire.send_bytes(b"getpid\n")
            try:
                answer = wire.read_line()
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.kind} said:\n{self.log()}") from error
            finally:
                wire.close()
            assert answer == b"OK %d\n" % process.pid, f"a stranger answered: {answer!r}"
            return

    def connect(self, receive_buffer: int | None = None) -> Wire:
        """A new connection."""
        return Wire(self.address, receive_buffer=receive_buffer)

    def log(self) -> str:
        """What it has written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self) -> int:
        """Its memory, as the system counts it."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """Processor time it has used so far."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it without a warning, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again, with the same options, at a new port."""
        assert not self.alive()
        self.process = self._start()

    def end(self) -> None:
        """End it, kindly at first."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
