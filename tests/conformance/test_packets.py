"""Every packet type once, byte for byte: the rows of the packet table."""

from __future__ import annotations

import struct

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import Server
from tests.conformance.wire import Packet, T, label


def test_reverse_goes_round_in_these_very_bytes(server: Server, dial: Dial) -> None:
    worker, client = dial(server), dial(server)

    worker.send_bytes(bytes.fromhex("00524551 00000001 00000007") + b"reverse")
    worker.send_bytes(bytes.fromhex("00524551 00000009 00000000"))
    worker.expect_bytes(bytes.fromhex("00524553 0000000a 00000000"))
    worker.send_bytes(bytes.fromhex("00524551 00000004 00000000"))
    worker.expect_nothing()

    client.send_bytes(bytes.fromhex("00524551 00000007 0000000d") + b"reverse\0\0test")
    handle = client.created()
    worker.expect_bytes(bytes.fromhex("00524553 00000006 00000000"))
    worker.send_bytes(bytes.fromhex("00524551 00000009 00000000"))
    assigned = handle + b"\0reverse\0test"
    worker.expect_bytes(
        bytes.fromhex("00524553 0000000b") + struct.pack(">I", len(assigned)) + assigned
    )
    done = handle + b"\0tset"
    worker.send_bytes(bytes.fromhex("00524551 0000000d") + struct.pack(">I", len(done)) + done)

    client.expect_bytes(bytes.fromhex("00524553 0000000d") + struct.pack(">I", len(done)) + done)
    client.expect_nothing()
    worker.expect_nothing()


# ── abilities ────────────────────────────────────────────────────────────────


def test_can_do_registers_without_an_answer(server: Server, dial: Dial, name: bytes) -> None:
    worker = dial(server)

    worker.send(T.CAN_DO, name)

    worker.expect_nothing()
    assert worker.counts(name) == (0, 0, 1)


def test_cant_do_takes_it_back_without_an_answer(server: Server, dial: Dial, name: bytes) -> None:
    worker = dial(server)
    worker.can_do(name, name + b"-other")

    worker.send(T.CANT_DO, name)

    worker.expect_nothing()
    assert worker.counts(name) == (0, 0, 0)
    assert worker.counts(name + b"-other") == (0, 0, 1)


def test_cant_do_of_what_it_cannot_do_is_nothing(server: Server, dial: Dial, name: bytes) -> None:
    worker = dial(server)

    worker.send(T.CANT_DO, name)

    worker.expect_nothing()


def test_reset_abilities_takes_all_back_without_an_answer(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker = dial(server)
    worker.can_do(name, name + b"-other")

    worker.send(T.RESET_ABILITIES)

    worker.expect_nothing()
    assert worker.counts(name) == (0, 0, 0)
    assert worker.counts(name + b"-other") == (0, 0, 0)


def test_registering_twice_counts_once(ours: Server, dial: Dial, name: bytes) -> None:
    worker = dial(ours)

    worker.can_do(name, name)
    worker.send(T.CAN_DO_TIMEOUT, name, b"1000")

    assert worker.counts(name) == (0, 0, 1)
    worker.send(T.SET_CLIENT_ID, b"twice-" + name)
    worker.send_bytes(b"workers\n")
    line = next(line for line in worker.read_list() if b" twice-" + name + b" " in line)
    assert line.endswith(b" : " + name)


def test_can_do_timeout_registers_without_an_answer(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker = dial(server)

    worker.send(T.CAN_DO_TIMEOUT, name, b"5000")

    worker.expect_nothing()
    assert worker.counts(name) == (0, 0, 1)


def test_can_do_timeout_without_a_time_is_can_do(ours: Server, dial: Dial, name: bytes) -> None:
    worker = dial(ours)

    worker.send(T.CAN_DO_TIMEOUT, name)

    worker.expect_nothing()
    assert worker.counts(name) == (0, 0, 1)


def test_one_nul_at_the_end_of_a_single_argument_is_not_meant(
    ours: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(ours), dial(ours)

    worker.send(T.CAN_DO, name + b"\0")
    handle = client.submit(name)
    assert worker.grab() == (handle, name, b"")
    client.send(T.GET_STATUS, handle + b"\0")
    client.expect(T.STATUS_RES, handle, b"1", b"1", b"0", b"0")
    worker.send(T.SET_CLIENT_ID, b"nul-" + name + b"\0")
    worker.send(T.WORK_STATUS, handle, b"1", b"2\0")
    heard = client.receive()
    assert heard.number == T.WORK_STATUS
    assert heard.body.removesuffix(b"\0") == handle + b"\x001\x002"
    assert client.status(handle) == (b"1", b"1", b"1", b"2")
    worker.send(T.WORK_FAIL, handle + b"\0")

    client.expect(T.WORK_FAIL, handle)
    worker.send_bytes(b"workers\n")
    assert b"nul-" + name in [line.split(b" ")[2] for line in worker.read_list()]


# ── submitting ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_HIGH, T.SUBMIT_JOB_LOW], ids=label)
def test_foreground_job_reports_back(server: Server, dial: Dial, name: bytes, number: int) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)

    handle = client.submit(name, b"work\0load", number=number)
    assert worker.grab() == (handle, name, b"work\0load")
    worker.send(T.WORK_COMPLETE, handle, b"re\0sult\0")

    client.expect(T.WORK_COMPLETE, handle, b"re\0sult\0")
    client.expect_nothing()


@pytest.mark.parametrize(
    "number", [T.SUBMIT_JOB_BG, T.SUBMIT_JOB_HIGH_BG, T.SUBMIT_JOB_LOW_BG], ids=str
)
def test_background_job_is_only_acknowledged(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)

    handle = client.submit(name, b"work\0load", number=number)
    assert worker.grab() == (handle, name, b"work\0load")
    worker.send(T.WORK_COMPLETE, handle, b"result")
    worker.expect_nothing()

    client.expect_nothing()


@pytest.mark.parametrize(
    ("function", "unique", "workload"),
    [
        (b"", b"", b""),
        (b"", b"u", b"w"),
        (b"a b\tc\nd", b"u v\n\xff", b"\0\0\0"),
        (b"\xff\xfe", b"\x01", b"x" * 100_000),
    ],
    ids=["all empty", "empty function", "white space", "odd bytes"],
)
def test_names_and_workloads_are_bytes_of_any_kind(
    server: Server, dial: Dial, function: bytes, unique: bytes, workload: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(function)

    handle = client.submit(function, workload, unique)
    worker.send(T.GRAB_JOB_UNIQ)

    worker.expect(T.JOB_ASSIGN_UNIQ, handle, function, unique, workload)
    worker.send(T.WORK_COMPLETE, handle, workload)
    client.expect(T.WORK_COMPLETE, handle, workload)


def test_three_megabytes_go_there_and_back(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    workload = bytes(range(256)) * 12_000

    handle = client.submit(name, workload)
    assert worker.grab() == (handle, name, workload)
    worker.send(T.WORK_COMPLETE, handle, workload)

    client.expect(T.WORK_COMPLETE, handle, workload)


def test_job_created_comes_before_any_news_of_the_job(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(server)
    wire.can_do(name)
    wire.sleep()

    wire.send(T.SUBMIT_JOB, name, b"", b"")

    # The submitter is the sleeping worker, so a NOOP may come first.
    heard = wire.receive()
    if heard == Packet(T.NOOP):
        heard = wire.receive()
        assert heard.number == T.JOB_CREATED
    else:
        assert heard.number == T.JOB_CREATED
        wire.expect(T.NOOP)


def test_submissions_of_one_connection_are_answered_in_order(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)

    for number in range(100):
        client.send(T.SUBMIT_JOB if number % 2 else T.SUBMIT_JOB_BG, name, b"", b"%d" % number)
    handles = [client.created() for _ in range(100)]

    assert len(set(handles)) == 100
    for number, handle in enumerate(handles):
        assert worker.grab() == (handle, name, b"%d" % number)


# ── grabbing ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [T.GRAB_JOB, T.GRAB_JOB_UNIQ, T.GRAB_JOB_ALL], ids=label)
def test_grab_without_a_function_or_a_job_says_no_job(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    worker = dial(server)

    worker.send(number)
    worker.expect(T.NO_JOB)
    worker.can_do(name)
    worker.send(number)

    worker.expect(T.NO_JOB)
    worker.expect_nothing()


def test_each_way_to_grab_is_answered_in_its_own_words(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    handles = [client.submit(name, b"w", b"u%d" % number) for number in range(3)]

    worker.send(T.GRAB_JOB)
    worker.expect(T.JOB_ASSIGN, handles[0], name, b"w")
    worker.send(T.GRAB_JOB_UNIQ)
    worker.expect(T.JOB_ASSIGN_UNIQ, handles[1], name, b"u1", b"w")
    worker.send(T.GRAB_JOB_ALL)
    worker.expect(T.JOB_ASSIGN_UNIQ, handles[2], name, b"u2", b"w")


def test_grabs_may_be_pipelined_and_the_jobs_run_side_by_side(
    server: Server, dial: Dial, name: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    handles = [client.submit(name, b"%d" % number) for number in range(3)]

    for _ in range(4):
        worker.send(T.GRAB_JOB)
    worker.send(T.PRE_SLEEP)

    for number, handle in enumerate(handles):
        worker.expect(T.JOB_ASSIGN, handle, name, b"%d" % number)
    worker.expect(T.NO_JOB)
    assert worker.counts(name) == (3, 3, 1)
    for handle in reversed(handles):
        worker.send(T.WORK_COMPLETE, handle, handle)
        client.expect(T.WORK_COMPLETE, handle, handle)
    assert worker.counts(name) == (0, 0, 1)


# ── status, options, identity ────────────────────────────────────────────────


def test_status_of_what_never_was_is_all_zeros(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send(T.GET_STATUS, b"H:nobody:1")
    wire.expect(T.STATUS_RES, b"H:nobody:1", b"0", b"0", b"0", b"0")
    wire.send(T.GET_STATUS_UNIQUE, b"never was")
    wire.expect(T.STATUS_RES_UNIQUE, b"never was", b"0", b"0", b"0", b"0", b"0")
    wire.send(T.GET_STATUS, b"")
    wire.expect(T.STATUS_RES, b"", b"0", b"0", b"0", b"0")


@pytest.mark.parametrize("option", [b"exceptions", b"EXCEPTIONS", b"Exceptions", b"exceptions\0"])
def test_option_exceptions_is_granted_in_the_words_it_was_asked(
    server: Server, dial: Dial, option: bytes
) -> None:
    wire = dial(server)

    wire.send(T.OPTION_REQ, option)

    wire.expect(T.OPTION_RES, option)
    wire.expect_nothing()


@pytest.mark.parametrize("option", [b"", b"nonsense", b"exception", b"exceptions2", b" exceptions"])
def test_other_options_are_unknown(server: Server, dial: Dial, option: bytes) -> None:
    wire = dial(server)

    wire.send(T.OPTION_REQ, option)

    wire.expect_error(b"UNKNOWN_OPTION", b"Server does not recognize given option")
    wire.expect_nothing()


def test_client_id_is_shown_to_administrators(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)
    wire.can_do(name)

    for client_id in (b"first", b"id-" + name):
        wire.send(T.SET_CLIENT_ID, client_id)
    wire.send_bytes(b"workers\n")

    lines = wire.read_list()
    assert [line.split(b" ", 1)[1] for line in lines if line.endswith(b" " + name)] == [
        b"127.0.0.1 id-" + name + b" : " + name
    ]


def test_client_id_cannot_garble_the_list_of_workers(ours: Server, dial: Dial, name: bytes) -> None:
    for client_id in (b"a b", b"tab\there", b"line\nfeed", b"\r", b"", b"\x1b[31m", b" : x"):
        wire = dial(ours)
        wire.can_do(name)
        wire.send(T.SET_CLIENT_ID, client_id)
        wire.send_bytes(b"workers\n")

        for line in wire.read_list():
            words = line.split(b" ")
            assert words[3] == b":"
            assert all(words[:3])
            assert all(byte > 32 for word in words[:3] for byte in word)
        wire.close()
