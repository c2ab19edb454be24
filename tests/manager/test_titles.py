"""What ``ps`` calls the processes, and whose they are."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import geartrain
from geartrain.client.sync import Client
from geartrain.testing import EmbeddedServer
from tests.manager import running
from tests.manager.running import Running
from tests.support import patient, wait_until

USER = "nobody"


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text().replace("\0", " ").strip()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.skipif(not importlib.util.find_spec("setproctitle"), reason="wants setproctitle")
def test_processes_have_titles(manager: Running) -> None:
    manager.start("jobs:app", "-n", "2")

    assert manager.process is not None
    assert proc(manager.process.pid, "cmdline") == "gearman-worker: jobs:app manager"
    assert sorted(proc(pid, "cmdline") for pid in manager.pids()) == [
        "gearman-worker: jobs:app/1",
        "gearman-worker: jobs:app/2",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_without_setproctitle_there_is_a_short_one(manager: Running) -> None:
    manager.write("raise ImportError", "setproctitle.py")
    before = manager.environ["PYTHONPATH"]
    manager.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(manager.folder), before]))

    manager.start("jobs:app", "-n", "1", "--name", "a rather long name")

    assert [proc(pid, "comm") for pid in manager.pids()] == ["her long name/1"]


def _python_for(user: str) -> list[str]:
    """A Python, and a path for it, that the user may read: others' homes are closed."""
    home = str(Path(geartrain.__file__).parent.parent)
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run(
                [python, "-c", "import geartrain.cli.worker_command, ssl, geartrain.worker.sync"],
                user=user, env={"PYTHONPATH": home}, cwd="/", capture_output=True, check=True,
                timeout=patient(20),
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return [python, home]
    return []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Not pytest's own, which is closed to other users."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_manager_becomes_another_user_before_it_loads_code(
    open_folder: Path, server: EmbeddedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _python_for(USER)
    if not found:
        pytest.skip(f"{USER} may read no Python here")
    python, home = found
    monkeypatch.setattr(running, "COMMAND", [python, "-m", "geartrain.cli.worker_command"])
    uid = pwd.getpwnam(USER).pw_uid
    pid_file = open_folder / "pid"

    with Running(open_folder, server.address) as manager:
        manager.environ["PYTHONPATH"] = home
        manager.write(
            "import os\n"
            "from geartrain.worker.sync import Worker\n"
            "app, loaded_by = Worker(), os.getuid()\n"
            "app.add_function('who', lambda job: f'{os.getuid()} {loaded_by} {len(os.getgroups())}')\n"
        )
        manager.start("jobs:app", "-n", "1", "--user", USER, "--pid-file", str(pid_file))

        assert client.do("who") == f"{uid} {uid} 1".encode()
        assert manager.process is not None
        assert int(pid_file.read_text()) == manager.process.pid
        assert Path(f"/proc/{manager.process.pid}").stat().st_uid == uid
        manager.process.terminate()
        assert manager.wait() == 0
        wait_until(lambda: manager.has_ended)


def test_nobody_becomes_a_user_that_there_is_not(manager: Running) -> None:
    done = manager.run("jobs:app", "--user", "no-such-user")

    assert done.returncode == 1
    assert "no-such-user" in done.stderr
