"""The demo is what people see first: it has to work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.tools import ENVIRON
from tests.support import patient


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_demo_runs_to_its_good_end(root: Path) -> None:
    pytest.importorskip("PIL")
    path = os.pathsep.join(os.path.abspath(part) for part in sys.path if part)

    done = subprocess.run(
        [sys.executable, str(root / "examples" / "demo.py")],
        capture_output=True,
        text=True,
        timeout=patient(120),
        env={**ENVIRON, "PYTHONPATH": path},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "all went well" in done.stdout
    assert "\x1b" not in done.stdout
