"""The command-line tools, Debian's and ours, with the servers, the C one and ours.

Each test runs four times: every tool with every server. Debian's tools with the C
server prove the test; Debian's with ours, and ours with the C server, are the point.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.conformance.servers import OURS, C, Server, absent, python_environment
from tests.conformance.wire import PATIENCE, Packet, T, Wire
from tests.support import free_port, wait_until

#: Commands of the workers: (function, words).
WORK: list[tuple[str, tuple[str, ...]]] = [
    ("wc", ("wc", "-c")),
    ("up", ("tr", "a-z", "A-Z")),
    ("cat", ("cat",)),
    ("bad", ("sh", "-c", "echo partial; exit 3")),
    ("mute", ("sh", "-c", "cat >/dev/null")),
]


@dataclass
class Tools:
    """``gearman`` and ``gearadmin`` of one kind, pointed at one server."""

    kind: str
    server: Server

    def words(self, tool: str, port: int | None = None) -> list[str]:
        """The words that a command line begins with."""
        where = ["-h", "127.0.0.1", "-p", str(port or self.server.port)]
        if self.kind == OURS:
            return [sys.executable, "-m", f"geartrain.cli.{tool}", *where]
        path = shutil.which(tool, path="/usr/bin:/usr/local/bin")
        if path is None:
            absent(f"Debian's {tool} is not installed")
        assert path is not None
        return [path, *where]

    def run(
        self, tool: str, *options: str, say: bytes = b"", port: int | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.words(tool, port), *options],
            input=say,
            capture_output=True,
            timeout=2 * PATIENCE,
            env=python_environment(),
        )

    def gearman(self, *options: str, say: bytes = b"") -> bytes:
        """What it prints; it must do well and print nothing on stderr."""
        done = self.run("gearman", *options, say=say)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout

    def gearadmin(self, *options: str) -> bytes:
        """What it prints; it must do well and print nothing on stderr."""
        done = self.run("gearadmin", *options)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout

    @contextmanager
    def working(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker in the background, ready when the server knows its functions."""
        functions = [
            options[number + 1].encode() for number, word in enumerate(options) if word == "-f"
        ]
        before = {function: self._workers(function) for function in functions}
        process = subprocess.Popen(
            [*self.words("gearman"), "-w", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=python_environment(),
        )
        try:
            wait_until(
                lambda: (
                    process.poll() is not None
                    or all(self._workers(name) > count for name, count in before.items())
                ),
                within=15,
            )
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            # Until the server has noticed, the next worker of these functions would
            # be counted as this one, and waited for in vain.
            wait_until(
                lambda: all(self._workers(name) <= count for name, count in before.items()),
                within=15,
            )

    def _workers(self, function: bytes) -> int:
        wire = self.server.connect()
        try:
            return (wire.counts(function) or (0, 0, 0))[2]
        finally:
            wire.close()


@pytest.fixture(scope="module", params=["debian", OURS])
def tools(request: pytest.FixtureRequest, server: Server) -> Iterator[Tools]:
    """Tools of each kind, with workers of the same kind at work."""
    made = Tools(request.param, server)
    with ExitStack() as stack:
        for function, command in WORK:
            stack.enter_context(made.working("-f", function, "--", *command))
        yield made


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """A connection to see what the server makes of it."""
    made = server.connect()
    yield made
    made.close()


# ── gearman, as a client ─────────────────────────────────────────────────────


def test_standard_input_is_the_workload(tools: Tools) -> None:
    assert tools.gearman("-f", "wc", say=b"hello") == b"5\n"
    assert tools.gearman("-f", "up", say=b"hello\nworld\n") == b"HELLO\nWORLD\n"


def test_each_operand_is_a_job(tools: Tools) -> None:
    assert tools.gearman("-f", "wc", "one", "two", "three", say=b"ignored") == b"3\n3\n5\n"


def test_each_line_is_a_job(tools: Tools) -> None:
    assert tools.gearman("-f", "wc", "-n", say=b"a\nbb\nccc\n") == b"2\n3\n4\n"
    assert tools.gearman("-f", "cat", "-n", say=b"a\nbb\nccc\n") == b"a\nbb\nccc\n"


def test_each_line_without_its_end_is_a_job(tools: Tools) -> None:
    assert tools.gearman("-f", "wc", "-N", say=b"a\nbb\nccc\n") == b"1\n2\n3\n"
    assert tools.gearman("-f", "cat", "-N", say=b"a\nbb\nccc\n") == b"abbccc"


def test_last_line_without_an_end_is_whole(tools: Tools) -> None:
    if tools.kind != OURS:
        pytest.skip("Debian's loses its last letter")
    assert tools.gearman("-f", "cat", "-N", say=b"a\nbb\nccc") == b"abbccc"


def test_no_lines_are_no_jobs(tools: Tools) -> None:
    assert tools.gearman("-f", "wc", "-n") == b""


def test_empty_workload_without_reading(tools: Tools) -> None:
    assert tools.gearman("-f", "wc", "-s", say=b"ignored") == b"0\n"


def test_several_functions_get_the_same_workload(tools: Tools) -> None:
    printed = tools.gearman("-f", "wc", "-f", "up", "-P", say=b"hello\n")

    assert sorted(printed.splitlines()) == [b"up: HELLO", b"wc: 6"]


def test_handle_is_told_if_asked_for(tools: Tools) -> None:
    printed = tools.gearman("-f", "wc", "-v", "hi")

    lines = sorted(printed.splitlines())
    assert len(lines) == 2
    assert lines[0] == b"2"
    assert re.fullmatch(rb"Task created: H:\S+", lines[1])


def test_background_job_is_left_to_the_server(tools: Tools, wire: Wire) -> None:
    function = f"later-{tools.kind}"

    assert tools.gearman("-f", function, "-b", "hi") == b""
    printed = tools.gearman("-f", function, "-b", "-v", say=b"from input")

    handle = printed.removeprefix(b"Task created: ").removesuffix(b"\n")
    assert wire.status(handle) == (b"1", b"0", b"0", b"0")
    wire.can_do(function.encode())
    assert wire.workloads() == [b"hi", b"from input"]


def test_priority_is_as_asked(tools: Tools, wire: Wire) -> None:
    function = f"ranked-{tools.kind}"

    for options in (["-L"], [], ["-I"], ["-L", "-I"]):
        tools.gearman("-f", function, "-b", *options, " ".join(["job", *options]))

    assert wire.queued(function.encode()) == (2, 1, 1)
    wire.can_do(function.encode())
    assert wire.workloads() == [b"job -I", b"job -L -I", b"job", b"job -L"]


def test_unique_is_as_asked(tools: Tools, wire: Wire) -> None:
    function = f"unique-{tools.kind}"

    for workload in ("1", "2"):
        tools.gearman("-f", function, "-b", "-u", "same", workload)
    for workload in ("3", "3", "4"):
        tools.gearman("-f", function, "-b", "-u", "-", workload)
    for workload in ("5", "5"):
        tools.gearman("-f", function, "-b", workload)

    wire.can_do(function.encode())
    assert wire.workloads() == [b"1", b"3", b"4", b"5", b"5"]


def test_hash_of_the_workload_is_the_one_of_libgearman(tools: Tools, wire: Wire) -> None:
    function = f"hashed-{tools.kind}"
    tools.gearman("-f", function, "-b", "-u", "#", "a")

    wire.can_do(function.encode())
    wire.send(T.GRAB_JOB_UNIQ)

    heard = wire.receive()
    handle, _function, unique, workload = heard.body.split(b"\0")
    assert (unique, workload) == (b"2289228744", b"a")
    wire.send(T.WORK_COMPLETE, handle, b"")


def test_failed_job_is_told_and_counts(tools: Tools) -> None:
    done = tools.run("gearman", "-f", "bad", "x")

    assert done.stdout == b"partial\n"
    # Ours adds the reason, where the server passes one on.
    assert re.search(rb"^Job failed(: .+)?$", done.stderr, re.MULTILINE)
    assert done.returncode == 1


def test_prefix_goes_before_failures_too(tools: Tools) -> None:
    done = tools.run("gearman", "-f", "bad", "-P", "x")

    assert done.stdout == b"bad: partial\n"
    assert re.search(rb"^bad: Job failed(: .+)?$", done.stderr, re.MULTILINE)


def test_result_without_a_byte_prints_nothing(tools: Tools) -> None:
    assert tools.gearman("-f", "mute", "x") == b""


def test_waiting_ends_when_it_was_asked_to(tools: Tools) -> None:
    done = tools.run("gearman", "-t", "200", "-f", "nobody", "x")

    assert done.stdout == b""
    assert done.stderr
    assert (done.returncode != 0) == (tools.kind == OURS)


def test_server_that_is_not_there_is_told(tools: Tools) -> None:
    done = tools.run("gearman", "-f", "wc", "x", port=free_port())

    assert done.stdout == b""
    assert done.stderr
    assert (done.returncode != 0) == (tools.kind == OURS)


def test_full_queue_is_told(tools: Tools, wire: Wire) -> None:
    function = f"full-{tools.kind}"
    tools.gearman("-f", function, "-b", "x")
    wire.send_bytes(b"maxqueue %s 1\r\n" % function.encode())
    wire.expect_bytes(b"OK\r\n")

    done = tools.run("gearman", "-f", function, "-b", "y")

    assert b"Job queue is full" in done.stderr
    assert (done.returncode != 0) == (tools.kind == OURS)


def test_status_warning_and_exception_are_printed(tools: Tools, wire: Wire) -> None:
    function = f"chatty-{tools.kind}"
    wire.can_do(function.encode())
    process = subprocess.Popen(
        [*tools.words("gearman"), "-f", function, "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=python_environment(),
    )
    wait_until(lambda: wire.counts(function.encode()) == (1, 0, 1))
    handle, _function, _workload = wire.grab()

    wire.send(T.WORK_DATA, handle, b"data ")
    wire.send(T.WORK_STATUS, handle, b"1", b"4")
    wire.send(T.WORK_WARNING, handle, b"careful ")
    wire.send(T.WORK_COMPLETE, handle, b"done")

    printed, errors = process.communicate(timeout=PATIENCE)
    if tools.kind == OURS:
        assert printed == b"data 25% Complete\ndone"
    else:  # prints progress through a buffer and data past it
        assert printed == b"data done25% Complete\n"
    assert errors == b"careful "
    assert process.returncode == 0


def test_exception_ends_the_waiting(tools: Tools, wire: Wire) -> None:
    if tools.kind != OURS and tools.server.kind == C:
        pytest.skip("the C server's WORK_FAIL has a stray NUL, for which this tool waits for ever")
    function = f"raising-{tools.kind}"
    wire.can_do(function.encode())
    process = subprocess.Popen(
        [*tools.words("gearman"), "-f", function, "x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=python_environment(),
    )
    wait_until(lambda: wire.counts(function.encode()) == (1, 0, 1))
    handle, _function, _workload = wire.grab()

    wire.send(T.WORK_EXCEPTION, handle, b"boom")

    printed, errors = process.communicate(timeout=PATIENCE)
    assert printed == b""
    assert errors
    assert process.returncode == 1


# ── gearman, as a worker ─────────────────────────────────────────────────────


def test_worker_without_a_command_prints_the_workload(tools: Tools, wire: Wire) -> None:
    function = f"print-{tools.kind}"
    with tools.working("-f", function, "-c", "1") as worker:
        handle = wire.submit(function.encode(), b"for the worker's eyes")

        wire.expect(T.WORK_COMPLETE, handle, b"")
        printed, _errors = worker.communicate(timeout=PATIENCE)

    assert printed == b"for the worker's eyes"


def test_worker_ends_after_as_many_jobs_as_it_was_asked(tools: Tools, wire: Wire) -> None:
    function = f"count-{tools.kind}"
    with tools.working("-f", function, "-c", "2", "--", "wc", "-c") as worker:
        for workload in (b"1", b"22"):
            handle = wire.submit(function.encode(), workload)
            wire.expect(T.WORK_COMPLETE, handle, b"%d\n" % len(workload))

        assert worker.wait(PATIENCE) == 0


def test_worker_takes_every_function_and_every_way_to_submit(tools: Tools, wire: Wire) -> None:
    functions = [f"many{number}-{tools.kind}".encode() for number in range(2)]
    options = [word for name in functions for word in ("-f", name.decode())]
    with tools.working(*options, "--", "wc", "-c"):
        for function in functions:
            for number in (T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB_LOW):
                handle = wire.submit(function, b"12345", b"unique", number)
                wire.expect(T.WORK_COMPLETE, handle, b"5\n")
            if tools.kind == OURS:  # Debian's takes a job with a reducer, and says nothing of it
                wire.send(T.SUBMIT_REDUCE_JOB, function, b"", b"reducer", b"", b"123")
                handle = wire.created()
                wire.expect(T.WORK_COMPLETE, handle, b"3\n")
            handle = wire.submit(function, b"123", number=T.SUBMIT_JOB_BG)
            wait_until(lambda: wire.status(handle)[0] == b"0")  # noqa: B023


def expect_failure(wire: Wire, handle: bytes) -> None:
    """The job fails; our worker says why in a warning first."""
    heard = wire.receive()
    if heard.number == T.WORK_WARNING:
        assert heard.body.startswith(handle + b"\0sh ")
        heard = wire.receive()
    assert heard == Packet(T.WORK_FAIL, handle)


def test_failing_command_fails_the_job_after_its_output(tools: Tools, wire: Wire) -> None:
    handle = wire.submit(b"bad", b"x")

    wire.expect(T.WORK_DATA, handle, b"partial\n")
    expect_failure(wire, handle)


def test_command_killed_by_a_signal_fails_the_job(tools: Tools, wire: Wire) -> None:
    if tools.kind != OURS:
        pytest.skip("Debian's takes it for success")
    function = f"killed-{tools.kind}"
    with tools.working("-f", function, "--", "sh", "-c", "kill -9 $$"):
        handle = wire.submit(function.encode(), b"x")

        expect_failure(wire, handle)


def test_megabyte_goes_through_a_filter(tools: Tools) -> None:
    if tools.kind != OURS:
        pytest.skip("Debian's blocks when both pipes are full")
    data = os.urandom(1 << 20)

    assert tools.gearman("-f", "cat", say=data) == data


def test_lines_are_sent_as_they_come(tools: Tools, wire: Wire) -> None:
    if tools.kind != OURS:
        pytest.skip("Debian's sends the lines before again with each")
    function = f"lines-{tools.kind}"
    with tools.working("-f", function, "-n", "--", "printf", r"a\nb\nc\n"):
        handle = wire.submit(function.encode(), b"x")

        for line in (b"a\n", b"b\n", b"c\n"):
            wire.expect(T.WORK_DATA, handle, line)
        wire.expect(T.WORK_COMPLETE, handle, b"")


def test_death_of_a_worker_gives_its_job_to_another(tools: Tools, wire: Wire) -> None:
    function = f"dying-{tools.kind}"
    with tools.working("-f", function, "--", "sleep", "60") as worker:
        handle = wire.submit(function.encode(), b"x")
        wait_until(lambda: wire.status(handle)[1] == b"1")
        worker.kill()
        worker.wait()
        wait_until(lambda: wire.counts(function.encode()) == (1, 0, 0))

    with tools.working("-f", function, "--", "wc", "-c"):
        wire.expect(T.WORK_COMPLETE, handle, b"1\n")


def test_tools_of_both_kinds_do_each_others_jobs(tools: Tools) -> None:
    other = Tools("debian" if tools.kind == OURS else OURS, tools.server)

    assert other.gearman("-f", "up", "hello", "world") == b"HELLOWORLD"
    assert other.gearman("-f", "wc", say=b"x" * 50_000) == b"50000\n"


# ── gearadmin ────────────────────────────────────────────────────────────────


def test_version_pid_and_level(tools: Tools) -> None:
    assert tools.gearadmin("--getpid") == b"%d\n" % tools.server.pid
    assert re.fullmatch(rb"\S+\n", tools.gearadmin("--server-version"))
    assert tools.gearadmin("--server-verbose").strip() in (b"ERROR", b"NOTICE")


def test_lists_are_the_servers_own_lines(tools: Tools, wire: Wire) -> None:
    function = f"listed-{tools.kind}".encode()
    worker = tools.server.connect()
    worker.send(T.SET_CLIENT_ID, b"w1-" + function)
    worker.can_do(function)
    handle = wire.submit(function, b"w", b"u-" + function, T.SUBMIT_JOB_BG)

    for option, line in (
        ("--status", function + b"\t1\t0\t1"),
        ("--priority-status", function + b"\t0\t1\t0\t1"),
        ("--show-jobs", handle + b"\t0\t0\t1"),
        ("--show-unique-jobs", b"u-" + function),
    ):
        printed = tools.gearadmin(option)
        assert printed.endswith(b".\n")
        assert line in printed.split(b"\n")
    assert re.search(
        rb"^\d+ 127\.0\.0\.1 w1-%s : %s$" % (function, function),
        tools.gearadmin("--workers"),
        re.MULTILINE,
    )
    worker.workloads()
    worker.close()


def test_functions_are_made_and_dropped(tools: Tools, wire: Wire) -> None:
    function = f"made-{tools.kind}"

    assert tools.gearadmin("--create-function", function) == b"OK\n"
    assert wire.counts(function.encode()) == (0, 0, 0)
    assert tools.gearadmin("--drop-function", function) == b"OK\n"
    assert wire.counts(function.encode()) is None


def test_jobs_are_cancelled(tools: Tools, wire: Wire) -> None:
    handle = wire.submit(f"cancelled-{tools.kind}".encode())

    assert tools.gearadmin("--cancel-job", handle.decode()) == b"OK\n"

    wire.expect(T.WORK_FAIL, handle)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--cancel-job", "H:no:9"], b"UNKNOWN_JOB"),
        (["--drop-function", "nosuch"], b"function not found"),
        (["--drop-function", "wc"], b"there are still connected workers or executing clients"),
    ],
    ids=["cancel", "drop unknown", "drop used"],
)
def test_refusals_are_told(tools: Tools, options: list[str], error: bytes) -> None:
    done = tools.run("gearadmin", *options)

    assert done.stdout == b""
    assert error in done.stderr
    assert done.stderr.startswith(b"Error: ")
    assert (done.returncode != 0) == (tools.kind == OURS)


def test_several_questions_are_answered_in_the_order_of_old(tools: Tools, wire: Wire) -> None:
    function = f"several-{tools.kind}".encode()

    printed = tools.gearadmin("--status", "--create-function", function.decode(), "--getpid")

    assert printed.startswith(b"%d\nOK\n" % tools.server.pid)
    assert function + b"\t0\t0\t0\n" in printed
    assert printed.endswith(b".\n")


def test_absent_server_is_told(tools: Tools) -> None:
    done = tools.run("gearadmin", "--status", port=free_port())

    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")


def test_question_about_nothing_prints_help(tools: Tools) -> None:
    done = tools.run("gearadmin")

    assert done.returncode == 1
    assert b"--status" in done.stdout + done.stderr


def test_old_shutdown_is_refused(tools: Tools) -> None:
    done = tools.run("gearadmin", "--shutdown")

    assert done.returncode == 1
    assert tools.server.alive()
    with socket.create_connection(tools.server.address):
        pass
