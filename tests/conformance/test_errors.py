"""Every ERROR that clients and workers may have learnt to understand."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import Server
from tests.conformance.wire import RESPONSE, T, label, packet

#: What a worker may say of a job, and what it hears if the job is not its own.
REPORTS = [
    (T.WORK_STATUS, [b"1", b"2"], b"Job given in work result not found"),
    (T.WORK_COMPLETE, [b"result"], b"Job given in work result not found"),
    (T.WORK_FAIL, [], b"Job given in work result not found"),
    (T.WORK_DATA, [b"data"], b"Job does not exist on server"),
    (T.WORK_WARNING, [b"text"], b"Job does not exist on server"),
    (T.WORK_EXCEPTION, [b"e"], b"An exception was received for a job that does not exist"),
]


def test_response_magic(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send_bytes(packet(T.ECHO_REQ, b"x", magic=RESPONSE))

    wire.expect(T.ERROR, b"INVALID_MAGIC", b"Request magic expected")


def test_unexpected_command(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send(T.NOOP)

    wire.expect(T.ERROR, b"INVALID_COMMAND", b"Command not expected")


def test_long_unique(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)

    wire.send(T.SUBMIT_JOB, name, b"u" * 65, b"")

    wire.expect(T.ERROR, b"ARGUMENT_TOO_LARGE", b"Unique value too large")


def test_full_queue(server: Server, dial: Dial, name: bytes) -> None:
    wire = dial(server)
    wire.submit(name)
    wire.send_bytes(b"maxqueue %s 1\r\n" % name)
    wire.expect_bytes(b"OK\r\n")

    wire.send(T.SUBMIT_JOB, name, b"", b"")

    wire.expect(T.ERROR, b"QUEUE_ERROR", b"Job queue is full")
    wire.expect_nothing()


def test_unknown_option(server: Server, dial: Dial) -> None:
    wire = dial(server)

    wire.send(T.OPTION_REQ, b"sasl")

    wire.expect(T.ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")


@pytest.mark.parametrize(("number", "rest", "text"), REPORTS, ids=label)
def test_report_on_a_job_that_is_not(
    server: Server, dial: Dial, number: int, rest: list[bytes], text: bytes
) -> None:
    wire = dial(server)

    wire.send(number, b"H:nobody:1", *rest)

    wire.expect(T.ERROR, b"JOB_NOT_FOUND", text)
    wire.expect_nothing()


@pytest.mark.parametrize(("number", "rest", "text"), REPORTS, ids=label)
def test_report_on_the_job_of_another(
    server: Server, dial: Dial, name: bytes, number: int, rest: list[bytes], text: bytes
) -> None:
    worker, thief, client = dial(server), dial(server), dial(server)
    worker.can_do(name)
    thief.can_do(name)
    handle = client.submit(name)
    worker.grab()

    thief.send(number, handle, *rest)

    thief.expect(T.ERROR, b"JOB_NOT_FOUND", text)
    client.expect_nothing()
    worker.send(T.WORK_COMPLETE, handle, b"mine")
    client.expect(T.WORK_COMPLETE, handle, b"mine")


@pytest.mark.parametrize(("number", "rest", "text"), REPORTS, ids=label)
def test_report_on_a_job_that_nobody_has_grabbed(
    server: Server, dial: Dial, name: bytes, number: int, rest: list[bytes], text: bytes
) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)

    worker.send(number, handle, *rest)

    worker.expect(T.ERROR, b"JOB_NOT_FOUND", text)
    client.expect_nothing()


def test_report_after_the_end_and_a_grab(server: Server, dial: Dial, name: bytes) -> None:
    worker, client = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()
    worker.send(T.WORK_COMPLETE, handle, b"")
    client.expect(T.WORK_COMPLETE, handle, b"")

    worker.send(T.WORK_DATA, handle, b"late")

    worker.expect(T.ERROR, b"JOB_NOT_FOUND", b"Job does not exist on server")
    client.expect_nothing()


def test_unreadable_epoch(ours: Server, dial: Dial, name: bytes) -> None:
    wire = dial(ours)

    for when in (b"abc", b"12x", b"9" * 30, b"-" + b"9" * 30, b"1.5", b"\xff"):
        wire.send(T.SUBMIT_JOB_EPOCH, name, b"", when, b"w")
        wire.expect_error(b"INVALID_ARGUMENT")

    wire.expect_nothing()
    assert wire.counts(name) in (None, (0, 0, 0))


def test_each_refused_submission_is_answered_once_and_in_order(
    ours: Server, dial: Dial, name: bytes
) -> None:
    wire = dial(ours)
    wire.send_bytes(
        b"".join(
            [
                packet(T.SUBMIT_JOB, name, b"", b"1"),
                packet(T.SUBMIT_JOB, name, b"u" * 65, b"2"),
                packet(T.SUBMIT_JOB, name),
                packet(T.SUBMIT_JOB_EPOCH, name, b"", b"soon", b"4"),
                packet(T.SUBMIT_JOB_BG, name, b"", b"5"),
                packet(99, b"6"),
                packet(T.SUBMIT_JOB_SCHED, name, b"", b"0", b"0", b"1", b"1", b"0", b"7"),
                packet(T.SUBMIT_JOB_LOW, name, b"", b"8"),
            ]
        )
    )

    wire.created()
    wire.expect_error(b"ARGUMENT_TOO_LARGE")
    wire.expect_error(b"INVALID_PACKET")
    wire.expect_error(b"INVALID_ARGUMENT")
    wire.created()
    wire.expect_error(b"INVALID_COMMAND")
    wire.expect_error(b"INVALID_COMMAND")
    wire.created()
    wire.expect_nothing()


def test_texts_are_printable_and_short(ours: Server, dial: Dial) -> None:
    wire = dial(ours)
    evil = b"\x1b[31m\n\xff" + b"x" * 5000

    for data in (
        packet(T.OPTION_REQ, evil),
        packet(T.WORK_FAIL, evil),
        packet(T.SUBMIT_JOB, b"f", evil, b""),
        packet(T.SUBMIT_JOB_EPOCH, b"f", b"", evil, b""),
        packet(T.SUBMIT_JOB, evil),
        packet(99, evil),
    ):
        wire.send_bytes(data)
        heard = wire.receive()
        assert heard.number == T.ERROR
        code, _nul, text = heard.body.partition(b"\0")
        assert code.replace(b"_", b"").isalpha()
        assert code.isupper()
        assert len(text) < 2048
        assert all(32 <= byte < 127 for byte in text), text
