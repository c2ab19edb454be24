"""The tools as processes, and servers for them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from tests.support import free_port, patient, wait_until

#: Nothing of the caller's: servers are named in each command.
ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in ("GEARMAN_SERVER", "GEARMAN_SERVERS", "GEARMAND_PORT")
}


class Done:
    """What a command that has ended said."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def command(tool: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"geartrain.cli.{tool}", *arguments]


class Tools:
    """Runs the tools against one server; what it started is gone after the test."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.started: list[subprocess.Popen[bytes]] = []

    def run(
        self,
        tool: str,
        *arguments: str,
        stdin: bytes | None = None,
        environ: Mapping[str, str] = ENVIRON,
        within: float = 30.0,
    ) -> Done:
        """Run to the end."""
        done = subprocess.run(
            command(tool, "-p", str(self.port), "-h", "127.0.0.1", *arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=patient(within),
            env=dict(environ),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def gearman(self, *arguments: str, stdin: bytes | None = None) -> Done:
        return self.run("gearman", *arguments, stdin=stdin)

    def start(self, *arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """Start ``gearman`` and leave it."""
        process = subprocess.Popen(
            command("gearman", "-p", str(self.port), "-h", "127.0.0.1", *arguments),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRON,
        )
        self.started.append(process)
        return process

    def work(self, function: str, *rest: str) -> subprocess.Popen[bytes]:
        """Start a worker, and wait until the server knows it."""
        worker = self.start("-w", "-f", function, *rest)
        wait_until(lambda: self.workers(function), within=20)
        return worker

    def workers(self, function: str) -> int:
        return self.counts(function)[2]

    def counts(self, function: str) -> tuple[int, int, int]:
        """Jobs, jobs that run, workers, as ``status`` has them."""
        for line in self.ask("status"):
            fields = line.split("\t")
            if fields[0] == function:
                return int(fields[1]), int(fields[2]), int(fields[3])
        return 0, 0, 0

    def ask(self, line: str) -> list[str]:
        """An admin command whose answer is a list."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patient(5)) as sock:
            sock.sendall(line.encode() + b"\r\n")
            text = b""
            while not (text == b".\n" or text.endswith(b"\n.\n")):
                data = sock.recv(65536)
                if not data:
                    raise ConnectionError(f"{line!r}: the server closed after {text!r}")
                text += data
        return text.decode().splitlines()[:-1]

    def close(self) -> None:
        for process in reversed(self.started):
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass


def on_terminal(
    words: Sequence[str], columns: int = 80, until: str = "", term: str = "xterm"
) -> str:
    """What a person sees of a command: stdout and stderr, on a terminal so wide.

    Args:
        until: the command is ended when it has written this; empty: it ends by itself.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
        env={**ENVIRON, "NO_COLOR": "1", "TERM": term},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    deadline = time.monotonic() + patient(30)
    try:
        while not until or until.encode() not in seen:
            if not select.select([leader], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"{words}: saw {seen!r}")
            try:
                seen += os.read(leader, 65536)
            except OSError:  # EIO: nobody has it open any more
                break
    finally:
        if until:
            process.kill()
        process.wait()
        os.close(leader)
    return seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


class Server:
    """A gearmand that can be killed, and started again on the same port."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options: Sequence[str] = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            command("gearmand", "-p", str(self.port), "-L", "127.0.0.1", *self._options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRON,
        )
        wait_until(self._answers, within=20)

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def rss_kib(pid: int) -> int:
    """Resident memory, as high as it ever was."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    raise AssertionError("no VmHWM")
