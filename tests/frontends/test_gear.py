"""A connection that speaks Gearman: packets in, packets out, byte for byte.

Source: protocol reference, sections 1.2, 1.4, 1.5 and 10.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.frontends.gear import (
    epoch_seconds,
    limit_seconds,
    whole_part,
)
from geartrain.frontends.port import Bounds
from geartrain.protocol import commands as c
from tests.frontends.talk import Line, Talk, packet

ANSWER_CODES = {
    b"INVALID_MAGIC", b"INVALID_COMMAND", b"INVALID_PACKET", b"INVALID_ARGUMENT",
    b"ARGUMENT_TOO_LARGE", b"QUEUE_ERROR", b"UNKNOWN_OPTION", b"JOB_NOT_FOUND",
}  # fmt: skip


@pytest.fixture
def talk() -> Talk:
    return Talk()


# ── a job's way through ──────────────────────────────────────────────────────


def test_foreground_job_goes_its_round(talk: Talk) -> None:
    worker, client = talk.worker(b"reverse"), talk.join()
    worker.send(c.GRAB_JOB)
    assert worker.heard() == [(c.NO_JOB, b"")]
    worker.send(c.PRE_SLEEP)

    handle = client.submit(b"reverse", b"", b"test")
    assert worker.heard() == [(c.NOOP, b"")]
    worker.send(c.GRAB_JOB)
    assert worker.heard() == [(c.JOB_ASSIGN, handle + b"\0reverse\0test")]
    worker.send(c.WORK_COMPLETE, handle, b"tset")

    assert client.heard() == [(c.WORK_COMPLETE, handle + b"\0tset")]
    assert worker.heard() == []


@pytest.mark.parametrize(
    "number",
    [
        c.SUBMIT_JOB, c.SUBMIT_JOB_BG, c.SUBMIT_JOB_HIGH, c.SUBMIT_JOB_HIGH_BG,
        c.SUBMIT_JOB_LOW, c.SUBMIT_JOB_LOW_BG,
    ],
)  # fmt: skip
def test_every_submission_is_answered_with_a_handle_and_can_be_grabbed(
    talk: Talk, number: int
) -> None:
    worker, client = talk.worker(b"f"), talk.join()

    client.send(number, b"f", b"key", b"a\0b\0")

    kind, handle = client.only()
    assert kind == c.JOB_CREATED
    assert 0 < len(handle) < 64
    assert worker.grab(c.GRAB_JOB_UNIQ) == [handle, b"f", b"key", b"a\0b\0"]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("parts", [[b"agg", b"w\0w"], [b"", b"w\0w"], [b"w"]])
def test_reduce_job_comes_with_five_parts_or_four(
    talk: Talk, background: bool, parts: list[bytes]
) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    number = c.SUBMIT_REDUCE_JOB_BACKGROUND if background else c.SUBMIT_REDUCE_JOB

    client.send(number, b"f", b"u", b"r", *parts)

    kind, handle = client.only()
    assert kind == c.JOB_CREATED
    worker.send(c.GRAB_JOB_ALL)
    assert worker.only() == (
        c.JOB_ASSIGN_ALL,
        handle + b"\0f\0u\0r\0" + parts[-1],
    )


@pytest.mark.parametrize(
    ("grab", "assign", "extra"),
    [(c.GRAB_JOB, c.JOB_ASSIGN, b""), (c.GRAB_JOB_UNIQ, c.JOB_ASSIGN_UNIQ, b"\0u"),
     (c.GRAB_JOB_ALL, c.JOB_ASSIGN_ALL, b"\0u\0r")],
)  # fmt: skip
def test_reduce_job_is_given_in_the_words_of_the_grab(
    talk: Talk, grab: int, assign: int, extra: bytes
) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    client.send(c.SUBMIT_REDUCE_JOB, b"f", b"u", b"r", b"", b"w")
    _, handle = client.only()

    worker.send(grab)

    assert worker.only() == (assign, handle + b"\0f" + extra + b"\0w")


def test_grab_all_of_a_job_without_reducer_is_answered_as_uniq(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit(b"f", b"u", b"w")

    worker.send(c.GRAB_JOB_ALL)

    assert worker.only() == (c.JOB_ASSIGN_UNIQ, handle + b"\0f\0u\0w")


@pytest.mark.parametrize("empty", [b"", b"-"])
def test_missing_and_dash_unique_are_shown_as_they_came(talk: Talk, empty: bytes) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    client.submit(b"f", empty, b"w")

    assert worker.grab(c.GRAB_JOB_UNIQ)[2] == empty


def test_unique_of_64_bytes_is_kept_whole(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit(b"f", b"u" * 64, b"w")

    assert client.submit(b"f", b"u" * 64, b"other") == handle
    assert worker.grab(c.GRAB_JOB_UNIQ) == [handle, b"f", b"u" * 64, b"w"]


def test_empty_name_and_empty_workload_are_a_job(talk: Talk) -> None:
    worker, client = talk.worker(b""), talk.join()

    handle = client.submit(b"", b"", b"")

    assert worker.grab() == [handle, b"", b""]


# ── reports ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (c.WORK_DATA, b"some\0data\0"), (c.WORK_WARNING, b"look out"), (c.WORK_COMPLETE, b""),
        (c.WORK_COMPLETE, b"\0\0"), (c.WORK_STATUS, b"1\x0010"), (c.WORK_STATUS, b"0.5\x001"),
        (c.WORK_STATUS, b"abc\0"), (c.WORK_STATUS, b"\0"),
    ],
)  # fmt: skip
def test_report_reaches_the_client_as_it_came(talk: Talk, number: int, body: bytes) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()

    worker.send(number, handle, body)

    assert client.heard() == [(number, handle + b"\0" + body)]
    assert worker.heard() == []


@pytest.mark.parametrize("number", [c.WORK_COMPLETE, c.WORK_DATA, c.WORK_WARNING])
def test_handle_alone_is_a_report_with_empty_data(talk: Talk, number: int) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()

    worker.send(number, handle)

    assert client.heard() == [(number, handle + b"\0")]
    assert worker.heard() == []


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_failure_is_told_with_the_bare_handle(talk: Talk, end: bytes) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()

    worker.say(packet(c.WORK_FAIL, handle + end))

    assert client.heard() == [(c.WORK_FAIL, handle)]


def test_exception_is_told_to_those_who_asked_and_is_a_failure_to_the_others(talk: Talk) -> None:
    worker, asks, does_not = talk.worker(b"f"), talk.join(), talk.join()
    asks.send(c.OPTION_REQ, b"exceptions")
    assert asks.heard() == [(c.OPTION_RES, b"exceptions")]
    handle = asks.submit(b"f", b"u")
    assert does_not.submit(b"f", b"u") == handle
    worker.grab()

    worker.send(c.WORK_EXCEPTION, handle, b"boom\0")
    worker.send(c.WORK_FAIL, handle)

    assert asks.heard() == [(c.WORK_EXCEPTION, handle + b"\0boom\0")]
    assert does_not.heard() == [(c.WORK_FAIL, handle)]
    assert worker.heard() == []


def test_option_counts_when_the_exception_comes(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()
    client.send(c.OPTION_REQ, b"exceptions")
    client.heard()

    worker.send(c.WORK_EXCEPTION, handle, b"boom")

    assert client.heard() == [(c.WORK_EXCEPTION, handle + b"\0boom")]


@pytest.mark.parametrize("said", [b"exceptions", b"EXCEPTIONS", b"Exceptions\0"])
def test_option_is_echoed_byte_for_byte(talk: Talk, said: bytes) -> None:
    client = talk.join()

    client.send(c.OPTION_REQ, said)

    assert client.heard() == [(c.OPTION_RES, said)]


@pytest.mark.parametrize("said", [b"", b"exception", b"exceptions\0\0", b"x" * 1000])
def test_other_options_are_unknown(talk: Talk, said: bytes) -> None:
    client = talk.join()

    client.send(c.OPTION_REQ, said)

    assert client.heard() == [(c.ERROR, b"UNKNOWN_OPTION\0Server does not recognize given option")]


NOT_FOUND = b"Job given in work result not found"


@pytest.mark.parametrize(
    ("number", "more", "text"),
    [
        (c.WORK_STATUS, [b"1", b"2"], NOT_FOUND), (c.WORK_COMPLETE, [b"x"], NOT_FOUND),
        (c.WORK_FAIL, [], NOT_FOUND), (c.WORK_DATA, [b"x"], b"Job does not exist on server"),
        (c.WORK_WARNING, [b"x"], b"Job does not exist on server"),
        (c.WORK_EXCEPTION, [b"x"],
         b"An exception was received for a job that does not exist"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("handle", [b"H:nobody:1", b"", b"x" * 300])
def test_report_on_a_job_of_nobodys_is_not_found(
    talk: Talk, number: int, more: list[bytes], text: bytes, handle: bytes
) -> None:
    worker = talk.worker(b"f")

    worker.send(number, handle, *more)

    assert worker.heard() == [(c.ERROR, b"JOB_NOT_FOUND\0" + text)]


def test_report_on_somebody_elses_job_is_not_found_and_reaches_nobody(talk: Talk) -> None:
    worker, stranger, client = talk.worker(b"f"), talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()

    for number in (c.WORK_DATA, c.WORK_WARNING, c.WORK_EXCEPTION, c.WORK_COMPLETE):
        stranger.send(number, handle, b"x")
        assert stranger.error() == b"JOB_NOT_FOUND"

    assert client.heard() == []
    assert talk.broker.status(handle).running


# ── questions ────────────────────────────────────────────────────────────────


def test_status_before_queued_running_and_after(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit(b"f", b"u")

    def ask() -> tuple[bytes, bytes]:
        client.send(c.GET_STATUS, handle)
        first = client.only()
        client.send(c.GET_STATUS_UNIQUE, b"u")
        second = client.only()
        assert first[0] == c.STATUS_RES
        assert second[0] == c.STATUS_RES_UNIQUE
        return first[1].removeprefix(handle + b"\0"), second[1].removeprefix(b"u\0")

    queued = ask()
    worker.grab()
    running = ask()
    worker.send(c.WORK_STATUS, handle, b"3.9", b"7\0")
    client.heard()
    reported = ask()
    worker.send(c.WORK_COMPLETE, handle)
    client.heard()

    assert queued == (b"1\x000\x000\x000", b"1\x000\x000\x000\x001")
    assert running == (b"1\x001\x000\x000", b"1\x001\x000\x000\x001")
    assert reported == (b"1\x001\x003\x007", b"1\x001\x003\x007\x001")
    assert ask() == (b"0\x000\x000\x000", b"0\x000\x000\x000\x000")


def test_one_nul_after_a_handle_is_nothing(talk: Talk) -> None:
    client = talk.join()
    handle = client.submit()

    client.send(c.GET_STATUS, handle + b"\0")

    assert client.heard() == [(c.STATUS_RES, handle + b"\x001\x000\x000\x000")]


def test_background_job_has_no_client_to_count(talk: Talk) -> None:
    client = talk.join()
    client.submit(b"f", b"u", number=c.SUBMIT_JOB_BG)

    client.send(c.GET_STATUS_UNIQUE, b"u")

    assert client.heard() == [(c.STATUS_RES_UNIQUE, b"u\x001\x000\x000\x000\x000")]


@pytest.mark.parametrize(
    ("number", "argument"), [(c.GET_STATUS, b"x" * 256), (c.GET_STATUS_UNIQUE, b"x" * 66)]
)
def test_question_for_what_cannot_be_is_answered(talk: Talk, number: int, argument: bytes) -> None:
    client = talk.join()

    client.send(number, argument)

    assert client.error() == b"ARGUMENT_TOO_LARGE"


@pytest.mark.parametrize("handle", [b"", b"H:nobody:1", b"x" * 64, b"x" * 255])
def test_unknown_handle_is_unknown(talk: Talk, handle: bytes) -> None:
    client = talk.join()

    client.send(c.GET_STATUS, handle)

    assert client.heard() == [(c.STATUS_RES, handle + b"\x000\x000\x000\x000")]


@pytest.mark.parametrize("data", [b"", b"x", b"\0\n\0", b"x" * 100_000])
def test_echo_comes_back_as_it_was(talk: Talk, data: bytes) -> None:
    client = talk.join()

    client.send(c.ECHO_REQ, data)

    assert client.heard() == [(c.ECHO_RES, data)]


# ── what is wrong ────────────────────────────────────────────────────────────


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


# ── what must be tolerated ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("number", "argument"),
    [(c.CAN_DO, b"f\0"), (c.CAN_DO_TIMEOUT, b"f\x001000\0"), (c.CAN_DO_TIMEOUT, b"f"),
     (c.CAN_DO_TIMEOUT, b"f\0"), (c.CAN_DO_TIMEOUT, b"f\0what"),
     (c.CAN_DO_TIMEOUT, b"f\0" + b"9" * 30)],
)  # fmt: skip
def test_ability_is_understood(talk: Talk, number: int, argument: bytes) -> None:
    worker, client = talk.join(), talk.join()
    client.submit(b"f", number=c.SUBMIT_JOB_BG)

    worker.send(number, argument)

    assert worker.heard() == []
    assert worker.grab()[1] == b"f"


def test_time_limit_is_in_milliseconds(talk: Talk) -> None:
    worker, other, client = talk.join(), talk.worker(b"f"), talk.join()
    worker.send(c.CAN_DO_TIMEOUT, b"f", b"1500")
    handle = client.submit()
    worker.grab()

    talk.pass_time(1.4)
    assert talk.broker.status(handle).running
    talk.pass_time(0.2)

    assert not talk.broker.status(handle).running
    worker.send(c.WORK_COMPLETE, handle, b"late")
    assert worker.error() == b"JOB_NOT_FOUND"
    assert other.grab()[0] == handle


def test_client_id_may_be_anything_and_may_change(talk: Talk) -> None:
    worker = talk.join()

    for name in (b"worker one", b"", b"x" * 1000, b"\xff\n\t", b"last\0"):
        worker.send(c.SET_CLIENT_ID, name)

    assert worker.heard() == []
    row = talk.broker.peer_row(worker.connection.number)
    assert row is not None
    assert row.client_id == b"last"


def test_grabs_may_be_piled_up_and_mixed_with_sleep(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handles = [client.submit(b"f", b"", b"%d" % n) for n in range(3)]

    worker.say(packet(c.GRAB_JOB) * 3 + packet(c.GRAB_JOB) + packet(c.PRE_SLEEP))

    assert worker.heard() == [
        *[(c.JOB_ASSIGN, handle + b"\0f\0%d" % n) for n, handle in enumerate(handles)],
        (c.NO_JOB, b""),
    ]
    client.submit()
    assert worker.heard() == [(c.NOOP, b"")]


def test_worker_that_only_ever_sleeps_gets_its_noop_each_time(talk: Talk) -> None:
    # python-gearman sends PRE_SLEEP after connecting and after every job.
    worker, client = talk.worker(b"f"), talk.join()
    client.submit()

    worker.say(packet(c.PRE_SLEEP) * 3)

    assert worker.heard() == [(c.NOOP, b"")] * 3


def test_text_and_packets_may_be_mixed_in_one_write(talk: Talk) -> None:
    client = talk.join()

    client.say(
        b"version\n" + packet(c.ECHO_REQ, b"abc") + b"getpid\r\n" + packet(c.ECHO_REQ, b"def")
    )

    assert client.heard() == [
        b"OK " + talk.house.version.encode() + b"\n",
        (c.ECHO_RES, b"abc"),
        b"OK 0\n",
        (c.ECHO_RES, b"def"),
    ]


def test_submission_with_an_error_keeps_its_place_among_the_answers(talk: Talk) -> None:
    client = talk.join()

    client.say(
        packet(c.SUBMIT_JOB, b"f", b"", b"1")
        + packet(c.SUBMIT_JOB, b"f", b"u" * 65, b"2")
        + packet(c.SUBMIT_JOB, b"f", b"", b"3")
    )

    assert [one[0] for one in client.heard()] == [c.JOB_CREATED, c.ERROR, c.JOB_CREATED]


def test_answers_keep_the_order_of_the_questions_whatever_they_are(talk: Talk) -> None:
    client = talk.join()

    client.say(
        packet(c.SUBMIT_JOB, b"f", b"", b"1") + b"status\n" + packet(c.GET_STATUS, b"H")
        + packet(c.ECHO_REQ, b"x") + packet(c.OPTION_REQ, b"what") + b"prioritystatus\n"
    )  # fmt: skip

    heard = client.heard()
    assert [one if isinstance(one, bytes) else one[0] for one in heard] == [
        c.JOB_CREATED, b"f\t1\t0\t0\n", b".\n", c.STATUS_RES, c.ECHO_RES, c.ERROR,
        b"f\t0\t1\t0\t0\n", b".\n",
    ]  # fmt: skip


# ── epoch ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("when", [b"", b"0", b"-5", b"1", b" 17 ", b"1700000000"])
def test_epoch_job_whose_time_has_come_runs_now(talk: Talk, when: bytes) -> None:
    worker, client = talk.worker(b"f"), talk.join()

    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"u", when, b"w")

    assert client.only()[0] == c.JOB_CREATED
    assert worker.grab()[2] == b"w"


@pytest.mark.parametrize("when", [b"abc", b"12x", b"9" * 20, b"-", b"1.5", b"0x10", "١".encode()])
def test_epoch_that_is_no_time_is_one_error(talk: Talk, when: bytes) -> None:
    client = talk.join()

    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"u", when, b"w")

    assert client.error() == b"INVALID_ARGUMENT"
    assert talk.broker.idle


def test_epoch_job_wakes_a_sleeper_when_its_time_comes(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"u", b"%d" % (talk.now + 60), b"w")
    worker.send(c.PRE_SLEEP)
    talk.pass_time(59.0)
    assert worker.heard() == []

    talk.pass_time(1.0)

    assert worker.heard() == [(c.NOOP, b"")]
    assert worker.grab()[2] == b"w"


# ── numbers in arguments ─────────────────────────────────────────────────────


@given(st.binary(max_size=30))
def test_any_argument_is_a_number_or_none(argument: bytes) -> None:
    assert limit_seconds(argument) >= 0.0
    assert -1 <= epoch_seconds(argument) < 10**18
    assert 0 <= whole_part(argument) <= 4294967295


@given(st.integers(0, 10**15 - 1))
def test_numbers_are_read(number: int) -> None:
    text = b"%d" % number

    assert limit_seconds(text) == number / 1000.0
    assert epoch_seconds(text) == number
    assert whole_part(text + b".75\0") == min(number, 4294967295)


# ── anything at all ──────────────────────────────────────────────────────────

words = st.one_of(
    st.sampled_from(
        [b"f", b"g", b"u", b"", b"-", b"0", b"1", b"1700000001", b"exceptions", b"H:1"]
    ),
    st.binary(max_size=12),
)
requests = st.tuples(
    st.one_of(st.integers(0, 44), st.integers(0, 2**32 - 1)), st.lists(words, max_size=6)
).map(lambda one: packet(one[0], *one[1]))


@given(st.lists(st.tuples(st.integers(0, 2), requests), max_size=30))
def test_any_packets_from_several_are_answered_in_known_words(
    story: list[tuple[int, bytes]],
) -> None:
    talk = Talk()
    lines: list[Line] = [talk.join() for _ in range(3)]

    for who, data in story:
        lines[who].say(data)

    for line in lines:
        assert not line.connection.closing
        for heard in line.heard():
            assert isinstance(heard, tuple)
            number, body = heard
            assert isinstance(number, int)
            assert isinstance(body, bytes)
            assert c.COMMANDS[number].sender & c.SERVER
            if number == c.ERROR:
                assert body.split(b"\0")[0] in ANSWER_CODES
    for line in lines:
        line.leave()
    assert not talk.broker.state.crews
