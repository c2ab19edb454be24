"""The examples, as a user runs them: a server, ``gearman-worker``, a program."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import geartrain
from geartrain.testing import EmbeddedServer
from tests.support import patient, wait_until

_WORKER = "import sys; from geartrain.cli.worker_command import main; sys.exit(main())"


class Stage:
    """Where the examples run: an empty folder, and a server."""

    def __init__(self, folder: Path, examples: Path, server: EmbeddedServer) -> None:
        self.folder = folder
        self.examples = examples
        self.server = server
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = [str(examples), *(os.path.abspath(part) for part in before if part)]
        self.environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith("DJANGO")},
            "GEARMAN_SERVERS": server.address,
            "PYTHONPATH": os.pathsep.join(path),
        }

    def run(self, name: str, *arguments: str) -> str:
        """What an example prints."""
        result = subprocess.run(
            [sys.executable, str(self.examples / name), *arguments],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=patient(40),
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @contextlib.contextmanager
    def working(self, function: str, *command: str) -> Iterator[None]:
        """A worker that can do ``function`` while the block runs."""
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environ,
        )
        try:
            with geartrain.AdminClient(self.server.address) as admin:
                wait_until(
                    lambda: any(row.function == function and row.workers for row in admin.status()),
                    within=20,
                )
            yield
        finally:
            process.terminate()
            process.wait(patient(20))


@pytest.fixture
def stage(tmp_path: Path, root: Path) -> Iterator[Stage]:
    with EmbeddedServer() as server:
        yield Stage(tmp_path, root / "examples", server)


def test_hello(stage: Stage) -> None:
    with stage.working("reverse", str(stage.examples / "hello.py"), "worker"):
        assert stage.run("hello.py", "Hello", "World!") == "!dlroW olleH\n"


def test_images(stage: Stage) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (800, 600), "red").save(stage.folder / "photo.jpg")

    with stage.working("shrink_image", "-c", _WORKER, "images:app", "--processes", "1"):
        stage.run("images.py", "photo.jpg")

    with image.open(stage.folder / "photo-243.jpg") as small:
        assert small.size == (243, 182)


def test_pipelines(stage: Stage) -> None:
    (stage.folder / "a.txt").write_text("be or not to be\n")

    with stage.working("merge", "-c", _WORKER, "pipelines:app", "--processes", "1"):
        assert stage.run("pipelines.py", "a.txt", "a.txt").split()[:2] == ["4", "be"]


def test_parallel_map(stage: Stage) -> None:
    with stage.working("divisors", "-c", _WORKER, "parallel_map:app", "--processes", "1"):
        assert "1000003 is prime" in stage.run("parallel_map.py", "5")


def test_fan_out(stage: Stage) -> None:
    with stage.working("fetch", "-c", _WORKER, "fan_out:app", "--concurrency", "50"):
        assert "50 pages, ten at a time" in stage.run("fan_out.py")


def test_executor(stage: Stage) -> None:
    (stage.folder / "key").write_text("0123456789abcdef0123456789abcdef\n")

    with stage.working("geartrain.call", "-c", _WORKER, "geartrain.executor", "--key-file", "key"):
        printed = stage.run("executor.py", "key")

    assert "10! = 3628800" in printed
    assert "ValueError('math domain error')" in printed


def test_django(stage: Stage) -> None:
    if not importlib.util.find_spec("django") or not importlib.util.find_spec("django.tasks"):
        pytest.skip("wants Django 6, for which there is `make test-django`")
    # Not in the examples' own folder: it keeps its results beside itself.
    shutil.copytree(stage.examples / "django", stage.folder / "django")
    stage.examples = stage.folder / "django"
    manage = str(stage.examples / "manage.py")

    with stage.working("shop.django.mail", manage, "gearman_worker"):
        printed = stage.run(
            "manage.py", "shell", "--no-imports", "-c",
            "import time\n"
            "from shop.tasks import send_receipt\n"
            "result = send_receipt.enqueue('ann@example.org', total=42)\n"
            "while not result.is_finished: time.sleep(0.05); result.refresh()\n"
            "print(result.return_value)",
        )  # fmt: skip

    assert printed == "Dear ann@example.org, you owe us 42.\n"
