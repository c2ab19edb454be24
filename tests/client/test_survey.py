"""A question to several servers: which answers count, and what is said if there is none."""

from __future__ import annotations

import pytest

from geartrain.client.events import CREATED, EchoReply, Lost, Refused
from geartrain.client.survey import Survey, has_worker
from geartrain.errors import ConnectTimeout, ServerError, ServerUnavailable, SubmitTimeout
from geartrain.transport.address import Address

A, B = Address("a", 4730), Address("b", 4730)


def test_one_answer_is_enough_whatever_the_others_did() -> None:
    survey = Survey(EchoReply, 0)

    survey.failed(A, SubmitTimeout("late"))
    assert survey.heard(B, EchoReply(b"x")) == EchoReply(b"x")

    survey.check()


def test_a_survey_is_complete_when_as_many_have_answered_as_were_wanted() -> None:
    survey = Survey(EchoReply, 1)

    assert survey.heard(A, Refused("0", "no")) is None
    assert not survey.complete
    survey.heard(B, EchoReply(b"x"))
    assert survey.complete


def test_a_refusal_goes_before_servers_that_cannot_be_reached() -> None:
    survey = Survey(EchoReply, 0)

    survey.heard(A, Refused("UNKNOWN", "what?"))
    survey.failed(B, ServerUnavailable("gone"))

    with pytest.raises(ServerError, match="what"):
        survey.check()


def test_servers_that_cannot_be_reached_are_named_with_their_causes() -> None:
    survey = Survey(EchoReply, 0)

    survey.failed(A, ConnectTimeout("4 s"))
    survey.heard(B, Lost(CREATED, "it hung up"))

    with pytest.raises(ServerUnavailable, match="no server could be asked") as caught:
        survey.check()
    assert caught.value.causes == {"a:4730": "4 s", "b:4730": "it hung up"}


def test_a_server_that_is_silent_is_told_as_a_timeout() -> None:
    survey = Survey(EchoReply, 0)

    survey.failed(A, SubmitTimeout("the server has not answered in time"))

    with pytest.raises(SubmitTimeout):
        survey.check()


def test_a_function_has_a_worker_if_the_last_number_of_its_line_says_so() -> None:
    assert has_worker(["other\t0\t0\t5", "f\t3\t1\t2"], "f")
    assert not has_worker(["other\t0\t0\t5", "f\t3\t1\t0"], "f")
    assert not has_worker(["."], "f")
