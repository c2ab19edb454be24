"""Start-up is the latency of a shell loop: what a client must not load, and its manuals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from geartrain.cli.manual import files
from tests.cli.tools import ENVIRON, Server
from tests.support import patient

#: Costs more than all of the rest, and a client needs none of it.
HEAVY = {"argparse", "asyncio", "subprocess", "ssl", "json", "logging", "threading", "tempfile",
         "email", "urllib.request", "multiprocessing", "geartrain.broker", "geartrain.server"}  # fmt: skip


def test_a_client_loads_nothing_that_it_does_not_need(server: Server) -> None:
    script = (
        "import sys; from geartrain.cli.gearman import main\n"
        f"assert main(['-h', '127.0.0.1', '-p', '{server.port}', '-b', '-f', 'x', 'y']) == 0\n"
        "print(*sys.modules)"
    )

    loaded = subprocess.run(
        [sys.executable, "-S", "-c", _with_path(script)],
        capture_output=True,
        check=True,
        timeout=patient(30),
        env=ENVIRON,
    ).stdout.decode()

    assert not HEAVY & set(loaded.split())


def _with_path(script: str) -> str:
    return f"import sys; sys.path[:] = {sys.path!r}\n{script}"


def test_manuals_and_completion_are_those_of_the_option_tables(root: Path) -> None:
    stale = [
        name
        for name, text in files().items()
        if not (root / name).exists() or (root / name).read_text() != text
    ]

    assert stale == [], "run: python -m geartrain.cli.manual ."
