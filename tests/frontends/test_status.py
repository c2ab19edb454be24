"""Questions that memory can answer: how a job is, and echoes."""

from __future__ import annotations

import pytest

from geartrain.protocol import commands as c
from tests.frontends.talk import Talk


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
