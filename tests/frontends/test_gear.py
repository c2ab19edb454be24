"""A connection that speaks Gearman: packets in, packets out, byte for byte.

Source: protocol reference, sections 1.2, 1.4, 1.5 and 10.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.protocol import commands as c
from tests.frontends.talk import Line, Talk, packet

ANSWER_CODES = {
    b"INVALID_MAGIC", b"INVALID_COMMAND", b"INVALID_PACKET", b"INVALID_ARGUMENT",
    b"ARGUMENT_TOO_LARGE", b"QUEUE_ERROR", b"UNKNOWN_OPTION", b"JOB_NOT_FOUND",
}  # fmt: skip


# ── a job's way through ─────────────────────────────────────────────────────────


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


# ── what must be tolerated ──────────────────────────────────────────────────────


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


# ── anything at all ─────────────────────────────────────────────────────────────


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
