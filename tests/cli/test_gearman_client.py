"""``gearman`` as a client, as a process: bytes, order, exit statuses, files."""

from __future__ import annotations

import array
import fcntl
import signal
import socket
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest

from tests.cli.tools import ENVIRON, Tools, command
from tests.support import free_port, patient, wait_until


@pytest.fixture
def cat(tools: Tools) -> Tools:
    tools.work("cat", "--", "cat")
    return tools


@pytest.fixture
def wc(tools: Tools) -> Tools:
    tools.work("wc", "--", "sh", "-c", "wc -c | tr -d ' '")
    return tools


def test_a_pipe_is_one_job_and_operands_are_one_each(wc: Tools) -> None:
    assert wc.gearman("-f", "wc", stdin=b"hello").stdout == b"5\n"
    assert wc.gearman("-f", "wc", "one", "two", "three", stdin=b"not read").stdout == b"3\n3\n5\n"
    assert wc.gearman("-f", "wc", "-s", stdin=b"not read").stdout == b"0\n"
    assert wc.gearman("-f", "wc", stdin=b"").stdout == b"0\n"
    assert wc.gearman("-f", "wc", "").stdout == b"0\n"


def test_lines_are_one_job_each(wc: Tools) -> None:
    assert wc.gearman("-f", "wc", "-n", stdin=b"a\nbb\nccc").stdout == b"2\n3\n3\n"
    assert wc.gearman("-f", "wc", "-N", stdin=b"a\nbb\n\nccc").stdout == b"1\n2\n0\n3\n"
    assert wc.gearman("-f", "wc", "-n", stdin=b"").stdout == b""


def test_no_byte_of_a_line_is_lost(cat: Tools) -> None:
    lines = b"a\0b\n" + b"x" * 20_001 + b"\n\r\n\xff\xfe\nend"

    assert cat.gearman("-f", "cat", "-n", "-k", stdin=lines).stdout == lines
    assert cat.gearman("-f", "cat", "-N", "-k", stdin=b"a\nbb\nccc").stdout == b"abbccc"


def test_several_functions_get_every_workload(wc: Tools) -> None:
    wc.work("up", "--", "tr", "a-z", "A-Z")

    done = wc.gearman("-f", "wc", "-f", "up", "-P", stdin=b"hello\n")

    assert sorted(done.stdout.splitlines()) == [b"up: HELLO", b"wc: 6"]


def test_a_job_that_fails_prints_what_it_had_and_ends_with_status_1(tools: Tools) -> None:
    tools.work("bad", "--", "sh", "-c", "echo partial; exit 3")

    plain = tools.gearman("-f", "bad", "x")
    named = tools.gearman("-f", "bad", "-P", "x")

    assert (plain.status, plain.stdout) == (1, b"partial\n")
    assert plain.stderr == b"Job failed: sh exited with status 3\n"
    assert named.stdout == b"bad: partial\n"
    assert named.stderr == b"bad: Job failed: sh exited with status 3\n"


def test_every_way_to_fail_has_a_status_of_its_own(tools: Tools) -> None:
    tools.work("full", "-c", "1", "--", "sleep", "8")
    waiting = tools.start("-f", "full", "x")
    wait_until(lambda: tools.counts("full")[1] == 1)
    assert tools.run("gearadmin", "--maxqueue", "full", "1").stdout == b"OK\n"

    refused = tools.gearman("-f", "full", "y")
    late = tools.gearman("-f", "nobody", "-t", "200", "x")
    wrong = tools.gearman("--bogus")
    tools.port = free_port()
    unreachable = tools.gearman("-f", "x", "y")

    assert (refused.status, refused.stderr) == (
        4,
        b"gearman: the server refused a job for full: QUEUE_ERROR: Job queue is full\n",
    )
    assert late.status == 3
    assert b"no word from 127.0.0.1" in late.stderr
    assert wrong.status == 1
    assert wrong.stderr.startswith(b"gearman: unknown option --bogus")
    assert unreachable.status == 2
    assert b"Connection refused" in unreachable.stderr
    waiting.kill()


def test_a_connection_lost_in_the_middle_is_status_2(tools: Tools) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tools.port = listener.getsockname()[1]

        def accept_and_leave() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=accept_and_leave)
        thread.start()
        done = tools.gearman("-f", "x", "y")
        thread.join()

    assert done.status == 2
    assert b"lost" in done.stderr


def test_background_jobs_are_taken_and_told_only_if_asked(tools: Tools) -> None:
    quiet = tools.gearman("-f", "later", "-b", "x")
    told = tools.gearman("-f", "later", "-b", "-v", "x", "y")

    assert (quiet.status, quiet.stdout, quiet.stderr) == (0, b"", b"")
    assert [line.split(b": ")[0] for line in told.stdout.splitlines()] == [b"Task created"] * 2
    assert tools.counts("later")[0] == 3


def test_priorities_and_keys_reach_the_server(tools: Tools) -> None:
    for option in ("-I", "-L", "-v"):
        tools.gearman("-f", "ranked", "-b", option, "x")
    tools.gearman("-f", "ranked", "-b", "-u", "key1", "x", "y")

    (line,) = [line for line in tools.ask("prioritystatus") if line.startswith("ranked\t")]
    assert line == "ranked\t1\t2\t1\t0"
    assert "key1" in tools.ask("show unique jobs")


def test_many_lines_over_many_workers_keep_their_order_if_asked(tools: Tools) -> None:
    tools.work("slow", "-j", "8", "--", "sh", "-c", "read n; sleep 0.0$((n % 7)); echo $n")
    lines = b"".join(b"%d\n" % n for n in range(200))

    kept = tools.gearman("-f", "slow", "-n", "-k", stdin=lines)
    free = tools.gearman("-f", "slow", "-n", stdin=lines)

    assert kept.stdout == lines
    assert sorted(free.stdout.splitlines()) == sorted(lines.splitlines())
    assert free.stdout != lines


def test_lines_of_different_jobs_are_never_mixed(tools: Tools) -> None:
    script = "read n; for part in a b c d; do printf $n$part; sleep 0.01; done; echo"
    tools.work("parts", "-n", "-j", "8", "--", "sh", "-c", script)

    done = tools.gearman("-f", "parts", "-n", stdin=b"".join(b"%d\n" % n for n in range(40)))

    assert sorted(done.stdout.split()) == sorted(b"%da%db%dc%dd" % (n, n, n, n) for n in range(40))


def test_batches_make_one_job_of_many_lines(wc: Tools) -> None:
    lines = b"12345\n" * 10

    by_lines = wc.gearman("-f", "wc", "--batch-lines", "4", "-k", stdin=lines)
    by_bytes = wc.gearman("-f", "wc", "--batch-bytes", "20", "-k", stdin=lines)

    assert by_lines.stdout == b"24\n24\n12\n"
    assert by_bytes.stdout == b"18\n18\n18\n6\n"


def test_a_batch_that_does_not_fill_goes_after_a_while(cat: Tools) -> None:
    client = cat.start(
        "-f", "cat", "--batch-lines", "100", "--batch-wait", "0.1", stdin=subprocess.PIPE
    )
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(b"1\n2\n")
    client.stdin.flush()

    assert client.stdout.readline() == b"1\n"
    assert client.stdout.readline() == b"2\n"
    client.stdin.close()
    assert client.wait(patient(10)) == 0


def test_fail_fast_ends_without_waiting_for_the_rest(tools: Tools) -> None:
    tools.work("picky", "-j", "2", "--", "sh", "-c", "read n; test $n != bad || exit 1; sleep 8")

    began = time.monotonic()
    done = tools.gearman("-f", "picky", "-n", "--fail-fast", stdin=b"good\nbad\ngood\n")

    assert done.status == 1
    assert time.monotonic() - began < 8


def test_retries_give_a_job_more_than_one_chance(tools: Tools, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3"
    tools.work("moody", "--", "sh", "-c", script)

    done = tools.gearman("-f", "moody", "--retries", "5", "x")

    assert (done.status, done.stderr) == (0, b"")
    assert (tmp_path / "tries").read_text() == "x\n" * 3


def test_a_run_resumes_where_its_joblog_ends(tools: Tools, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    script = f"read n; test $n != 3 -o -e {tmp_path}/mended || exit 1; echo $n"
    tools.work("some", "--", "sh", "-c", script)
    lines = b"1\n2\n3\n4\n"
    first = tools.gearman("-f", "some", "-n", "--joblog", log, stdin=lines)
    (tmp_path / "mended").touch()

    second = tools.gearman("-f", "some", "-n", "--joblog", log, "--resume", stdin=lines + b"5\n")

    assert first.status == 1
    assert second.status == 0
    assert sorted(first.stdout.split()) == [b"1", b"2", b"4"]
    assert sorted(second.stdout.split()) == [b"3", b"5"]


def test_progress_is_told_on_stderr_alone(cat: Tools) -> None:
    done = cat.gearman("-f", "cat", "-n", "-k", "--progress", stdin=b"1\n2\n")

    assert done.stdout == b"1\n2\n"
    assert b"2 done, 0 failed, 0 under way" in done.stderr


def test_a_reader_that_leaves_ends_us_quietly(cat: Tools) -> None:
    client = cat.start("-f", "cat", "-n", stdin=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stderr is not None
    client.stdout.close()
    assert client.stdin is not None
    client.stdin.write(b"1\n")
    client.stdin.close()

    assert client.wait(patient(10)) == -signal.SIGPIPE
    assert client.stderr.read() == b""


def test_term_lets_what_was_read_be_done(cat: Tools) -> None:
    client = cat.start(
        "-f", "cat", "--batch-lines", "100", "--batch-wait", "60", stdin=subprocess.PIPE
    )
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(b"kept\n")
    client.stdin.flush()
    wait_until(lambda: not _in_the_pipe(client))

    client.send_signal(signal.SIGTERM)

    assert client.stdout.read() == b"kept\n"
    assert client.wait(patient(10)) == 0


def _in_the_pipe(client: subprocess.Popen[bytes]) -> int:
    """Bytes of its input that it has not read."""
    assert client.stdin is not None
    waiting = array.array("i", [0])
    fcntl.ioctl(client.stdin, termios.FIONREAD, waiting)
    return waiting[0]


def test_the_environment_names_servers_as_the_c_tools_have_it(wc: Tools) -> None:
    here = f"127.0.0.1:{wc.port}"
    for environ, options in (
        ({"GEARMAN_SERVER": here}, ["-h", "nowhere.invalid", "-p", "1"]),
        ({"GEARMAN_SERVERS": here}, []),
        ({"GEARMAN_SERVERS": f"127.0.0.1:{free_port()},{here}"}, []),
        ({}, ["--servers", here]),
    ):
        done = subprocess.run(
            command("gearman", *options, "-f", "wc", "four"),
            capture_output=True,
            timeout=patient(30),
            env={**ENVIRON, **environ},
        )
        assert (done.returncode, done.stdout) == (0, b"4\n"), (environ, options, done.stderr)


def test_a_pid_file_is_there_as_long_as_we_are(tools: Tools, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    client = tools.start("-f", "never", "-i", str(note), "x")
    wait_until(lambda: note.exists() and note.read_text())

    assert int(note.read_text()) == client.pid
    unwritable = tools.gearman("-f", "never", "-i", str(tmp_path / "no" / "pid"), "x")
    assert unwritable.status == 5
    assert unwritable.stderr.endswith(b"pid: No such file or directory\n")


def test_help_and_version_go_to_stdout(tools: Tools) -> None:
    for words in (["--help"], ["-H"], ["--version"]):
        for tool in ("gearman", "gearadmin"):
            done = subprocess.run(command(tool, *words), capture_output=True, timeout=patient(30))
            assert done.returncode == 0
            assert done.stdout.startswith((b"usage: ", tool.encode()))
            assert b"\x1b" not in done.stdout
