"""The text protocol, byte for byte: every transcript that administrators rely on."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, Wire, hang_up, label, packet
from tests.support import wait_until

INCOMPLETE = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+"
UNKNOWN = b"ERR UNKNOWN_COMMAND Unknown+server+command"

#: What is said, and what is answered: where neither jobs nor functions matter.
TALK = [
    (b"\n", UNKNOWN + b"\r\n"),
    (b"\r\n", UNKNOWN + b"\r\n"),
    (b" version\n", UNKNOWN + b"\r\n"),
    (b"foo\n", UNKNOWN + b"foo\r\n"),
    (b"foo bar\r\n", UNKNOWN + b"foo\r\n"),
    (b"shutdown\n", UNKNOWN + b"shutdown\r\n"),
    (b"shutdown graceful\r\n", UNKNOWN + b"shutdown\r\n"),
    (b"priority status\n", UNKNOWN + b"priority\r\n"),
    (b"priority-status\n", UNKNOWN + b"priority-status\r\n"),
    (b"1 2 3 4 5\n", UNKNOWN + b"1\r\n"),
    (b"maxqueue\n", INCOMPLETE + b"maxqueue\r\n"),
    (b"MAXQUEUE\n", INCOMPLETE + b"MAXQUEUE\r\n"),
    (b"maxqueue nosuch 3\n", b"OK\r\n"),
    (b"create\n", INCOMPLETE + b"create\r\n"),
    (b"create function\r\n", INCOMPLETE + b"create\r\n"),
    (b"create foo x\r\n", INCOMPLETE + b"create\r\n"),
    (b"create function a b\r\n", INCOMPLETE + b"create\r\n"),
    (b"drop\n", INCOMPLETE + b"drop\r\n"),
    (b"drop function\n", INCOMPLETE + b"drop\r\n"),
    (b"drop foo x\n", INCOMPLETE + b"drop\r\n"),
    (b"drop function nosuchfunction\n", b"ERR function not found\r\n"),
    (b"cancel\n", UNKNOWN + b"cancel\r\n"),
    (b"cancel job\n", UNKNOWN + b"cancel\r\n"),
    (b"cancel job H:nope:1\n", b"ERR UNKNOWN_JOB\r\n"),
    (b"cancel job H:nope:1\r\n", b"ERR UNKNOWN_JOB\r\n"),
    (b"cancel foo x\n", b"ERR UNKNOWN_ERROR\r\n"),
    (b"cancel job a b\n", b"ERR UNKNOWN_ERROR\r\n"),
    (b"show\n", UNKNOWN + b"show\r\n"),
    (b"show foo\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show jobs x\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show unique\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show unique x\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
]


@pytest.mark.parametrize(("said", "answered"), TALK, ids=label)
def test_answer_is_the_one_that_scripts_know(
    server: Server, dial: Dial, said: bytes, answered: bytes
) -> None:
    wire = dial(server)

    wire.send_bytes(said)

    wire.expect_bytes(answered)
    wire.expect_nothing()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=label)
def test_commands_in_one_write_are_answered_in_order(
    server: Server, dial: Dial, end: bytes
) -> None:
    wire = dial(server)
    words = [
        (b"getpid", b"OK %d\n" % server.pid),
        (b"foo", UNKNOWN + b"foo\r\n"),
        (b"GetPid", b"OK %d\n" % server.pid),
        (b"cancel job H:nope:1", b"ERR UNKNOWN_JOB\r\n"),
        (b"", UNKNOWN + b"\r\n"),
        (b"getpid", b"OK %d\n" % server.pid),
    ]

    wire.send_bytes(b"".join(word + end for word, _ in words))

    wire.expect_bytes(b"".join(answer for _, answer in words))
    wire.expect_nothing()


def test_version_is_one_word(server: Server, dial: Dial) -> None:
    wire = dial(server)

    for said in (b"version\n", b"VERSION\r\n", b"version a b c d\n", b"version  \n"):
        wire.send_bytes(said)
        answer = wire.read_line()
        assert answer.startswith(b"OK ")
        assert answer.endswith(b"\n")
        assert not answer.endswith(b"\r\n")
        assert len(answer.split()) == 2
    wire.expect_nothing()


@pytest.mark.parametrize("said", [b"getpid\n", b"getpid\r\n", b"GETPID\n", b"getpid a b c d\n"])
def test_getpid_is_the_pid(server: Server, dial: Dial, said: bytes) -> None:
    wire = dial(server)

    wire.send_bytes(said)

    wire.expect_bytes(b"OK %d\n" % server.pid)


@pytest.mark.parametrize("level", ["FATAL", "WARNING", "INFO"])
def test_verbose_is_the_level(start: Start, kind: str, dial: Dial, level: str) -> None:
    wire = dial(start(kind, "--verbose", level))

    wire.send_bytes(b"verbose\r\n")

    wire.expect_bytes(b"OK %s\n" % level.encode())


def test_nul_in_a_line_cuts_it(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send_bytes(b"getpid\0 and more\n")

    wire.expect_bytes(b"OK %d\n" % server.pid)
    wire.expect_nothing()


def test_words_may_be_far_apart(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)

    wire.send_bytes(b"create   function    %s\r\n" % name)
    wire.expect_bytes(b"OK\r\n")

    assert wire.counts(name) == (0, 0, 0)


def test_answer_comes_before_the_good_bye(ours: Server, dial: Dial) -> None:
    for said in (b"getpid\n", b"version\nstatus\ngetpid\n"):
        wire = dial(ours)

        wire.send_bytes(said)
        wire.end_sending()

        heard = b""
        while data := wire.socket.recv(65536):
            heard += data
        assert heard.endswith(b"OK %d\n" % ours.pid)


@pytest.mark.parametrize(
    "said", [b"1 2 3 4 5 6\n", b"maxqueue f 5 6 7 8\n", b"version 1 2 3 4 5 6\n"], ids=label
)
def test_too_many_words_harm_nobody(ours: Server, dial: Dial, said: bytes) -> None:
    wire = dial(ours)

    wire.send_bytes(said)
    answer = wire.read_line()

    assert answer.startswith((b"ERR ", b"OK "))
    wire.expect_nothing()


# ── lists ────────────────────────────────────────────────────────────────────


def test_status_of_a_new_server_is_empty(start: Start, kind: str, dial: Dial) -> None:
    wire = dial(start(kind))

    for said in (b"status\n", b"prioritystatus\n", b"show jobs\n", b"show unique jobs\n"):
        wire.send_bytes(said)
        wire.expect_bytes(b".\n")
    wire.send_bytes(b"workers\n")
    lines = wire.read_list()
    assert len(lines) == 1
    assert lines[0].split(b" ", 1)[1] == b"127.0.0.1 - :"


def test_lists_are_as_scripts_know_them(start: Start, kind: str, dial: Dial) -> None:
    server = start(kind)
    worker, client = dial(server), dial(server)
    worker.send(T.SET_CLIENT_ID, b"worker-one")
    worker.can_do(b"reverse")
    running = client.submit(b"reverse", b"w", b"u0")
    worker.grab()

    client.send_bytes(b"status\n")
    client.expect_bytes(b"reverse\t1\t1\t1\n.\n")
    client.send_bytes(b"prioritystatus\r\n")
    client.expect_bytes(b"reverse\t0\t0\t0\t1\n.\n")

    def only_the_two_are_listed() -> bool:
        # The connection that asked whether the server is up may be listed a moment longer.
        client.send_bytes(b"workers\n")
        lines = sorted(line.split(b" ", 1)[1] for line in client.read_list())
        return lines == [b"127.0.0.1 - :", b"127.0.0.1 worker-one : reverse"]

    wait_until(only_the_two_are_listed, within=5)
    worker.send(T.WORK_COMPLETE, running, b"")
    client.expect(T.WORK_COMPLETE, running, b"")

    handles = [
        client.submit(b"reverse", b"w", b"u1", T.SUBMIT_JOB_BG),
        client.submit(b"reverse", b"w", b"u2", T.SUBMIT_JOB_HIGH_BG),
        client.submit(b"reverse", b"w", b"", T.SUBMIT_JOB_LOW),
    ]
    client.send_bytes(b"status\nprioritystatus\n")
    client.expect_bytes(b"reverse\t3\t0\t1\n.\nreverse\t1\t1\t1\t1\n.\n")
    client.send_bytes(b"show jobs\n")
    assert sorted(client.read_list()) == sorted(
        [handles[0] + b"\t0\t0\t1", handles[1] + b"\t0\t0\t1", handles[2] + b"\t0\t0\t0"]
    )
    client.send_bytes(b"show unique jobs\n")
    assert sorted(client.read_list()) == [b"", b"u1", b"u2"]
    client.expect_nothing()


def test_functions_stay_in_the_status_with_zeros(server: Server, dial: Dial, name: bytes) -> None:
    wire, worker = dial(server), dial(server)
    worker.can_do(name)
    wire.submit(name)
    worker.workloads()

    hang_up(worker, dial(server))

    wire.receive()
    assert wire.counts(name) == (0, 0, 0)


def test_workers_lists_the_newest_function_first(server: Server, dial: Dial, name: bytes) -> None:
    worker = dial(server)
    worker.can_do(name + b"a", name + b"b", name + b"c")

    worker.send_bytes(b"workers\n")

    assert any(
        line.endswith(b" 127.0.0.1 - : " + b" ".join([name + b"c", name + b"b", name + b"a"]))
        for line in worker.read_list()
    )


def test_workers_has_a_line_for_each_connection_with_a_number_of_its_own(
    server: Server, dial: Dial
) -> None:
    wires = [dial(server) for _ in range(10)]
    for wire in wires:
        wire.expect_nothing()

    wires[0].send_bytes(b"workers\n")

    lines = wires[0].read_list()
    numbers = [line.split(b" ")[0] for line in lines]
    assert len(lines) >= 10
    assert len(set(numbers)) == len(numbers)
    assert all(number.isdigit() for number in numbers)


def test_odd_names_cannot_garble_the_lists(ours: Server, dial: Dial) -> None:
    wire = dial(ours)
    odd = [b"", b"a b", b"tab\there", b"line\nfeed", b"\r", b".", b"\x1b[31m"]
    for function in odd:
        wire.send(T.CAN_DO, function)
        wire.submit(function, b"w", function, T.SUBMIT_JOB_BG)

    wire.send_bytes(b"status\nprioritystatus\nworkers\nshow jobs\n")

    for line in wire.read_list():
        assert len(line.split(b"\t")) == 4, line
    for line in wire.read_list():
        assert len(line.split(b"\t")) == 5, line
    for line in wire.read_list():
        assert b" :" in line, line
    for line in wire.read_list():
        assert len(line.split(b"\t")) == 4, line
    wire.expect_nothing()
    wire.send(T.RESET_ABILITIES)


# ── create and drop ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=label)
def test_created_function_has_its_whole_name(
    ours: Server, dial: Dial, name: bytes, end: bytes
) -> None:
    wire = dial(ours)

    for _ in range(2):
        wire.send_bytes(b"create function " + name + end)
        wire.expect_bytes(b"OK\r\n")

    assert wire.counts(name) == (0, 0, 0)


def test_created_function_is_listed(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)

    wire.send_bytes(b"CREATE FUNCTION %s\r\n" % name)
    wire.expect_bytes(b"OK\r\n")

    assert wire.counts(name) == (0, 0, 0)
    assert wire.queued(name) == (0, 0, 0)


def test_dropped_function_is_gone_whatever_its_case(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(server)
    wire.send_bytes(b"create function %s\r\n" % name)
    wire.expect_bytes(b"OK\r\n")

    wire.send_bytes(b"drop function %s\r\n" % name.upper())
    wire.expect_bytes(b"OK\r\n")

    assert wire.counts(name) is None
    wire.send_bytes(b"drop function %s\r\n" % name)
    wire.expect_bytes(b"ERR function not found\r\n")


def test_function_with_a_worker_is_not_dropped(server: Server, dial: Dial, name: bytes) -> None:
    wire, worker = dial(server), dial(server)
    worker.can_do(name)

    wire.send_bytes(b"drop function %s\r\n" % name)

    wire.expect_bytes(b"ERR there are still connected workers or executing clients\r\n")
    hang_up(worker, wire)
    wire.send_bytes(b"drop function %s\r\n" % name)
    wire.expect_bytes(b"OK\r\n")


def test_function_with_a_running_job_is_not_dropped(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire, worker = dial(server), dial(server)
    worker.can_do(name)
    wire.submit(name, number=T.SUBMIT_JOB_BG)
    worker.grab()

    wire.send_bytes(b"drop function %s\r\n" % name)

    wire.expect_bytes(b"ERR there are still connected workers or executing clients\r\n")


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_function_with_a_queued_job_is_not_dropped(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    wire = dial(ours)
    handle = wire.submit(name, number=number)

    wire.send_bytes(b"drop function %s\r\n" % name)
    wire.expect_bytes(b"ERR there are still connected workers or executing clients\r\n")

    assert wire.status(handle) == (b"1", b"0", b"0", b"0")
    wire.can_do(name)
    assert wire.grab()[0] == handle


# ── cancel ───────────────────────────────────────────────────────────────────


def cancel(wire: Wire, handle: bytes) -> None:
    wire.send_bytes(b"cancel job %s\r\n" % handle)
    wire.expect_bytes(b"OK\r\n")


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_LOW], ids=label)
def test_clients_of_a_cancelled_job_hear_that_it_failed(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    one, two, wire, worker = (dial(server) for _ in range(4))
    handle = one.submit(name, b"w", b"same", number)
    two.submit(name, b"w", b"same")

    cancel(wire, handle)

    one.expect(T.WORK_FAIL, handle)
    two.expect(T.WORK_FAIL, handle)
    worker.can_do(name)
    worker.grab_none()
    for client in (one, two):
        client.expect_nothing()


def test_cancelled_background_job_never_runs(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    handle = client.submit(name, number=T.SUBMIT_JOB_BG)

    cancel(client, handle)

    worker.can_do(name)
    worker.grab_none()
    client.expect_nothing()


def test_cancelled_job_is_gone_at_once(ours: Server, dial: Dial, name: bytes) -> None:
    client = dial(ours)
    handle = client.submit(name, b"w", b"u", T.SUBMIT_JOB_BG)

    cancel(client, handle)

    assert client.counts(name) == (0, 0, 0)
    assert client.status(handle) == (b"0", b"0", b"0", b"0")
    client.send_bytes(b"cancel job %s\n" % handle)
    client.expect_bytes(b"ERR UNKNOWN_JOB\r\n")


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_same_unique_after_a_cancel_is_a_new_job(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, worker = dial(ours), dial(ours)
    handle = client.submit(name, b"old", b"same", T.SUBMIT_JOB_BG)
    cancel(client, handle)

    new = client.submit(name, b"new", b"same", number)

    assert new != handle
    worker.can_do(name)
    assert worker.grab() == (new, name, b"new")


def test_cancelled_running_job_reports_to_nobody(ours: Server, dial: Dial, name: bytes) -> None:
    client, wire, worker = dial(ours), dial(ours), dial(ours)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    cancel(wire, handle)

    client.expect(T.WORK_FAIL, handle)
    worker.send(T.WORK_DATA, handle, b"d")
    worker.send(T.WORK_STATUS, handle, b"1", b"2")
    worker.send(T.WORK_COMPLETE, handle, b"r")
    worker.expect_nothing()
    client.expect_nothing()
    assert wire.counts(name) == (0, 0, 1)


def test_cancelled_running_job_does_not_run_again_if_the_worker_dies(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker, second = dial(server), dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()
    cancel(second, handle)

    hang_up(worker, second)

    second.can_do(name)
    second.grab_none()
    assert second.counts(name) == (0, 0, 1)


def test_handle_must_be_exact(server: Server, dial: Dial, name: bytes) -> None:
    client = dial(server)
    handle = client.submit(name)

    for other in (handle[:-1], handle + b"0", handle.lower()):
        client.send_bytes(b"cancel job %s\r\n" % other)
        client.expect_bytes(b"ERR UNKNOWN_JOB\r\n")

    assert client.status(handle) == (b"1", b"0", b"0", b"0")


# ── in company ───────────────────────────────────────────────────────────────


def test_text_answer_waits_for_the_submission_before_it(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(server)

    wire.send_bytes(packet(T.SUBMIT_JOB_BG, name, b"", b"") + b"getpid\n" + packet(T.GRAB_JOB))

    wire.created()
    wire.expect_bytes(b"OK %d\n" % server.pid)
    wire.expect(T.NO_JOB)


def test_shutdown_is_there_only_if_it_was_asked_for(ours: Server, dial: Dial) -> None:
    wire = dial(ours)

    for said in (b"shutdown\n", b"SHUTDOWN\r\n", b"shutdown graceful\r\n", b"shutdown now\n"):
        wire.send_bytes(said)
        assert wire.read_line().startswith(UNKNOWN)

    assert ours.alive()


def test_health_check_that_says_nothing_is_no_error(start: Start, dial: Dial) -> None:
    server = start(OURS)
    for number in range(50):
        wire = server.connect()
        wire.cut() if number % 2 else wire.close()

    wire = dial(server)
    wait_until(lambda: _connections(wire) == 1)

    assert "ERROR" not in server.log()
    assert "Traceback" not in server.log()


def _connections(wire: Wire) -> int:
    wire.send_bytes(b"workers\n")
    return len(wire.read_list())
