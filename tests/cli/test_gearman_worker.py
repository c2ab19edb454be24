"""``gearman -w``, as a process: pipes, environment, failures, several at once, endings."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cli.tools import Server, Tools, rss_kib
from tests.support import patient, wait_until


def test_the_classic_sessions(tools: Tools, tmp_path: Path) -> None:
    tools.work("test", "--", "grep", "lib")
    listing = b"bin\nlib\nlib64\nusr\n"

    assert tools.gearman("-f", "test", stdin=listing).stdout == b"lib\nlib64\n"
    script = tmp_path / "script.sh"
    script.write_text("tr a-z A-Z\n")  # no #!: the shell's
    script.chmod(0o755)
    tools.work("function", str(script))
    assert tools.gearman("-f", "function", "some data").stdout == b"SOME DATA"
    tools.work("count", "--", "wc", "-l")
    assert tools.gearman("-f", "count", stdin=listing).stdout == b"4\n"


def test_a_command_without_dashes_before_it_keeps_its_options(tools: Tools) -> None:
    worker = tools.start("-w", "-f", "plain", "sh", "-c", "echo = $0 $1", "-n", "-b")
    wait_until(lambda: tools.workers("plain"), within=20)

    assert tools.gearman("-f", "plain", "x").stdout == b"= -n -b\n"
    assert worker.poll() is None


def test_the_command_knows_its_job(tools: Tools) -> None:
    tools.work("env", "--", "sh", "-c", "echo $GEARMAN_FUNCTION $GEARMAN_UNIQUE $GEARMAN_HANDLE")

    done = tools.gearman("-f", "env", "-u", "my-key", "-v", "x")

    created, said = done.stdout.splitlines()
    assert said == b"env my-key " + created.removeprefix(b"Task created: ")


def test_a_hundred_megabytes_through_cat_come_back_as_they_were(
    tools: Tools, tmp_path: Path
) -> None:
    worker = tools.work("big", "--", "cat")
    block = bytes(range(256)) * 4096
    data = tmp_path / "data"
    with data.open("wb") as file:
        for number in range(100):
            file.write(number.to_bytes(4, "big") + block[4:])
    with data.open("rb") as source:
        client = tools.start("-f", "big", stdin=source.fileno())

    assert client.stdout is not None
    assert client.stderr is not None
    with data.open("rb") as source:
        same = all(
            client.stdout.read(1 << 20) == piece
            for piece in iter(lambda: source.read(1 << 20), b"")
        )
    assert same, client.stderr.read()
    assert client.stdout.read() == b""
    assert client.wait(patient(10)) == 0
    assert rss_kib(worker.pid) < 450_000


def test_a_command_that_does_not_read_is_no_trouble(tools: Tools) -> None:
    tools.work("deaf", "--", "echo", "done")

    assert tools.gearman("-f", "deaf", stdin=b"x" * 5_000_000).stdout == b"done\n"


def test_stderr_is_a_warning_and_stays_visible(tools: Tools) -> None:
    worker = tools.work("warn", "--", "sh", "-c", "echo careful >&2; echo result")

    done = tools.gearman("-f", "warn", "x")

    assert (done.status, done.stdout, done.stderr) == (0, b"result\n", b"careful\n")
    assert worker.stderr is not None
    assert worker.stderr.readline() == b"careful\n"


@pytest.mark.parametrize(
    ("name", "script", "words"),
    [
        ("exit", "exit 7", b"Job failed: sh exited with status 7\n"),
        ("kill", "kill -9 $$", b"Job failed: sh was killed by signal 9 (SIGKILL)\n"),
    ],
)
def test_how_a_command_failed_is_told(tools: Tools, name: str, script: str, words: bytes) -> None:
    tools.work(name, "--", "sh", "-c", script)

    done = tools.gearman("-f", name, "x")

    assert (done.status, done.stderr) == (1, words)
    assert tools.workers(name) == 1


def test_a_command_that_is_not_there_is_told_at_once(tools: Tools) -> None:
    done = tools.gearman("-w", "-f", "x", "--", "no-such-command")

    assert done.status == 5
    assert done.stderr == b"gearman: cannot run 'no-such-command': No such file or directory\n"


def test_a_command_that_goes_away_fails_its_jobs_and_no_second_worker_appears(
    tools: Tools, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o755)
    tools.work("gone", str(script))
    assert tools.gearman("-f", "gone", "x").stdout == b"here\n"
    script.unlink()

    done = tools.gearman("-f", "gone", "x")

    assert done.status == 1
    assert b"cannot run" in done.stderr
    assert tools.workers("gone") == 1


def test_lines_of_output_are_sent_as_they_come_and_once(tools: Tools) -> None:
    tools.work("lines", "-n", "--", "printf", r"a\nb\nc")
    tools.work("strip", "-N", "--", "printf", r"a\nb\nc")

    assert tools.gearman("-f", "lines", "-P", "x").stdout == b"lines: a\nlines: b\nlines: clines: "
    assert tools.gearman("-f", "strip", "x").stdout == b"abc"


def test_without_a_command_the_workload_is_printed_here(tools: Tools) -> None:
    worker = tools.work("show")

    done = tools.gearman("-f", "show", "some text\n")

    assert (done.status, done.stdout) == (0, b"")
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"some text\n"


def test_several_commands_run_at_once_and_no_more(tools: Tools) -> None:
    tools.work("nap", "-j", "3", "--", "sleep", "8")
    for _ in range(5):
        tools.gearman("-f", "nap", "-b", "x")

    wait_until(lambda: tools.counts("nap")[1] == 3)

    assert tools.counts("nap") == (5, 3, 3)


def test_a_worker_ends_after_as_many_jobs_as_it_was_given(tools: Tools) -> None:
    for count, jobs in (("1", "1"), ("5", "2")):
        worker = tools.work("few", "-c", count, "-j", jobs, "--", "cat")

        for number in range(int(count)):
            assert tools.gearman("-f", "few", f"{number}").status == 0

        assert worker.wait(patient(10)) == 0
        wait_until(lambda: not tools.workers("few"))


def test_a_worker_that_waits_in_vain_ends_after_its_rounds(tools: Tools) -> None:
    done = tools.gearman("-w", "-f", "idle", "-t", "50", "-c", "2", "--", "cat")

    assert done.status == 0
    assert done.stderr == b"gearman: no job for 0.05 s (-t)\n" * 2


def test_term_lets_a_running_command_finish(tools: Tools, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"while ! test -e {go}; do sleep 0.02; done; echo finished"
    worker = tools.work("finish", "--", "sh", "-c", script)
    client = tools.start("-f", "finish", "x")
    wait_until(lambda: tools.counts("finish")[1])

    worker.send_signal(signal.SIGTERM)
    go.touch()

    assert worker.wait(patient(10)) == 0
    assert client.stdout is not None
    assert client.stdout.read() == b"finished\n"


def test_a_worker_comes_back_to_a_server_that_was_away() -> None:
    with Server() as server:
        tools = Tools(server.port)
        try:
            tools.work("again", "--", "cat")
            server.kill()
            server.start()
            wait_until(lambda: tools.workers("again"), within=20)

            assert tools.gearman("-f", "again", "x").stdout == b"x"
        finally:
            tools.close()


def test_a_worker_waits_for_a_server_without_burning_the_processor(tools: Tools) -> None:
    with Server() as server:
        pass
    tools.port = server.port
    worker = tools.start("-w", "-f", "patient", "--", "cat")
    assert worker.stderr is not None
    assert b"trying again" in worker.stderr.readline()
    before = _processor_seconds(worker.pid)

    time.sleep(1.0)  # a second of waiting is the subject here

    assert _processor_seconds(worker.pid) - before < 0.2


def _processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_worker_works_for_all_its_servers() -> None:
    with Server() as one, Server() as two:
        both = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
        tools, other = Tools(one.port), Tools(two.port)
        try:
            tools.start("--servers", both, "-w", "-f", "twice", "--", "cat")
            for place in (tools, other):
                wait_until(lambda place=place: place.workers("twice"), within=20)  # type: ignore[misc]

            assert tools.gearman("-f", "twice", "1").stdout == b"1"
            assert other.gearman("-f", "twice", "2").stdout == b"2"
            assert tools.gearman("-f", "twice", "3").stdout == b"3"
        finally:
            tools.close()
