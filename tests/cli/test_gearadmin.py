"""``gearadmin``, as a process."""

from __future__ import annotations

import json
import subprocess

import pytest

from geartrain.cli.answers import Answer, table
from tests.cli.tools import ENVIRON, Server, Tools, command, on_terminal
from tests.support import free_port, patient


def test_lists_are_the_servers_own_lines(tools: Tools) -> None:
    tools.gearman("-b", "-f", "listed", "-u", "k1", "x")

    status = tools.run("gearadmin", "--status")
    uniques = tools.run("gearadmin", "--show-unique-jobs")

    assert b"listed\t1\t0\t0\n" in status.stdout
    assert status.stdout.endswith(b"\n.\n")
    assert uniques.stdout == b"k1\n.\n"


def test_single_answers_lose_their_ok(tools: Tools) -> None:
    assert tools.run("gearadmin", "--getpid").stdout.strip().isdigit()
    assert tools.run("gearadmin", "--create-function", "made").stdout == b"OK\n"
    assert tools.run("gearadmin", "--drop-function", "made").stdout == b"OK\n"
    assert tools.run("gearadmin", "--server-version").stdout.startswith(b"1.1.")


def test_a_refusal_is_told_on_stderr_and_in_the_status(tools: Tools) -> None:
    done = tools.run("gearadmin", "--cancel-job", "H:no:9")

    assert (done.status, done.stdout, done.stderr) == (1, b"", b"Error: UNKNOWN_JOB\n")


def test_a_server_that_does_not_let_itself_be_ended_is_told_how_it_would(tools: Tools) -> None:
    done = tools.run("gearadmin", "--shutdown")

    assert done.status == 1
    assert done.stderr.endswith(
        b"; start it with --admin-shutdown to allow this, or send it SIGTERM\n"
    )


def test_operations_come_in_the_c_tools_order(tools: Tools) -> None:
    done = tools.run("gearadmin", "--server-version", "--getpid", "--server-verbose")

    pid, level, version = done.stdout.decode().splitlines()
    assert pid.isdigit()
    assert level.isupper()
    assert version.startswith("1.1.")


def test_json_is_for_programs(tools: Tools) -> None:
    tools.gearman("-b", "-f", "data", "x")

    done = tools.run("gearadmin", "--json", "--status", "--getpid")

    found = json.loads(done.stdout)
    assert {"function": "data", "total": 1, "running": 0, "workers": 0} in found["status"]
    assert found["getpid"].isdigit()


def test_several_servers_are_added_up_and_a_dead_one_is_told(tools: Tools) -> None:
    with Server() as other:
        second = Tools(other.port)
        for each in (tools, second):
            each.gearman("-b", "-f", "both", "x")
        dead = free_port()
        names = ",".join(f"127.0.0.1:{port}" for port in (tools.port, other.port, dead))

        done = subprocess.run(
            command("gearadmin", "--servers", names, "--status"),
            capture_output=True,
            timeout=patient(30),
            env=ENVIRON,
        )

    assert b"both\t2\t0\t0\n" in done.stdout
    assert done.stdout.endswith(b"\n.\n")
    assert done.returncode == 1
    assert str(dead).encode() in done.stderr


def test_watch_asks_again_and_again(tools: Tools) -> None:
    watching = subprocess.Popen(
        command("gearadmin", "-h", "127.0.0.1", "-p", str(tools.port), "--watch", "0.05"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRON,
    )
    tools.started.append(watching)
    assert watching.stdout is not None

    dots = 0
    while dots < 3:
        dots += watching.stdout.readline() == b".\n"

    assert watching.poll() is None


def test_watch_clears_a_terminal_that_can_be_cleared(tools: Tools) -> None:
    watch = command("gearadmin", "-h", "127.0.0.1", "-p", str(tools.port), "--watch", "0.05")

    clear = on_terminal(watch, until="workers")
    dumb = on_terminal(watch, until="workers", term="dumb")

    assert clear.startswith("\x1b[H\x1b[2J")
    assert "\x1b" not in dumb


def test_a_limit_is_set_and_kept(tools: Tools) -> None:
    tools.gearman("-b", "-f", "narrow", "x")
    assert tools.run("gearadmin", "--maxqueue", "narrow", "1").stdout == b"OK\n"

    assert tools.gearman("-b", "-f", "narrow", "y").status == 4


def test_nothing_asked_is_help_and_status_1(tools: Tools) -> None:
    done = tools.run("gearadmin")

    assert done.status == 1
    assert done.stdout.startswith(b"usage: gearadmin")
    assert b"no operation" in done.stderr


def test_nobody_there_is_told_in_a_line(tools: Tools) -> None:
    tools.port = free_port()

    done = tools.run("gearadmin", "--status")

    assert done.status == 1
    assert done.stderr.startswith(b"Error: cannot connect")
    assert done.stderr.count(b"\n") == 1


def test_what_is_given_several_times_is_done_several_times(tools: Tools) -> None:
    done = tools.run("gearadmin", "--create-function", "one", "--create-function", "two")

    assert done.stdout == b"OK\nOK\n"
    names = [
        line.split(b"\t")[0] for line in tools.run("gearadmin", "--status").stdout.splitlines()
    ]
    assert {b"one", b"two"} <= set(names)


@pytest.mark.parametrize(
    "words", [("--status", "resize"), ("--maxqueue", "narrow", "1", "2"), ("--watch", "1", "2")]
)
def test_words_that_nothing_takes_are_refused(tools: Tools, words: tuple[str, ...]) -> None:
    done = tools.run("gearadmin", *words)

    assert (done.status, done.stdout) == (1, b"")
    assert b"nothing that was asked takes that" in done.stderr


def test_name_gives_no_orders_to_a_terminal() -> None:
    answer = Answer("here", "status", ["a\x1b[31m\x9b1mred\t1\t0\t0"])

    assert "a\\x1b[31m\\x9b1mred  " in table([answer], bold=False, room=80)
