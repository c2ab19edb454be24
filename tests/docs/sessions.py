"""Runs what the documents show.

A comment before a code block says what it is for:

    <!-- run -->            a console session: `$ command`, and below it what that prints
    <!-- file: NAME -->     a file that later commands find in their directory

Both may be indented, as in a list. The blocks of one document follow each other in one empty directory, with the tools,
``python`` and ``pytest`` of the build under test in front of the PATH, and a port of
their own in the place of 4730. A command that ends in ``&`` is left running. A line
``...`` stands for any number of lines. ``gearadmin`` only looks, so it is asked again
until it says what is written, or time is up. What is printed to stderr is not compared.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType

from tests.support import free_port, patient

_BLOCK = re.compile(
    r"^(?P<indent> *)<!--\s*(?P<what>run|file:\s*(?P<name>\S+))\s*-->\n"
    r"\s*^(?P=indent)(?P<fence>```+)[^\n]*\n(?P<text>.*?)^(?P=indent)(?P=fence)\s*$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"^ *<!--\s*(?:run|file:)", re.MULTILINE)

_MODULES = {
    "gearmand": "geartrain.cli.gearmand",
    "gearman": "geartrain.cli.gearman",
    "gearadmin": "geartrain.cli.gearadmin",
    "gearman-worker": "geartrain.cli.worker_command",
    "pytest": "pytest",
}


class Block:
    """One block that is meant to be used.

    Attributes:
        line: where in the document it begins.
        name: the file it is, or "" for a session.
        text: what is in it.
    """

    def __init__(self, line: int, name: str, text: str) -> None:
        self.line = line
        self.name = name
        self.text = text

    def steps(self) -> Iterator[tuple[str, list[str]]]:
        """The commands of a session, each with the lines that it prints."""
        command = ""
        printed: list[str] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, printed
                command, printed = line[2:], []
            elif command:
                printed.append(line)
            elif line:
                raise ValueError(f"line {self.line}: a session begins with a command, not {line!r}")
        if command:
            yield command, printed


def blocks(text: str) -> list[Block]:
    """What a document shows and wants used, in its order.

    Raises:
        ValueError: a comment has no block behind it.
    """
    found = [
        Block(
            text.count("\n", 0, match.start()) + 1,
            match["name"] or "",
            textwrap.dedent(match["text"]),
        )
        for match in _BLOCK.finditer(text)
    ]
    if len(found) != len(_MARK.findall(text)):
        raise ValueError("there is a `run` or `file` comment without a code block behind it")
    return found


def agrees(printed: list[str], wanted: list[str]) -> bool:
    """Whether the lines are the wanted ones, where ``...`` stands for any."""
    if not wanted:
        return not printed
    if wanted[0].strip() == "...":
        return any(agrees(printed[skip:], wanted[1:]) for skip in range(len(printed) + 1))
    return (
        bool(printed)
        and printed[0].rstrip() == wanted[0].rstrip()
        and agrees(printed[1:], wanted[1:])
    )


class Reader:
    """Somebody who does what a document says, in a directory of their own.

    Args:
        folder: empty.
        variables: of the environment, beside those of everybody.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder / "here"
        self.folder.mkdir()
        self._commands = folder / "bin"
        self._commands.mkdir()
        self.port = free_port()
        for name, module in _MODULES.items():
            self._command(name, f'exec "{sys.executable}" -m {module} "$@"')
        self._command("python", f'exec "{sys.executable}" "$@"')
        if not any(one.name == "geartrain" for one in entry_points(group="pytest11")):
            # Plain files under test, and nothing installed that would bring the plug-in.
            plugin = "-p geartrain.testing.fixtures"
            self._command("pytest", f'exec "{sys.executable}" -m pytest {plugin} "$@"')
        self._environ = {
            **os.environ,
            **variables,
            "PATH": f"{self._commands}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join(
                os.path.abspath(part)
                for part in os.environ.get("PYTHONPATH", "").split(os.pathsep)
                if part
            ),
            "GEARMAND_PORT": str(self.port),
            "GEARMAN_SERVERS": f"127.0.0.1:{self.port}",
            "XDG_RUNTIME_DIR": str(folder),
            "NO_COLOR": "1",
        }
        self._environ.pop("GEARMAN_SERVER", None)
        self._running: list[subprocess.Popen[bytes]] = []

    def _command(self, name: str, line: str) -> None:
        path = self._commands / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def follow(self, block: Block) -> None:
        """Write the file, or run the session.

        Raises:
            AssertionError: something is printed that is not what is written there.
        """
        if block.name:
            path = self.folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            return
        for command, wanted in block.steps():
            if command.endswith("&"):
                self._leave_running(command[:-1].strip())
                continue
            self._run(command, wanted, block)

    def _leave_running(self, command: str) -> None:
        self._running.append(
            subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _run(self, command: str, wanted: list[str], block: Block) -> None:
        end = time.monotonic() + patient(20)
        while True:
            # Files, not pipes: a server that stays in the background would keep those open.
            said, moaned = self.folder.parent / "stdout", self.folder.parent / "stderr"
            with said.open("wb") as stdout, moaned.open("wb") as stderr:
                status = subprocess.run(
                    ["/bin/sh", "-c", command],
                    cwd=self.folder,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    timeout=patient(30),
                    check=False,
                ).returncode
            printed = said.read_text(errors="replace").splitlines()
            if agrees(printed, wanted):
                return
            if not command.startswith("gearadmin") or time.monotonic() > end:
                break
            time.sleep(0.05)
        raise AssertionError(
            f"line {block.line}: $ {command}\nprinted:\n"
            + "\n".join(printed)
            + "\nbut the document has:\n"
            + "\n".join(wanted)
            + f"\nstatus {status}, stderr:\n{moaned.read_text(errors='replace')}"
        )

    # ── the end ──────────────────────────────────────────────────────────────

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._running):
            try:
                process.wait(patient(10))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        number = self._server()
        if number:
            os.kill(number, signal.SIGTERM)

    def _server(self) -> int:
        """The server that a session sent to the background and left there; 0 for none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=patient(2)) as sock:
                sock.sendall(b"getpid\n")
                answer = sock.makefile("rb").readline().split()
        except OSError:
            return 0
        return int(answer[1]) if answer[:1] == [b"OK"] else 0
