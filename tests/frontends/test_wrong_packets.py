"""What is wrong is answered, and closes the connection only where the stream is lost."""

from __future__ import annotations

import struct

import pytest

from geartrain.frontends.port import Bounds
from geartrain.protocol import commands as c
from tests.frontends.talk import Talk, packet


@pytest.mark.parametrize(
    "number",
    [
        0, 5, c.NOOP, c.JOB_CREATED, c.NO_JOB, c.JOB_ASSIGN, c.ECHO_RES, c.ERROR, c.STATUS_RES,
        c.ALL_YOURS, c.OPTION_RES, c.JOB_ASSIGN_UNIQ, c.SUBMIT_JOB_SCHED, c.JOB_ASSIGN_ALL,
        c.STATUS_RES_UNIQUE, 43, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"a\0b\0c"])
def test_what_is_no_request_is_an_invalid_command_and_the_connection_stays(
    talk: Talk, number: int, body: bytes
) -> None:
    client = talk.join()

    client.say(packet(number, body) + packet(c.ECHO_REQ, b"still here"))

    first, second = client.heard()
    assert first[0] == c.ERROR
    assert isinstance(first[1], bytes)
    assert first[1].startswith(b"INVALID_COMMAND\0Command not expected")
    assert second == (c.ECHO_RES, b"still here")
    assert not client.connection.closing


@pytest.mark.parametrize(
    "number", [number for number, row in c.COMMANDS.items() if row.sender & (c.CLIENT | c.WORKER)]
)
def test_every_request_under_the_servers_magic_is_an_error_and_the_connection_stays(
    talk: Talk, number: int
) -> None:
    client = talk.join()

    client.say(packet(number, b"a\0b\0c", magic=b"\0RES") + packet(c.ECHO_REQ, b"still here"))

    assert client.heard() == [
        (c.ERROR, b"INVALID_MAGIC\0Request magic expected"),
        (c.ECHO_RES, b"still here"),
    ]


@pytest.mark.parametrize("data", [b"\0NO!" + bytes(8), b"\0req" + bytes(8), b"\0\0"])
def test_other_magic_closes_the_connection_with_a_word(talk: Talk, data: bytes) -> None:
    client = talk.join()

    client.say(packet(c.ECHO_REQ, b"before") + data + packet(c.ECHO_REQ, b"after"))

    first, second = client.heard()
    assert first == (c.ECHO_RES, b"before")
    assert second[0] == c.ERROR
    assert client.connection.closing


def test_packet_over_the_limit_is_refused_and_the_connection_closed() -> None:
    bounds = Bounds()
    bounds.max_packet_bytes = 1000
    client = Talk(bounds).join()

    client.say(struct.pack(">4sII", b"\0REQ", c.SUBMIT_JOB, 1001))

    assert client.error() == b"ARGUMENT_TOO_LARGE"
    assert client.connection.closing


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (number, count)
        for number, row in c.COMMANDS.items()
        if row.name.startswith("SUBMIT") and number != c.SUBMIT_JOB_SCHED
        for count in range(len(row.arguments) - (2 if "REDUCE" in row.name else 1))
    ] + [(c.WORK_STATUS, 0), (c.WORK_STATUS, 1)],
)  # fmt: skip
def test_too_few_arguments_are_named_and_the_connection_stays(
    talk: Talk, number: int, arguments: int
) -> None:
    client = talk.join()

    client.send(number, *[b"x"] * (arguments + 1))

    kind, body = client.only()
    assert kind == c.ERROR
    assert body.startswith(b"INVALID_PACKET\0" + c.command_name(number).encode() + b" ")
    assert not client.connection.closing
    assert talk.broker.idle


def test_status_without_denominator_is_remembered_and_harms_nobody(talk: Talk) -> None:
    worker, client, stranger = talk.worker(b"f"), talk.join(), talk.worker(b"f")
    handle = client.submit(b"f")
    worker.grab()

    worker.send(c.WORK_STATUS, handle, b"3")
    worker.send(c.WORK_COMPLETE, handle, b"done")
    client.send(c.GET_STATUS, handle)
    stranger.send(c.WORK_STATUS, handle, b"4")

    assert worker.heard() == []
    assert [number for number, _body in client.heard()] == [c.WORK_COMPLETE, c.STATUS_RES]
    assert stranger.error() == b"INVALID_PACKET"


def test_status_without_denominator_is_told_to_who_asks(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit(b"f")
    worker.grab()

    worker.send(c.WORK_STATUS, handle, b"3")
    client.send(c.GET_STATUS, handle)

    assert client.only() == (c.STATUS_RES, handle + b"\x001\x001\x003\x000")


@pytest.mark.parametrize(
    "number", [c.GRAB_JOB, c.GRAB_JOB_UNIQ, c.GRAB_JOB_ALL, c.PRE_SLEEP, c.RESET_ABILITIES]
)
def test_body_where_none_belongs_is_ignored(talk: Talk, number: int) -> None:
    worker = talk.worker(b"f")

    worker.send(number, b"what", b"is this")

    answers = [] if number in (c.PRE_SLEEP, c.RESET_ABILITIES) else [(c.NO_JOB, b"")]
    assert worker.heard() == answers


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (c.SUBMIT_JOB, [b"f", b"u" * 65, b"w"]),
        (c.SUBMIT_JOB_BG, [b"f", b"u" * 1000, b"w"]),
        (c.SUBMIT_JOB_EPOCH, [b"f", b"u" * 65, b"1", b"w"]),
        (c.SUBMIT_REDUCE_JOB, [b"f", b"u" * 65, b"r", b"", b"w"]),
        (c.SUBMIT_REDUCE_JOB, [b"f", b"u", b"r" * 8192, b"", b"w"]),
        (c.SUBMIT_JOB, [b"f" * 8192, b"", b"w"]),
        (c.CAN_DO, [b"f" * 8192]),
        (c.CAN_DO_TIMEOUT, [b"f" * 8192, b"1000"]),
    ],
)
def test_argument_too_large_is_one_error_and_the_connection_stays(
    talk: Talk, number: int, arguments: list[bytes]
) -> None:
    client = talk.join()

    client.send(number, *arguments)

    assert client.error() == b"ARGUMENT_TOO_LARGE"
    assert not client.connection.closing


def test_function_of_8191_bytes_is_a_function(talk: Talk) -> None:
    name = b"f" * 8191
    worker, client = talk.worker(name), talk.join()

    handle = client.submit(name)

    assert worker.grab() == [handle, name, b"w"]


def test_who_speaks_tls_to_a_plain_port_is_closed_at_once_and_told_of(talk: Talk) -> None:
    client = talk.join()

    client.say(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")

    [(number, body)] = client.heard()
    assert number == c.ERROR
    assert isinstance(body, bytes)
    assert body.startswith(b"INVALID_MAGIC\0the other side speaks TLS")
    assert client.connection.closing
    [(peer, text)] = talk.house.turned_away
    assert peer is client.connection
    assert "gearmand --ssl" in text


def test_noise_that_is_no_tls_is_not_told_of(talk: Talk) -> None:
    client = talk.join()

    client.say(b"\0XYZ" + bytes(20))

    assert client.connection.closing
    assert talk.house.turned_away == []
