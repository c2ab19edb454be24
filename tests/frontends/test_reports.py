"""What workers report, and who hears it in which words."""

from __future__ import annotations

import pytest

from geartrain.protocol import commands as c
from tests.frontends.talk import Talk, packet


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
