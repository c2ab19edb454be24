"""The pytest plugin, as its users have it: their tests, in a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import patient

THEIR_TESTS = """
import geartrain
import pytest

app = geartrain.App("images", servers="127.0.0.1:1")

@app.function
def shrink(src: str, width: int) -> str:
    return f"{src}@{width}"

def test_raw(gearman_client, gearman_worker):
    gearman_worker(reverse=lambda job: job.workload[::-1])
    assert gearman_client.do("reverse", "abc", timeout=10) == b"cba"

def test_typed(gearman_worker):
    gearman_worker(app)
    assert shrink.options(timeout=10).do("a.jpg", width=3) == "a.jpg@3"

def test_afterwards_the_app_is_as_it_was():
    assert app.servers == "127.0.0.1:1"

def test_time_can_be_turned(gearman_server, gearman_client, gearman_worker, gearman_admin):
    gearman_client.do_background("later", when=__import__("datetime").timedelta(days=1))
    ran = []
    gearman_worker(later=lambda job: ran.append(job.handle), ping=lambda job: b"pong")
    gearman_client.do("ping", timeout=10)
    assert not ran
    gearman_server.advance(86_401)
    gearman_client.do("ping", timeout=10)
    assert gearman_admin.status()[0].total == 0
    assert len(ran) == 1

bureau = geartrain.App("bureau")
opened = []

@bureau.lifespan
def shelf():
    opened.append(__import__("threading").get_ident())
    yield opened[-1]
    assert opened[-1] == __import__("threading").get_ident()
    opened.append("closed")

@bureau.function
def look() -> int:
    return geartrain.current_job().context

def test_a_lifespan_is_entered(gearman_worker):
    gearman_worker(bureau)
    assert look.options(timeout=10).do() == opened[0]

def test_and_left_with_the_last_worker(gearman_worker):
    assert opened[1:] == ["closed"]
    gearman_worker(bureau)
    assert look.options(timeout=10).do() == opened[2]

@pytest.mark.asyncio
async def test_async(gearman_async_client, gearman_worker):
    gearman_worker(reverse=lambda job: job.workload[::-1])
    assert await gearman_async_client.do("reverse", b"abc", timeout=10) == b"cba"
"""


def test_their_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THEIR_TESTS)

    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)

    # By its own name here: the entry point is there only where geartrain is installed.
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:geartrain"]
        + ["-o", "asyncio_default_fixture_loop_scope=function"]
        + ["-p", "geartrain.testing.fixtures", "-p", "no:cacheprovider", "--rootdir=.", "."],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_ADDOPTS": "",
            # They run elsewhere, where `src` is no longer beside them.
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, places))),
        },
        capture_output=True,
        text=True,
        timeout=patient(50),
    )

    assert "7 passed" in result.stdout, result.stdout + result.stderr


def test_the_entry_point_is_declared(root: Path) -> None:
    assert 'geartrain = "geartrain.testing.fixtures"' in (root / "pyproject.toml").read_text()
