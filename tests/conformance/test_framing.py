"""Where a message begins and ends, and what becomes of a broken one."""

from __future__ import annotations

import struct

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import RESPONSE, T, Wire, label, packet
from tests.support import wait_until

#: Sent by servers only, or unused, or never implemented by anybody; each with a body
#: that has as many arguments as its row of the packet table.
NOT_REQUESTS = [
    (T.UNUSED, b""),
    (T.NOOP, b""),
    (T.JOB_CREATED, b"H:x:1"),
    (T.NO_JOB, b""),
    (T.JOB_ASSIGN, b"H:x:1\0f\0w"),
    (T.ECHO_RES, b"data"),
    (T.ERROR, b"code\0text"),
    (T.STATUS_RES, b"H:x:1\x000\x000\x000\x000"),
    (T.ALL_YOURS, b""),
    (T.OPTION_RES, b"exceptions"),
    (T.JOB_ASSIGN_UNIQ, b"H:x:1\0f\0u\0w"),
    (T.SUBMIT_JOB_SCHED, b"f\0u\x001\x002\x003\x004\x005\0w"),
    (T.JOB_ASSIGN_ALL, b"H:x:1\0f\0u\0r\0w"),
    (T.STATUS_RES_UNIQUE, b"u\x000\x000\x000\x000\x000"),
]

UNKNOWN = [0, 43, 44, 99, 127, 128, 255, 256, 0xFFFF, 0x10000, 0x01000000, 0x7FFFFFFF]
NEGATIVE = [0x80000000, 0x80000001, 0x80000007, 0xC0000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF]

#: Requests with one NUL too few, or more; and how many arguments each has.
TOO_FEW_ARGUMENTS = [
    *(
        (number, body)
        for number in (
            T.SUBMIT_JOB,
            T.SUBMIT_JOB_BG,
            T.SUBMIT_JOB_HIGH,
            T.SUBMIT_JOB_HIGH_BG,
            T.SUBMIT_JOB_LOW,
            T.SUBMIT_JOB_LOW_BG,
        )
        for body in (b"", b"reverse", b"reverse\0unique")
    ),
    *((T.SUBMIT_JOB_EPOCH, body) for body in (b"", b"f", b"f\0u", b"f\0u\x001")),
    *(
        (number, body)
        for number in (T.SUBMIT_REDUCE_JOB, T.SUBMIT_REDUCE_JOB_BACKGROUND)
        for body in (b"", b"f", b"f\0u", b"f\0u\0r")
    ),
    *((T.WORK_STATUS, body) for body in (b"", b"H:x:1", b"H:x:1\x001")),
]

#: A request of each type that a server knows, with all its arguments.
EVERY_REQUEST = [
    (T.CAN_DO, b"f"),
    (T.CANT_DO, b"f"),
    (T.RESET_ABILITIES, b""),
    (T.PRE_SLEEP, b""),
    (T.SUBMIT_JOB, b"f\0\0w"),
    (T.GRAB_JOB, b""),
    (T.WORK_STATUS, b"H:x:1\x001\x002"),
    (T.WORK_COMPLETE, b"H:x:1\0r"),
    (T.WORK_FAIL, b"H:x:1"),
    (T.GET_STATUS, b"H:x:1"),
    (T.ECHO_REQ, b"x"),
    (T.SUBMIT_JOB_BG, b"f\0\0w"),
    (T.SUBMIT_JOB_HIGH, b"f\0\0w"),
    (T.SET_CLIENT_ID, b"id"),
    (T.CAN_DO_TIMEOUT, b"f\x001000"),
    (T.WORK_EXCEPTION, b"H:x:1\0e"),
    (T.OPTION_REQ, b"exceptions"),
    (T.WORK_DATA, b"H:x:1\0d"),
    (T.WORK_WARNING, b"H:x:1\0w"),
    (T.GRAB_JOB_UNIQ, b""),
    (T.SUBMIT_JOB_HIGH_BG, b"f\0\0w"),
    (T.SUBMIT_JOB_LOW, b"f\0\0w"),
    (T.SUBMIT_JOB_LOW_BG, b"f\0\0w"),
    (T.SUBMIT_JOB_EPOCH, b"f\0\x000\0w"),
    (T.SUBMIT_REDUCE_JOB, b"f\0\0r\0\0w"),
    (T.SUBMIT_REDUCE_JOB_BACKGROUND, b"f\0\0r\0\0w"),
    (T.GRAB_JOB_ALL, b""),
    (T.GET_STATUS_UNIQUE, b"u"),
]


# ── one stream, two languages ────────────────────────────────────────────────


def test_text_and_packets_may_be_mixed_in_one_write(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send_bytes(
        b"version\n" + packet(T.ECHO_REQ, b"abc") + b"getpid\r\n" + packet(T.ECHO_REQ, b"def")
    )

    assert wire.read_line().startswith(b"OK ")
    wire.expect(T.ECHO_RES, b"abc")
    wire.expect_bytes(b"OK %d\n" % server.pid)
    wire.expect(T.ECHO_RES, b"def")


def test_one_connection_may_be_client_worker_and_administrator(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(server)

    wire.can_do(name)
    handle = wire.submit(name, b"mine")
    assert wire.grab() == (handle, name, b"mine")
    assert wire.counts(name) == (1, 1, 1)
    wire.send(T.WORK_COMPLETE, handle, b"done")

    wire.expect(T.WORK_COMPLETE, handle, b"done")


def test_packets_may_come_byte_by_byte(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)
    text = b"".join(
        [
            packet(T.CAN_DO, name),
            packet(T.SUBMIT_JOB, name, b"", b"in\0pieces"),
            b"getpid\n",
            packet(T.GRAB_JOB),
        ]
    )

    for number in range(len(text)):
        wire.send_bytes(text[number : number + 1])

    handle = wire.created()
    wire.expect_bytes(b"OK %d\n" % server.pid)
    wire.expect(T.JOB_ASSIGN, handle, name, b"in\0pieces")


def test_many_packets_in_one_write_are_answered_in_order(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send_bytes(b"".join(packet(T.ECHO_REQ, b"%d" % number) for number in range(1000)))

    for number in range(1000):
        wire.expect(T.ECHO_RES, b"%d" % number)


@pytest.mark.parametrize(
    "data",
    [b"", b"abc", b"\0", b"a\0b\0\0c\0", bytes(range(256)), b"x" * 8193, b"y" * 3_000_000],
    ids=["empty", "word", "one NUL", "NULs", "every byte", "8193 bytes", "3 MB"],
)
def test_echo_gives_back_what_it_got(server: Server, dial: Dial, data: bytes) -> None:
    wire = dial(server)

    wire.send(T.ECHO_REQ, data)

    wire.expect(T.ECHO_RES, data)
    wire.expect_nothing()


# ── whole packets that are none ──────────────────────────────────────────────


@pytest.mark.parametrize("magic", [b"\0REX", b"\0req", b"\0\0\0\0", b"\0\xff\xff\xff"])
def test_bad_magic_closes_the_connection(server: Server, dial: Dial, magic: bytes) -> None:
    wire = dial(server)

    wire.send_bytes(packet(T.ECHO_REQ, b"x", magic=magic))

    if server.kind == OURS:  # the C server gives no reason
        wire.expect_error(b"INVALID_MAGIC")
    wire.expect_close()
    dial(server).expect_nothing()


def test_response_magic_is_refused_and_the_connection_stays(server: Server, dial: Dial) -> None:
    wire = dial(server)

    for number, body in EVERY_REQUEST:
        wire.send_bytes(packet(number, body, magic=RESPONSE))
        wire.expect_error(b"INVALID_MAGIC", b"Request magic expected")

    wire.expect_nothing()


@pytest.mark.parametrize(("number", "body"), NOT_REQUESTS, ids=label)
def test_types_that_are_no_requests_are_refused_and_the_connection_stays(
    server: Server, dial: Dial, number: int, body: bytes
) -> None:
    wire = dial(server)

    wire.send(number, body)

    if server.kind == OURS and number == T.SUBMIT_JOB_SCHED:
        wire.expect_error(b"INVALID_COMMAND")  # with a hint what to use instead
    else:
        wire.expect_error(b"INVALID_COMMAND", b"Command not expected")
    wire.expect_nothing()


def test_unknown_types_are_refused_and_the_connection_stays(ours: Server, dial: Dial) -> None:
    wire = dial(ours)

    for number in UNKNOWN:
        for body in (b"", b"x", b"a\0b\0c"):
            wire.send(number, body)
            wire.expect_error(b"INVALID_COMMAND")

    wire.expect_nothing()


def test_types_above_31_bits_are_harmless(ours: Server, dial: Dial) -> None:
    wire, other = dial(ours), dial(ours)

    for number in NEGATIVE:
        for body in (b"", b"x", b"a\0b\0c"):
            wire.send(number, body)
            wire.expect_error(b"INVALID_COMMAND")
            other.expect_nothing()

    wire.expect_nothing()
    assert ours.alive()


def test_body_of_a_packet_without_arguments_is_ignored(
    server: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(server)
    wire.can_do(name)

    for number in (T.GRAB_JOB, T.GRAB_JOB_UNIQ, T.GRAB_JOB_ALL):
        wire.send(number, b"what is this\0for")
        wire.expect(T.NO_JOB)
    wire.send(T.PRE_SLEEP, b"well")
    wire.expect_nothing()
    wire.send(T.RESET_ABILITIES, b"sleep well")
    wire.expect_nothing()

    assert wire.counts(name) == (0, 0, 0)


@pytest.mark.parametrize(("number", "body"), TOO_FEW_ARGUMENTS, ids=label)
def test_too_few_arguments_are_refused_and_the_connection_stays(
    ours: Server, dial: Dial, number: int, body: bytes
) -> None:
    wire = dial(ours)

    wire.send(number, body)

    wire.expect_error(b"INVALID_PACKET")
    wire.expect_nothing()


def test_missing_arguments_are_not_taken_from_the_next_packet(
    ours: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(ours)
    wire.can_do(name)

    wire.send_bytes(packet(T.SUBMIT_JOB, name) + packet(T.SUBMIT_JOB, name, b"", b"whole"))

    wire.expect_error(b"INVALID_PACKET")
    handle = wire.created()
    assert wire.grab() == (handle, name, b"whole")
    wire.grab_none()


# ── half packets ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cut", [1, 4, 11, 12, 15, -1])
def test_half_a_packet_and_a_hang_up_leave_no_job(
    server: Server, dial: Dial, name: bytes, cut: int
) -> None:
    wire, other = dial(server), dial(server)
    other.can_do(name)

    wire.send_bytes(packet(T.SUBMIT_JOB_BG, name, b"", b"never whole")[:cut])
    wire.close()

    other.grab_none()
    assert other.counts(name) == (0, 0, 1)


def test_half_a_packet_holds_up_nobody_else(server: Server, dial: Dial, name: bytes) -> None:
    whole = packet(T.SUBMIT_JOB_BG, name, b"", b"late")
    halves = [dial(server) for _ in range(20)]
    for number, wire in enumerate(halves):
        wire.send_bytes(whole[: number + 1])
    other = dial(server)
    other.can_do(name)
    other.submit(name, b"meanwhile")
    assert other.grab()[2] == b"meanwhile"

    for number, wire in enumerate(halves):
        wire.send_bytes(whole[number + 1 :])

    for wire in halves:
        wire.created()
    assert other.workloads() == [b"late"] * 20


# ── lengths and limits ───────────────────────────────────────────────────────


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFF3, 0x80000000, 0x7FFFFFFF, 300 << 20])
def test_oversized_packet_is_refused_and_the_connection_closed(
    ours: Server, dial: Dial, length: int
) -> None:
    wire = dial(ours)

    wire.send_bytes(struct.pack(">4sII", b"\0REQ", T.SUBMIT_JOB_BG, length))

    wire.expect_error(b"ARGUMENT_TOO_LARGE")
    wire.expect_close()
    dial(ours).expect_nothing()


def test_announced_length_costs_no_memory(ours: Server, dial: Dial) -> None:
    before = ours.resident_bytes()
    wires = [dial(ours) for _ in range(50)]

    for wire in wires:
        wire.send_bytes(struct.pack(">4sII", b"\0REQ", T.SUBMIT_JOB_BG, 200 << 20) + b"f\0\0x")
    dial(ours).expect_nothing()

    assert ours.resident_bytes() - before < 30 << 20


def test_function_names_of_8000_bytes_are_whole(server: Server, dial: Dial, name: bytes) -> None:
    long = name.ljust(8000, b"x")
    wire = dial(server)

    handle = wire.submit(long, b"w")
    wire.send(T.CAN_DO, long)
    wire.send(T.GRAB_JOB)

    wire.expect(T.JOB_ASSIGN, handle, long, b"w")


def test_function_names_of_8191_bytes_are_whole(ours: Server, dial: Dial, name: bytes) -> None:
    long = name.ljust(8191, b"x")
    wire = dial(ours)

    handle = wire.submit(long, b"w")
    wire.send(T.CAN_DO, long)
    wire.send(T.GRAB_JOB)

    wire.expect(T.JOB_ASSIGN, handle, long, b"w")


def test_longer_function_names_are_refused_and_the_connection_stays(
    ours: Server, dial: Dial
) -> None:
    wire = dial(ours)

    for number, *rest in (
        (T.CAN_DO,),
        (T.CAN_DO_TIMEOUT, b"1000"),
        (T.SUBMIT_JOB, b"", b"w"),
        (T.SUBMIT_JOB_BG, b"", b"w"),
        (T.SUBMIT_JOB_EPOCH, b"", b"0", b"w"),
        (T.SUBMIT_REDUCE_JOB, b"", b"r", b"", b"w"),
    ):
        wire.send(number, b"x" * 8192, *rest)
        wire.expect_error(b"ARGUMENT_TOO_LARGE")

    wire.expect_nothing()


SUBMISSIONS = [
    (T.SUBMIT_JOB, 0),
    (T.SUBMIT_JOB_BG, 0),
    (T.SUBMIT_JOB_HIGH, 0),
    (T.SUBMIT_JOB_HIGH_BG, 0),
    (T.SUBMIT_JOB_LOW, 0),
    (T.SUBMIT_JOB_LOW_BG, 0),
    (T.SUBMIT_JOB_EPOCH, 1),
    (T.SUBMIT_REDUCE_JOB, 2),
    (T.SUBMIT_REDUCE_JOB_BACKGROUND, 2),
]


def submission(number: int, function: bytes, unique: bytes, workload: bytes) -> bytes:
    """A submission of any type; what else it needs is filled in."""
    between = {0: [], 1: [b"0"], 2: [b"r", b""]}[dict(SUBMISSIONS)[T(number)]]
    return packet(number, function, unique, *between, workload)


def test_unique_ids_of_63_bytes_are_whole(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)
    wire.can_do(name)
    unique = b"u" * 63

    handle = wire.submit(name, b"w", unique)
    assert wire.submit(name, b"other", unique) == handle
    wire.send(T.GRAB_JOB_UNIQ)

    wire.expect(T.JOB_ASSIGN_UNIQ, handle, name, unique, b"w")


@pytest.mark.parametrize("number", [number for number, _ in SUBMISSIONS], ids=label)
def test_unique_ids_of_64_bytes_are_whole(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    wire = dial(ours)
    wire.can_do(name)
    unique = b"u" * 64

    wire.send_bytes(submission(number, name, unique, b"\0w"))
    handle = wire.created()
    wire.send_bytes(submission(number, name, unique, b"other"))
    assert wire.created() == handle
    wire.send(T.GRAB_JOB_UNIQ)

    wire.expect(T.JOB_ASSIGN_UNIQ, handle, name, unique, b"\0w")


@pytest.mark.parametrize(
    "number", [number for number, between in SUBMISSIONS if between < 2], ids=label
)
def test_longer_unique_ids_are_refused_and_the_connection_stays(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    wire = dial(server)

    for length in (65, 66, 100, 1000, 8000):
        wire.send_bytes(submission(number, name, b"u" * length, b"w"))
        wire.expect_error(b"ARGUMENT_TOO_LARGE", b"Unique value too large")

    wire.expect_nothing()


@pytest.mark.parametrize("number", [T.SUBMIT_REDUCE_JOB, T.SUBMIT_REDUCE_JOB_BACKGROUND], ids=label)
def test_longer_unique_ids_of_reduce_jobs_are_refused_too(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    wire = dial(ours)

    for length in (65, 100, 8000):
        wire.send_bytes(submission(number, name, b"u" * length, b"w"))
        wire.expect_error(b"ARGUMENT_TOO_LARGE")

    wire.expect_nothing()


@pytest.mark.parametrize("number", [T.SUBMIT_REDUCE_JOB, T.SUBMIT_REDUCE_JOB_BACKGROUND], ids=label)
def test_reducers_may_be_as_long_as_functions(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    wire = dial(ours)
    wire.can_do(name)

    for length in (64, 65, 8191):
        wire.send(number, name, b"", b"r" * length, b"", b"w")
        handle = wire.created()
        wire.send(T.GRAB_JOB_ALL)
        wire.expect(T.JOB_ASSIGN_ALL, handle, name, b"", b"r" * length, b"w")
    wire.send(number, name, b"", b"r" * 8192, b"", b"w")
    wire.expect_error(b"ARGUMENT_TOO_LARGE")

    wire.expect_nothing()


def test_status_of_a_handle_too_long_to_exist_is_answered(ours: Server, dial: Dial) -> None:
    wire = dial(ours)

    for length in (63, 64, 65, 128, 255):
        assert wire.status(b"H" * length) == (b"0", b"0", b"0", b"0")
    wire.send(T.GET_STATUS, b"H" * 256)
    wire.expect_error(b"ARGUMENT_TOO_LARGE")
    wire.send(T.GET_STATUS_UNIQUE, b"v" * 64)
    wire.expect(T.STATUS_RES_UNIQUE, b"v" * 64, b"0", b"0", b"0", b"0", b"0")
    wire.send(T.GET_STATUS_UNIQUE, b"u" * 65)
    wire.expect_error(b"ARGUMENT_TOO_LARGE")

    wire.expect_nothing()


def test_result_for_a_handle_too_long_to_exist_is_answered(ours: Server, dial: Dial) -> None:
    wire = dial(ours)

    for length in (63, 64, 255, 256, 10_000):
        for number, *rest in (
            (T.WORK_FAIL,),
            (T.WORK_COMPLETE, b"r"),
            (T.WORK_DATA, b"d"),
            (T.WORK_WARNING, b"w"),
            (T.WORK_EXCEPTION, b"e"),
            (T.WORK_STATUS, b"1", b"2"),
        ):
            wire.send(number, b"H" * length, *rest)
            wire.expect_error(b"JOB_NOT_FOUND")

    wire.expect_nothing()


def test_long_option_names_are_unknown_options(server: Server, dial: Dial) -> None:
    wire = dial(server)

    for length in (64, 65, 200):
        wire.send(T.OPTION_REQ, b"o" * length)
        wire.expect_error(b"UNKNOWN_OPTION", b"Server does not recognize given option")

    wire.expect_nothing()


def test_client_ids_are_cut_at_127_bytes(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send(T.SET_CLIENT_ID, b"i" * 300)
    wire.send_bytes(b"workers\n")

    ids = [line.split(b" ")[2] for line in wire.read_list()]
    assert b"i" * 127 in ids


@pytest.mark.parametrize(
    "limit", [b"9" * 19, b"9" * 20, b"9" * 21, b"9" * 100, b"-" + b"9" * 30, b"1e9", b"\xff"]
)
def test_absurd_time_limits_harm_nobody(
    ours: Server, dial: Dial, name: bytes, limit: bytes
) -> None:
    wire, other = dial(ours), dial(ours)

    wire.send(T.CAN_DO_TIMEOUT, name, limit)
    wire.send(T.ECHO_REQ, b"still here?")

    answers = [wire.receive()]
    if answers[-1].number == T.ERROR:
        answers.append(wire.receive())
    assert (answers[-1].number, answers[-1].body) == (T.ECHO_RES, b"still here?")
    other.expect_nothing()


def test_text_line_without_an_end_is_not_collected_for_ever(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send_bytes(b"x" * 20_000)

    wait_until(lambda: _closed(wire))
    dial(server).expect_nothing()


def _closed(wire: Wire) -> bool:
    try:
        return wire.socket.recv(65536) == b""
    except ConnectionResetError:
        return True
