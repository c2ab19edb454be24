"""Events and addresses: plain values that compare, match, print and travel."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from geartrain.client import events
from geartrain.client.events import (
    JobCreated,
    StatusReply,
    WorkComplete,
    WorkData,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from geartrain.terms import JobHandle
from geartrain.transport.address import Address
from geartrain.values import Value
from geartrain.worker import events as worker_events

ONE_OF_EACH = [
    JobCreated(JobHandle(b"H:a:1"), 3),
    WorkData(b"a", 3),
    WorkStatus(1, 2, 3),
    WorkFail(3),
    StatusReply(b"H:a:1", True, False, 1, 2, None, 3),
    Address("db1", 4731, tls=True),
    worker_events.FellAsleep(),
]


def test_an_event_is_told_by_its_kind_and_what_it_holds() -> None:
    assert WorkData(b"a") == WorkData(b"a")
    assert WorkData(b"a") != WorkData(b"b")
    assert WorkData(b"a") != WorkWarning(b"a")
    assert WorkFail() == WorkFail()
    assert WorkFail() != worker_events.FellAsleep()
    assert len({WorkData(b"a"), WorkData(b"a"), WorkWarning(b"a"), WorkFail(), WorkFail(7)}) == 3


def test_which_request_it_answers_is_no_part_of_an_event() -> None:
    one, other = WorkComplete(b"a", 1), WorkComplete(b"a", 2)

    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == "WorkComplete(data=b'a')"


def test_match_takes_an_event_apart() -> None:
    heard = []
    for event in (WorkStatus(1, 4, 9), WorkData(b"a", 9), WorkFail(9)):
        match event:
            case WorkData(data):
                heard.append(data.decode())
            case WorkStatus(numerator, denominator):
                heard.append(f"{numerator} of {denominator}")
            case WorkFail():
                heard.append("failed")

    assert heard == ["1 of 4", "a", "failed"]


@pytest.mark.parametrize("value", ONE_OF_EACH, ids=lambda value: type(value).__name__)
def test_a_value_survives_a_journey(value: Value) -> None:
    for there_and_back in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert there_and_back == value
        assert repr(there_and_back) == repr(value)
        assert getattr(there_and_back, "request", 0) == getattr(value, "request", 0)


def test_every_kind_says_what_counts_in_it() -> None:
    kinds = [
        kind
        for module in (events, worker_events)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Value) and kind is not Value
    ]

    assert len(kinds) > 20
    for kind in kinds:
        counted = set(kind.__dict__.get("__match_args__", ()))
        assert attributes_of(kind) - {"request", "fraction"} == counted, kind


def attributes_of(kind: type[Value]) -> set[str]:
    """What its instances hold. A compiled class has no ``__slots__``, but descriptors as they make."""
    return {
        name
        for part in kind.__mro__[:-1]
        for name, value in vars(part).items()
        if name[0] != "_" and inspect.isdatadescriptor(value)
    }
