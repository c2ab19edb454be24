"""``gearman -n`` for ever: flat memory, server restarts, and a feeder that is never kept waiting."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.cli.tools import Server, Tools, rss_kib
from tests.support import patient, wait_until

LINES = 20_000


def numbered(count: int = LINES) -> bytes:
    return b"".join(b"line %d of the log\n" % n for n in range(count))


def collect(tools: Tools, function: str, path: Path) -> None:
    """A worker that appends each workload to a file."""
    with path.open("ab") as log:
        process = subprocess.Popen(
            [*_worker(tools.port), "-f", function],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.DEVNULL,
        )
    tools.started.append(process)
    wait_until(lambda: tools.workers(function), within=20)


def _worker(port: int) -> list[str]:
    from tests.cli.tools import command

    return command("gearman", "-h", "127.0.0.1", "-p", str(port), "-w")


def test_no_line_is_lost_when_the_server_is_killed_in_the_middle(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Server() as server:
        tools = Tools(server.port)
        try:
            collect(tools, "logger", log)
            client = tools.start("-n", "-f", "logger", stdin=subprocess.PIPE)
            feeder = threading.Thread(target=_feed, args=(client, numbered()))
            feeder.start()
            for share in (4, 2):
                wait_until(lambda share=share: _lines(log) > LINES // share, within=60)  # type: ignore[misc]
                server.kill()
                server.start()
            feeder.join(patient(60))
            status = client.wait(patient(60))
        finally:
            tools.close()

    found = log.read_bytes().splitlines(keepends=True)
    assert status == 0
    assert set(found) == set(numbered().splitlines(keepends=True))
    assert len(found) <= LINES + 2 * 64


def _feed(client: subprocess.Popen[bytes], data: bytes) -> None:
    assert client.stdin is not None
    client.stdin.write(data)
    client.stdin.close()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("spooled", [False, True])
def test_the_feeder_is_never_kept_waiting(tmp_path: Path, spooled: bool) -> None:
    with Server() as server:
        tools = Tools(server.port)
        try:
            options = ["--spool", str(tmp_path / "spool")] if spooled else ["-b"]
            client = tools.start("-n", "-f", "away", *options, stdin=subprocess.PIPE)
            assert client.stdin is not None
            client.stdin.write(b"first\n")
            client.stdin.flush()
            wait_until(lambda: tools.counts("away")[0] == 1)
            server.kill()

            # 30 MB, and nobody to take it: far more than a pipe and the memory allowed hold.
            client.stdin.write(b"x" * 999 + b"\n")
            for _ in range(30):
                client.stdin.write((b"x" * 999 + b"\n") * 1000)
            client.stdin.flush()

            server.start()
            wait_until(lambda: tools.counts("away")[0] > 1, within=20)
            assert rss_kib(client.pid) < 60 * 1024
        finally:
            tools.close()


def test_memory_stays_flat_over_many_lines(tools: Tools) -> None:
    client = tools.start("-b", "-n", "-f", "flat", stdin=subprocess.PIPE)
    _feed(client, numbered(100_000))
    peak = 0
    while client.poll() is None:
        try:
            peak = max(peak, rss_kib(client.pid))
            client.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        except (OSError, AssertionError):  # it has just ended
            break

    assert client.wait(patient(60)) == 0
    assert peak < 60 * 1024
    assert tools.counts("flat")[0] == 100_000


def test_a_spool_survives_us_and_is_sent_by_the_next(tmp_path: Path) -> None:
    spool = str(tmp_path / "spool")
    with Server() as server:
        tools = Tools(server.port)
        try:
            server.kill()
            first = tools.start("-b", "-n", "-f", "kept", "--spool", spool, stdin=subprocess.PIPE)
            assert first.stdin is not None
            first.stdin.write(numbered(1000))
            first.stdin.flush()
            wait_until(lambda: _spooled(Path(spool)) >= len(numbered(1000)), within=20)
            first.kill()
            first.wait()
            server.start()

            done = tools.gearman("-b", "-n", "-f", "kept", "--spool", spool, stdin=b"one more\n")

            assert done.status == 0
            assert b"1000 jobs left in" in done.stderr
            assert tools.counts("kept")[0] == 1001
            assert list(Path(spool).glob("*.segment")) == []
            uniques = [u for u in tools.ask("show unique jobs") if re.search(r"-\d+$", u)]
            assert len(set(uniques)) == 1001
        finally:
            tools.close()


def _spooled(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.segment"))


def test_a_lost_server_is_waited_for_only_as_long_as_was_said(tools: Tools) -> None:
    with Server() as server:
        other = Tools(server.port)
        client = other.start("-n", "-f", "x", "--reconnect=0.3", stdin=subprocess.PIPE)
        assert client.stdin is not None
        client.stdin.write(b"1\n")
        client.stdin.flush()
        wait_until(lambda: other.counts("x")[0] == 1)
        server.kill()

        assert client.wait(patient(20)) == 2
        assert client.stderr is not None
        assert b"gave up" in client.stderr.read()
        other.close()
