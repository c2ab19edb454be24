"""ClientConnection without a socket: which answer is whose, however the network cuts it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.client.connection import ClientConnection, lenient_int
from geartrain.client.events import (
    CREATED,
    SENT,
    UNSENT,
    Complaint,
    EchoReply,
    Event,
    JobCreated,
    LineReply,
    Lost,
    OptionReply,
    Refused,
    StatusReply,
    Unanswered,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from geartrain.client.task import server_error
from geartrain.errors import BadMagic, ProtocolError, QueueFull, ServerError, UnknownOption
from geartrain.protocol import commands as c
from geartrain.protocol.packets import encode_request, encode_response
from geartrain.terms import HIGH, LOW, JobHandle


def created(handle: bytes) -> JobCreated:
    return JobCreated(JobHandle(handle))


def plain() -> ClientConnection:
    return ClientConnection(exceptions=False)


def sent(connection: ClientConnection) -> bytes:
    return b"".join(connection.data_to_send())


def numbered(events: list[Event]) -> list[tuple[int, Event]]:
    return [(getattr(event, "request", 0), event) for event in events]


def test_exceptions_are_asked_for_before_anything_else() -> None:
    connection = ClientConnection()
    connection.submit(b"f", b"", b"w")

    assert sent(connection) == encode_request(c.OPTION_REQ, b"exceptions") + encode_request(
        c.SUBMIT_JOB, b"f", b"", b"w"
    )


@pytest.mark.parametrize(
    ("priority", "background", "number"),
    [
        (HIGH, False, c.SUBMIT_JOB_HIGH),
        (1, False, c.SUBMIT_JOB),
        (LOW, False, c.SUBMIT_JOB_LOW),
        (HIGH, True, c.SUBMIT_JOB_HIGH_BG),
        (1, True, c.SUBMIT_JOB_BG),
        (LOW, True, c.SUBMIT_JOB_LOW_BG),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 505, 510, 511, 600, 20_000, 70_000])
def test_submit_packet(priority: int, background: bool, number: int, size: int) -> None:
    connection = plain()
    workload = b"x" * size

    connection.submit(b"f", b"u", workload, priority, background)

    assert sent(connection) == encode_request(number, b"f", b"u", workload)


def test_large_workload_is_not_copied() -> None:
    connection = plain()
    workload = bytes(100_000)

    connection.submit(b"f", b"u", workload)

    assert connection.data_to_send()[1] is workload


def test_epoch_and_reduce_packets() -> None:
    connection = plain()
    connection.submit(b"f", b"u", b"w", when=7)
    connection.submit(b"f", b"u", b"w", reducer=b"r")

    assert sent(connection) == encode_request(
        c.SUBMIT_JOB_EPOCH, b"f", b"u", b"7", b"w"
    ) + encode_request(c.SUBMIT_REDUCE_JOB, b"f", b"u", b"r", b"", b"w")


@pytest.mark.parametrize("names", [(b"f\0", b""), (b"f", b"\0u")])
def test_nul_in_a_name_is_refused_before_it_breaks_the_packet(names: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="NUL"):
        plain().submit(names[0], names[1], b"")


def test_life_of_a_foreground_job() -> None:
    connection = plain()
    request = connection.submit(b"f", b"", b"w")
    stream = b"".join(
        [
            encode_response(c.JOB_CREATED, b"H:1"),
            encode_response(c.WORK_DATA, b"H:1", b"a\0b"),
            encode_response(c.WORK_WARNING, b"H:1", b"hm"),
            encode_response(c.WORK_STATUS, b"H:1", b"1", b"4"),
            encode_response(c.WORK_COMPLETE, b"H:1", b"end"),
            encode_response(c.WORK_COMPLETE, b"H:1", b"again"),
        ]
    )

    events = connection.receive_data(stream)

    assert events == [
        created(b"H:1"),
        WorkData(b"a\0b"),
        WorkWarning(b"hm"),
        WorkStatus(1, 4),
        WorkComplete(b"end"),
    ]
    assert {event.request for event in events if not isinstance(event, Complaint)} == {request}
    assert connection.receive_eof() == []


def test_failures_with_a_stray_nul_or_without_data_are_understood() -> None:
    connection = plain()
    for _ in range(3):
        connection.submit(b"f", b"", b"")
    for handle in (b"H:1", b"H:2", b"H:3"):
        connection.receive_data(encode_response(c.JOB_CREATED, handle))

    events = connection.receive_data(
        encode_response(c.WORK_FAIL, b"H:1\0")
        + encode_response(c.WORK_EXCEPTION, b"H:2")
        + encode_response(c.WORK_FAIL, b"H:2")  # the Perl server's second word
        + encode_response(c.WORK_COMPLETE, b"H:3")
    )

    assert numbered(events) == [(1, WorkFail()), (2, WorkException(b"")), (3, WorkComplete(b""))]


def test_merged_submissions_get_one_copy_each() -> None:
    connection = plain()
    for _ in range(3):
        connection.submit(b"f", b"u", b"")
    stream = encode_response(c.JOB_CREATED, b"H:1") * 3
    stream += encode_response(c.WORK_DATA, b"H:1", b"d") * 3
    stream += encode_response(c.WORK_COMPLETE, b"H:1", b"e") * 3

    events = connection.receive_data(stream)

    assert sorted(numbered(events[3:6]), key=lambda pair: pair[0]) == [
        (n, WorkData(b"d")) for n in (1, 2, 3)
    ]
    assert sorted(n for n, _ in numbered(events[6:])) == [1, 2, 3]
    assert connection.receive_eof() == []


def test_background_job_is_over_when_it_is_created() -> None:
    connection = plain()
    connection.submit(b"f", b"", b"", background=True)

    assert connection.receive_data(encode_response(c.JOB_CREATED, b"H:1")) == [created(b"H:1")]
    assert connection.receive_data(encode_response(c.WORK_COMPLETE, b"H:1", b"")) == []
    assert connection.receive_eof() == []


def test_replies_of_every_kind_go_to_their_requests_in_order() -> None:
    connection = ClientConnection()
    submit = connection.submit(b"f", b"", b"")
    echo = connection.echo(b"x")
    status = connection.get_status(b"H:9")
    by_unique = connection.get_status_unique(b"u")
    option = connection.option(b"other")
    listing = connection.admin(b"status")
    line = connection.admin(b"version")
    refused = connection.admin(b"show nothing")
    stream = (
        encode_response(c.OPTION_RES, b"exceptions")
        + encode_response(c.JOB_CREATED, b"H:1")
        + encode_response(c.ECHO_RES, b"x")
        + encode_response(c.STATUS_RES, b"H:9", b"1", b"1", b"", b"")
        + encode_response(c.STATUS_RES_UNIQUE, b"u", b"1", b"0", b"3", b"4", b"2")
        + encode_response(c.OPTION_RES, b"other")
        + b"f\t1\t0\t2\ng\t0\t0\t0\n.\nOK 1.1.20\nERR UNKNOWN_SHOW_ARGUMENTS\r\n"
    )

    events = connection.receive_data(stream)

    assert numbered(events) == [
        (submit, created(b"H:1")),
        (echo, EchoReply(b"x")),
        (status, StatusReply(b"H:9", True, True, 0, 0, None)),
        (by_unique, StatusReply(b"u", True, False, 3, 4, 2)),
        (option, OptionReply(b"other")),
        (listing, LineReply(("f\t1\t0\t2", "g\t0\t0\t0"))),
        (line, LineReply(("OK 1.1.20",))),
        (refused, LineReply(("ERR UNKNOWN_SHOW_ARGUMENTS",))),
    ]
    assert connection.exceptions


def test_error_takes_the_place_of_one_reply() -> None:
    connection = plain()
    for _ in range(3):
        connection.submit(b"f", b"", b"", background=True)

    events = connection.receive_data(
        encode_response(c.JOB_CREATED, b"H:1")
        + encode_response(c.ERROR, b"QUEUE_ERROR", b"Job queue is full")
        + encode_response(c.JOB_CREATED, b"H:2")
    )

    assert numbered(events) == [
        (1, created(b"H:1")),
        (2, Refused("QUEUE_ERROR", "Job queue is full")),
        (3, created(b"H:2")),
    ]


def test_server_that_refuses_the_option_is_served_all_the_same() -> None:
    connection = ClientConnection()
    request = connection.submit(b"f", b"", b"", background=True)

    events = connection.receive_data(
        encode_response(c.ERROR, b"UNKNOWN_OPTION", b"?") + encode_response(c.JOB_CREATED, b"H:1")
    )

    assert numbered(events) == [(request, created(b"H:1"))]
    assert not connection.exceptions


def test_server_that_never_answers_the_option_may_refuse_a_job() -> None:
    connection = ClientConnection()
    request = connection.submit(b"f", b"", b"")

    events = connection.receive_data(encode_response(c.ERROR, b"0", b"Permission denied by ACL\0"))

    assert numbered(events) == [(request, Refused("0", "Permission denied by ACL"))]
    assert connection.receive_eof() == []


def test_option_that_nobody_answers_leaves_nothing_outstanding() -> None:
    connection = ClientConnection()

    assert connection.receive_eof() == []


def test_refusals_are_told_apart_by_their_code() -> None:
    assert type(server_error("QUEUE_ERROR", "full")) is QueueFull
    assert type(server_error("UNKNOWN_OPTION", "what?")) is UnknownOption
    assert type(server_error("SOMETHING", "else")) is ServerError


def test_requests_that_the_server_passes_over_are_told_so() -> None:
    connection = plain()
    echo = connection.echo(b"x")
    submit = connection.submit(b"f", b"", b"")
    last = connection.echo(b"y")

    assert numbered(connection.receive_data(encode_response(c.JOB_CREATED, b"H:1"))) == [
        (echo, Unanswered()),
        (submit, created(b"H:1")),
    ]
    assert numbered(connection.receive_data(encode_response(c.ECHO_RES, b"y"))) == [
        (last, EchoReply(b"y"))
    ]


def test_replies_that_nobody_waits_for_are_dropped() -> None:
    connection = plain()

    events = connection.receive_data(
        encode_response(c.JOB_CREATED, b"H:1")
        + encode_response(c.NOOP)
        + encode_response(c.NO_JOB)
        + encode_response(c.ECHO_RES, b"x")
        + encode_response(999)
        + b"stray\n"
        + encode_response(c.ERROR, b"ODD", b"text")
    )

    assert events == [Complaint("ODD", "text")]


def test_eof_tells_how_far_each_request_had_come() -> None:
    connection = ClientConnection()
    running = connection.submit(b"f", b"", b"")
    asked = connection.submit(b"f", b"", b"")
    connection.data_to_send()
    connection.receive_data(encode_response(c.JOB_CREATED, b"H:1"))
    unsent = connection.submit(b"f", b"", b"")

    events = connection.receive_eof("reset")

    assert numbered(events) == [
        (asked, Lost(SENT, "reset")),
        (unsent, Lost(UNSENT, "reset")),
        (running, Lost(CREATED, "reset")),
    ]
    assert connection.data_to_send() == []
    with pytest.raises(ProtocolError):
        connection.submit(b"f", b"", b"")


def test_list_may_hold_long_and_empty_lines() -> None:
    connection = plain()
    connection.admin(b"show unique jobs")
    connection.admin(b"workers")
    long = "32 127.0.0.1 - : " + " ".join(f"function-{n}" for n in range(5_000))

    events = connection.receive_data(f"\nu1\n\n.\n{long}\n.\n".encode())

    assert events == [LineReply(("", "u1", "")), LineReply((long,))]


@pytest.mark.parametrize("line", [b"", b"a\nb", b"a\0b"])
def test_admin_takes_one_line(line: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        plain().admin(line)


def test_peer_that_is_no_server_is_told_from_one() -> None:
    with pytest.raises(ProtocolError):
        plain().receive_data(encode_request(c.NOOP))
    with pytest.raises(BadMagic):
        plain().receive_data(b"\0XYZ")


@pytest.mark.parametrize(
    ("text", "number"),
    [(b"", 0), (b"12", 12), (b"0.5", 0), (b"abc", 0), (b"-3", -3), (b" 7x", 7), (b"4\0", 4)],
)
def test_numbers_are_read_as_c_reads_them(text: bytes, number: int) -> None:
    assert lenient_int(text) == number


@given(st.binary(max_size=12))
def test_any_bytes_make_a_number(text: bytes) -> None:
    assert isinstance(lenient_int(text), int)


CONVERSATION = [
    encode_response(c.OPTION_RES, b"exceptions"),
    encode_response(c.JOB_CREATED, b"H:1"),
    encode_response(c.WORK_DATA, b"H:1", b"x" * 300),
    b"f\t1\t0\t2\r\n",
    b".\n",
    encode_response(c.JOB_CREATED, b"H:2"),
    encode_response(c.WORK_STATUS, b"H:2", b"1", b"2"),
    encode_response(c.ECHO_RES, b"\0\0\n"),
    encode_response(c.WORK_COMPLETE, b"H:1", b"y" * 40_000),
    encode_response(c.WORK_EXCEPTION, b"H:2", b"boom"),
]


def converse(pieces: list[bytes]) -> list[tuple[int, Event]]:
    connection = ClientConnection()
    connection.submit(b"f", b"", b"")
    connection.admin(b"status")
    connection.submit(b"f", b"", b"")
    connection.echo(b"\0\0\n")
    events: list[Event] = []
    for piece in pieces:
        events += connection.receive_data(piece)
    assert connection.receive_eof() == []
    return numbered(events)


@given(st.lists(st.integers(0, sum(map(len, CONVERSATION))), max_size=30))
def test_how_the_network_cuts_it_changes_nothing(cuts: list[int]) -> None:
    stream = b"".join(CONVERSATION)
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]

    assert converse(pieces) == converse([stream])


@given(
    st.lists(
        st.sampled_from(
            [
                *CONVERSATION,
                encode_response(c.ERROR, b"QUEUE_ERROR", b"full"),
                encode_response(c.WORK_FAIL, b"H:1\0"),
                encode_response(c.STATUS_RES, b"H:1"),
                encode_response(c.STATUS_RES_UNIQUE),
                encode_response(77, b"future"),
            ]
        ),
        max_size=30,
    )
)
def test_every_request_is_over_exactly_once_whatever_the_server_says(stream: list[bytes]) -> None:
    connection = ClientConnection()
    asked = {
        connection.submit(b"f", b"", b""): "submit",
        connection.submit(b"f", b"", b"", background=True): "background",
        connection.echo(b"e"): "echo",
        connection.admin(b"status"): "admin",
        connection.get_status(b"H:1"): "status",
        connection.submit(b"f", b"", b""): "submit",
    }
    events: list[Event] = []
    for piece in stream:
        events += connection.receive_data(piece)
    events += connection.receive_eof()

    for request, kind in asked.items():
        mine = [event for number, event in numbered(events) if number == request]
        endings = [
            event
            for event in mine
            if not isinstance(event, (WorkData, WorkWarning, WorkStatus))
            and not (isinstance(event, JobCreated) and kind == "submit")
        ]
        assert len(endings) == 1, (kind, mine)
