"""``gearman-worker`` as a process, with code of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Any

from tests.support import patient, wait_until

COMMAND = [sys.executable, "-m", "geartrain.cli.worker_command"]

CODE = """
    import os, time
    from geartrain.worker.sync import Worker

    app = Worker()
    hoard = []

    @app.function
    def version(job):
        return "one"

    @app.function
    def pid(job):
        return str(os.getpid())

    @app.function
    def nap(job):
        time.sleep(float(job.text()))
        return str(os.getpid())

    @app.function
    def die(job):
        os.kill(os.getpid(), 9)

    @app.function
    def grow(job):
        hoard.append(b"x" * int(job.text()))
        return str(os.getpid())
"""


class Running:
    """One manager, its code in a folder that the test may write to.

    Args:
        folder: current directory of the manager; has code.py.
        server: ``host:port`` of the job server.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.log = folder / "log.txt"
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("GEARMAN")},
            "XDG_RUNTIME_DIR": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "error",
            "GEARMAN_SERVERS": server,
            "PYTHONPATH": os.pathsep.join(
                os.path.abspath(path)
                for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)
                if path
            ),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.write(CODE)

    def write(self, code: str, name: str = "jobs.py") -> None:
        (self.folder / name).write_text(dedent(code))

    def start(self, *options: str, environ: dict[str, str] | None = None) -> None:
        """Start it; returns when every process works."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, *options],
                cwd=self.folder,
                env={**self.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self.has_ended or self.idle(), within=30)
        assert not self.has_ended, self.log.read_text()

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return subprocess.run(
            [*COMMAND, *options],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patient(30),
        )

    @property
    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def send(self, what: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(what)

    def wait(self, within: float = 20) -> int:
        assert self.process is not None
        return self.process.wait(patient(within))

    def status(self) -> list[dict[str, Any]]:
        """What each process does, asked of the socket."""
        from geartrain.manager.status import ask

        for path in (self.folder / "gearman-worker").glob("*.sock"):
            try:
                processes: list[dict[str, Any]] = ask(str(path))["processes"]
            except OSError:
                continue
            return processes
        return []

    def states(self) -> list[str]:
        return [process["state"] for process in self.status()]

    def idle(self) -> bool:
        """Everybody is there, and has nothing to do."""
        states = self.states()
        return bool(states) and set(states) == {"idle"}

    def pids(self) -> set[int]:
        return {process["pid"] for process in self.status()}

    def says(self, text: str) -> bool:
        return text in self.log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log, if it is JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(patient(10))
        if error is not None and self.log.exists():
            print(self.log.read_text())
        if error is None and self.log.exists():
            assert not self.says("ResourceWarning"), self.log.read_text()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
