"""gearman-worker as a command and as a service: words, exit statuses, systemd, the log."""

from __future__ import annotations

import json
import signal
import socket
from datetime import UTC, datetime, timedelta

import pytest

from geartrain.cli.worker_status import table
from geartrain.client.sync import Client
from tests.manager.running import Running
from tests.support import patient


def test_help_teaches_and_the_version_is_told(manager: Running) -> None:
    shown = manager.run("--help")

    assert shown.returncode == 0
    for word in ("gearman-worker images:app", "[function.", "TTIN", "gearman_functions"):
        assert word in shown.stdout
    assert manager.run("--version").stdout.startswith("gearman-worker ")
    assert "status [NAME" in manager.run("status", "--help").stdout


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--procesess", "2"], 2, "did you mean --processes?"),
        ([], 1, "name a target, such as images:app"),
        (["nowhere"], 1, "there is no module 'nowhere'"),
        (["jobs:application"], 1, "it has jobs:app"),
        (["jobs", "--only", "versoin"], 1, "did you mean version?"),
        (["jobs", "-t", "2", "-c", "2"], 1, "choose one"),
        (["jobs", "--prefetch", "2", "-c", "2"], 1, "choose one"),
        (["jobs", "--prefetch", "-1"], 1, "--prefetch: '-1' is not valid: want a whole number"),
        (["jobs", "--key-file", "nothing.key"], 1, "cannot read --key-file nothing.key"),
        (["--dir", "nowhere"], 1, "--dir nowhere: there is no such directory"),
        (["jobs", "-n", "0"], 1, "no processes"),
    ],
)
def test_what_cannot_be_is_said_with_the_way_out(
    manager: Running, words: list[str], status: int, complaint: str
) -> None:
    done = manager.run(*words)

    assert complaint in done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_target_that_raises_shows_its_own_traceback(manager: Running) -> None:
    manager.write("def broken():\n    return 1 / 0\nbroken()\n", "bad.py")

    done = manager.run("bad", "-n", "1")

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "line 2, in broken" in done.stderr
    assert "importlib" not in done.stderr


def test_check_says_what_would_be_offered(manager: Running) -> None:
    manager.write("def wc(job): return 1", "wc.py")
    (manager.folder / "functions").mkdir()
    (manager.folder / "wc.py").rename(manager.folder / "functions" / "wc.py")

    shown = manager.run("jobs", "--dir", "functions", "-n", "2", "--exclude", "die", "--check")

    rows = dict(line.split("\t", 1) for line in shown.stdout.splitlines())
    assert rows["version"] == "2 processes\tjobs:app"
    assert rows["die"] == "0 processes\tjobs:app"
    assert rows["wc"] == "2 processes\tfunctions/wc.py"


def test_status_is_plain_in_a_pipe_and_json_when_asked(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "2", "--name", "shop")
    client.do("pid")

    rows = [line.split("\t") for line in manager.run("status").stdout.splitlines()]
    asked = json.loads(manager.run("status", "shop", "--json").stdout)
    other = manager.run("status", "another")

    assert [row[0] for row in rows] == ["shop/1", "shop/2"]
    assert {row[2] for row in rows} == {"idle"}
    assert sum(int(row[3]) for row in rows) == 1
    assert all(int(row[9]) > 2**20 for row in rows)
    assert asked[0]["name"] == "shop"
    assert min(asked[0]["processes"][0]["functions"]) == "die"
    assert other.returncode == 1
    assert "no gearman-worker another of yours is running here" in other.stderr


def test_the_socket_of_a_killed_manager_is_cleared_away(manager: Running) -> None:
    manager.start("jobs", "-n", "1")
    manager.send(signal.SIGKILL)
    manager.wait()
    assert list((manager.folder / "gearman-worker").glob("*.sock"))

    assert manager.run("status").returncode == 1

    assert not list((manager.folder / "gearman-worker").glob("*.sock"))


def test_systemd_hears_when_it_is_ready_reloads_and_stops(manager: Running) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(manager.folder / "notify"))
        sock.settimeout(patient(20))
        manager.start("jobs", "-n", "1", environ={"NOTIFY_SOCKET": str(manager.folder / "notify")})
        assert manager.process is not None

        ready = sock.recv(4096).decode()
        manager.send(signal.SIGHUP)
        reloading = sock.recv(4096).decode()
        again = sock.recv(4096).decode()
        assert manager.says("reloaded")
        manager.write("this is no Python")
        manager.send(signal.SIGHUP)
        failing = [sock.recv(4096).decode() for _ in range(2)]
        assert manager.says("the old one works on")
        manager.send(signal.SIGTERM)
        stopping = sock.recv(4096).decode()

    assert ready.startswith(f"READY=1\nMAINPID={manager.process.pid}\n")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert again.startswith("READY=1")
    assert [text.partition("=")[0] for text in failing] == ["RELOADING", "READY"]
    assert stopping == "STOPPING=1"


def test_systemd_watchdog_is_fed(manager: Running) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(manager.folder / "notify"))
        sock.settimeout(patient(20))
        manager.start(
            "jobs", "-n", "1",
            environ={"NOTIFY_SOCKET": str(manager.folder / "notify"), "WATCHDOG_USEC": "400000"},
        )  # fmt: skip

        heard = [sock.recv(4096) for _ in range(6)]

    assert heard.count(b"WATCHDOG=1") >= 4


def test_the_log_is_json_when_asked_with_who_and_what(manager: Running, client: Client) -> None:
    manager.write(
        """
        import logging
        from geartrain.worker.sync import Worker
        app = Worker()
        @app.function
        def talk(job):
            logging.getLogger("shop").warning("sold out", extra={"item": 7})
            job.log.warning("of the job")
        """,
        "talking.py",
    )
    manager.start("talking", "-n", "1", "--log-json")

    client.do("talk")
    manager.send(signal.SIGTERM)
    manager.wait()

    rows = {row["message"]: row for row in manager.lines()}
    assert rows["sold out"]["item"] == 7
    assert rows["sold out"]["process"] == "talking/1"
    assert rows["of the job"]["function"] == "talk"
    assert any(row["process"] == "manager" for row in rows.values())
    said = datetime.fromisoformat(str(rows["sold out"]["time"]))
    assert abs(datetime.now(UTC) - said) < timedelta(minutes=5)


def test_the_table_counts_what_processes_that_are_gone_have_done() -> None:
    process = {
        "name": "a/1", "pid": 7, "state": "idle", "jobs": 1, "failures": 0, "running": 0,
        "function": "", "job_seconds": 0.0, "age_seconds": 61.0, "memory_bytes": 48 << 20,
    }  # fmt: skip
    status = {
        "name": "a", "pid": 6, "state": "working", "ended": {"jobs": 4, "failures": 1},
        "crashes": 1, "processes": [process],
    }  # fmt: skip

    head, _, row = table(status, bold=False, room=80).splitlines()
    _, columns, narrow = table(status, bold=False, room=40).splitlines()

    assert head == "a (pid 6): working, 1 process, 0 running, 5 jobs done, 1 crash"
    assert row.split() == ["a/1", "7", "idle", "1", "0", "0", "-", "-", "1m01s", "48M"]
    assert columns.split() == ["process", "pid", "state", "running", "function"]
    assert narrow.split() == ["a/1", "7", "idle", "0", "-"]
