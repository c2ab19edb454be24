"""The job servers that are compared: ours, as a user runs it, and Debian's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import process
from benchmarks.measures import OURS, Unmeasured

ROOT: Final = Path(__file__).resolve().parent.parent

C_SERVER: Final = "/usr/sbin/gearmand"
C_ABSENT: Final = f"{C_SERVER} is absent; `apt-get install gearman-job-server` brings it"

#: The C server's ways to run. It does all in one thread with -t 0, its best for
#: processor time per job; its default is four threads beside the main one. Its
#: hash table of jobs has 991 buckets unless told otherwise.
C_T0: Final = "c-t0"
C_DEFAULT: Final = "c-default"
C_BUCKETS: Final = "c-buckets"
C_OPTIONS: Final = {
    C_T0: ("-t", "0"),
    C_DEFAULT: (),
    C_BUCKETS: ("-t", "0", "--hashtable-buckets=99991"),
}

TITLES: Final = {
    OURS: "ours",
    C_T0: "C -t 0",
    C_DEFAULT: "C default (-t 4)",
    C_BUCKETS: "C -t 0, 99991 buckets",
}

#: How ours is started; ``--pure`` and ``--server`` change it.
_ours: list[str] = []
_environment: dict[str, str] = {}


def use_server(path: str) -> None:
    """Measure this ``gearmand`` instead of the one beside this Python."""
    _ours[:] = [path]


def use_pure() -> None:
    """Measure the plain files of ``src/``."""
    _ours[:] = [sys.executable, "-m", "geartrain.cli.gearmand"]
    _environment["PYTHONPATH"] = str(ROOT / "src")


def own_command() -> list[str]:
    """How to run our ``gearmand``.

    Raises:
        Unmeasured: it is not installed.
    """
    if not _ours:
        beside = Path(sys.executable).parent / "gearmand"
        if not beside.exists():
            raise Unmeasured(f"{beside} is absent; `make setup` installs it")
        _ours[:] = [str(beside)]
    return list(_ours)


def own_tool(name: str) -> str:
    """The path of another of our commands, beside our ``gearmand``."""
    if "PYTHONPATH" in _environment:
        return str(Path(sys.executable).parent / name)
    return str(Path(own_command()[0]).parent / name)


def own_python() -> str:
    """The Python that has our library: the one beside our ``gearmand``."""
    return own_tool("python")


def own_environment() -> dict[str, str]:
    """The environment that our programs run in."""
    return {**os.environ, **_environment}


def is_present(contender: str) -> bool:
    """Whether a contender that is a server can be run here."""
    return contender not in C_OPTIONS or os.access(C_SERVER, os.X_OK)


def version(contender: str) -> str:
    """What a server says of itself, in one line."""
    command = own_command() if contender == OURS else [C_SERVER]
    said = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, env=own_environment(), check=True
    )
    return " ".join(said.stdout.split())


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs."""

    pid: int
    port: int

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``."""
        return f"127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A connection to it, without delay of small packets."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def free_port() -> int:
    """A loopback port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(
    contender: str, *options: str, under: Sequence[str] = (), patience: float = 20.0
) -> Iterator[Running]:
    """Start a server on a free port; end it, by its pid, afterwards.

    Args:
        options: more words for its command line.
        under: words that go before it, such as ``valgrind``.

    Raises:
        Unmeasured: it does not start.
    """
    if not is_present(contender):
        raise Unmeasured(C_ABSENT)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        where = ["-L", "127.0.0.1", "-p", str(port)]
        if contender == OURS:
            command = [*own_command(), *where, *options]
        else:
            more = ["-l", f"{folder}/log", "-P", f"{folder}/pid"]
            if os.geteuid() == 0:
                more += ["-u", "root"]
            command = [C_SERVER, *where, *more, *C_OPTIONS[contender], *options]
        with open(f"{folder}/said", "wb") as said:
            child = subprocess.Popen(
                [*under, *command],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=own_environment(),
            )
        try:
            if not _answers(child, port, patience):
                words = Path(f"{folder}/said").read_text(errors="replace").strip()
                raise Unmeasured(
                    f"{TITLES.get(contender, contender)} did not start: {words[-500:]}"
                )
            yield Running(child.pid, port)
        finally:
            _end(child)


def _answers(child: subprocess.Popen[bytes], port: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end and child.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=patience) as one:
                one.sendall(b"version\n")
                if one.recv(100):
                    return True
        except OSError:
            time.sleep(0.02)
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def idle_share(server: Running, seconds: float) -> float:
    """Percent of one core that a server uses while nobody asks for anything."""
    before = process.cpu_seconds(server.pid)
    time.sleep(seconds)
    return (process.cpu_seconds(server.pid) - before) / seconds * 100


def cache() -> Path:
    """Where what is made for the benchmarks is kept; made again when missing."""
    made = ROOT / "build" / "bench"
    made.mkdir(parents=True, exist_ok=True)
    return made


def which(name: str, package: str) -> str:
    """The path of a program.

    Raises:
        Unmeasured: it is absent.
    """
    found = shutil.which(name)
    if found is None:
        raise Unmeasured(f"{name} is absent; `apt-get install {package}` brings it")
    return found
