"""Reads the library's pages and does what they show, against an embedded server.

Every block of Python and PHP is run, in its order. A comment before a block says when
it is more than a piece of a program:

    <!-- file: NAME -->     a file, which later blocks import or start
    <!-- worker -->         started, and left running until the page ends
    <!-- not run: WHY -->   needs what is not here; Python has to compile all the same
    <!-- run -->            a console session, which is for ``tests/docs``

The pieces of Python of one page share their names, as at a prompt. What a block prints
has to stand below it, in a block of ``text``, where a line ``...`` is any number of lines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final

from geartrain.testing import EmbeddedServer
from tests.docs.sessions import agrees
from tests.support import patient

_FENCE: Final = re.compile(
    r"(?:^<!--\s*(?P<mark>[^\n]*?)\s*-->\n\s*)?"
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence)[ ]*$"
    r"(?P<below>\n\s*^```text\n(?P<printed>.*?)^```[ ]*$)?",
    re.MULTILINE | re.DOTALL,
)

#: One piece of Python after another, in the same names: a line of JSON each way.
_PROMPT: Final = """
import contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    asked = json.loads(line)
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile("\\n" * asked["line"] + asked["text"], asked["page"], "exec"), names)
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps({"printed": printed.getvalue(), "error": error}), flush=True)
"""

_COMMANDS: Final = {
    "gearman": "geartrain.cli.gearman",
    "gearadmin": "geartrain.cli.gearadmin",
    "gearman-worker": "geartrain.cli.worker_command",
}


class Block:
    """A block of a page.

    Attributes:
        line: where it begins.
        language: what stands behind the fence.
        mark: the comment before it, or "".
        text: what is in it.
        printed: lines that have to come of it.
    """

    def __init__(self, line: int, language: str, mark: str, text: str, printed: str) -> None:
        self.line = line
        self.language = language
        self.mark = mark
        self.text = text
        self.printed = printed.splitlines()

    @property
    def is_for_others(self) -> bool:
        """A session, or something that is only to be read."""
        known = self.language in ("python", "php", "console", "toml")
        return self.mark == "run" or not (known or self.mark.startswith("file:"))


def blocks(text: str) -> list[Block]:
    """All blocks of a page that are not what another one prints."""
    return [
        Block(
            text.count("\n", 0, match.start("fence")) + 1,
            match["language"],
            match["mark"] or "",
            match["text"],
            match["printed"] or "",
        )
        for match in _FENCE.finditer(text)
    ]


class Reader:
    """Somebody who tries what a page shows, at a server that is there already."""

    def __init__(self, page: Path, folder: Path) -> None:
        self._page = page
        self._folder = folder / "here"
        self._folder.mkdir()
        self._server = EmbeddedServer()
        self._running: list[tuple[Block, subprocess.Popen[bytes]]] = []
        self._prompt: subprocess.Popen[str] | None = None
        self._environ: dict[str, str] = {}
        self._commands = folder / "bin"
        self._commands.mkdir()
        for name, module in {**_COMMANDS, "python": ""}.items():
            path = self._commands / name
            run = f"-m {module} " if module else ""
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {run}"$@"\n')
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def __enter__(self) -> Reader:
        self._server.start()
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        self._environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith("DJANGO")},
            "PATH": f"{self._commands}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join(
                [str(self._folder), *(os.path.abspath(part) for part in before if part)]
            ),
            "GEARMAN_SERVERS": self._server.address,
            "PYTHONWARNINGS": "error",
            "XDG_RUNTIME_DIR": str(self._folder.parent),
            "NO_COLOR": "1",
        }
        return self

    def follow(self, block: Block) -> None:
        """Do what a block shows.

        Raises:
            AssertionError: it fails, or prints something else.
        """
        if block.is_for_others:
            return
        if block.mark.startswith("not run:"):
            if block.language == "python":
                compile(block.text, f"{self._page}:{block.line}", "exec")
        elif block.mark.startswith("file:"):
            path = self._folder / block.mark[5:].strip()
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text)
        elif block.mark == "worker":
            self._start(block)
        elif block.mark:
            raise AssertionError(f"{self._where(block)}: what does {block.mark!r} mean?")
        elif block.language == "python":
            self._compare(block, self._say(block))
        elif block.language == "php":
            self._compare(block, self._run_php(block))
        elif block.language == "console":
            raise AssertionError(f"{self._where(block)}: a session needs <!-- run -->")

    def _at_our_port(self, block: Block) -> str:
        # PHP does not look into the environment for servers.
        port = str(self._server.port)
        return block.text.replace("4730", port) if block.language == "php" else block.text

    @property
    def _for_php(self) -> dict[str, str]:
        # libgearman adds what the variable names to what the program says. So there would be
        # two connections to one server, and now and then it waits at the wrong one.
        return {k: v for k, v in self._environ.items() if k != "GEARMAN_SERVERS"}

    def _where(self, block: Block) -> str:
        return f"{self._page.name}, line {block.line}"

    def _compare(self, block: Block, printed: str) -> None:
        assert agrees(printed.splitlines(), block.printed), (
            f"{self._where(block)} printed:\n{printed}\nbut the page has:\n"
            + "\n".join(block.printed)
        )

    def _start(self, block: Block) -> None:
        if block.language == "console":
            commands = [
                ["/bin/sh", "-c", f"exec {line[2:].removesuffix('&')}"]
                for line in block.text.splitlines()
                if line.startswith("$ ")
            ]
        else:
            path = self._folder / f"worker_{block.line}.{block.language}"
            path.write_text(self._at_our_port(block))
            commands = [[php() if block.language == "php" else sys.executable, str(path)]]
        environ = self._for_php if block.language == "php" else self._environ
        for command in commands:
            log = (self._folder.parent / f"log-{len(self._running)}").open("wb")
            with log:
                process = subprocess.Popen(
                    command,
                    cwd=self._folder,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self._running.append((block, process))

    def _say(self, block: Block) -> str:
        if self._prompt is None:
            self._prompt = subprocess.Popen(
                [sys.executable, "-c", _PROMPT],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._prompt.stdin is not None
        assert self._prompt.stdout is not None
        asked = {"page": self._page.name, "line": block.line, "text": block.text}
        self._prompt.stdin.write(json.dumps(asked) + "\n")
        self._prompt.stdin.flush()
        answer = self._prompt.stdout.readline()
        assert answer, f"{self._where(block)}: Python has ended"
        heard = json.loads(answer)
        assert not heard["error"], f"{self._where(block)}:\n{heard['error']}"
        return str(heard["printed"])

    def _run_php(self, block: Block) -> str:
        path = self._folder / f"block_{block.line}.php"
        path.write_text(self._at_our_port(block))
        ran = subprocess.run(
            [php(), str(path)],
            cwd=self._folder,
            env=self._for_php,
            capture_output=True,
            text=True,
            timeout=patient(30),
            check=False,
        )
        assert ran.returncode == 0, f"{self._where(block)}:\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        died = [block for block, process in self._running if process.poll() not in (None, 0)]
        ours = [process for _, process in self._running]
        for process in ours:
            process.terminate()
        if self._prompt is not None:
            assert self._prompt.stdin is not None
            assert self._prompt.stdout is not None
            self._prompt.stdin.close()
            self._prompt.stdout.close()
            self._end(self._prompt)
        for process in ours:
            self._end(process)
        self._server.stop()
        if died or error is not None:
            for path in sorted(self._folder.parent.glob("log-*")):
                print(f"── {path.name}\n{path.read_text(errors='replace')}")
        if error is None:
            assert not died, f"{self._where(died[0])}: the worker has died"

    def _end(self, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
        try:
            process.wait(patient(10))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def php() -> str:
    """PHP's command."""
    return shutil.which("php") or "php"


def has_php() -> bool:
    """Whether there is a PHP with the extension gearman."""
    try:
        ran = subprocess.run([php(), "-m"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return "gearman" in ran.stdout.split()


def has_django_tasks() -> bool:
    """Whether there is a Django that has tasks of its own."""
    return find_spec("django") is not None and find_spec("django.tasks") is not None
