"""What the server and a store tell each other of single jobs: values, though plain classes."""

from __future__ import annotations

from typing import Any

import pytest

from geartrain.stores.records import (
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
)

QUEUE = QueueKey("", b"f", 1)
JOB = StoredJob(JobId(7), QUEUE, b"body", b"u", b"k", 1.5, b"sum", 2, {"trace": "1"})

OTHERS: list[dict[str, Any]] = [
    {"id": JobId(8)},
    {"queue": QueueKey("", b"g", 1)},
    {"body": None},
    {"unique": b""},
    {"key": None},
    {"run_at": None},
    {"reducer": None},
    {"attempts": 3},
    {"headers": {}},
]


@pytest.mark.parametrize("changes", OTHERS, ids=lambda changes: next(iter(changes)))
def test_job_is_another_if_anything_in_it_is(changes: dict[str, Any]) -> None:
    other = JOB.but(**changes)

    assert other != JOB
    assert {name: getattr(other, name) for name in changes} == changes
    assert other.but(**{name: getattr(JOB, name) for name in changes}) == JOB


def test_job_has_no_other_fields() -> None:
    with pytest.raises(TypeError, match="argument"):
        JOB.but(colour="red")


def test_equal_values_have_equal_hashes() -> None:
    twin = JOB.but()
    assert twin == JOB
    assert len({JOB, twin}) == 1
    assert len({Add(JOB, Placement.MINE), Add(twin, Placement.MINE)}) == 1
    assert len({Ending(JobId(7)), Ending(JobId(7), None, None, "")}) == 1
    answers = {AddResult(Added.STORED, JobId(7), Placement.POOL) for _ in range(2)}
    assert len(answers) == 1


def test_values_of_two_kinds_are_not_equal() -> None:
    values: list[object] = [
        JOB,
        Add(JOB, Placement.MINE),
        AddResult(Added.STORED, JOB.id, Placement.MINE),
        Ending(JOB.id),
    ]
    for at, one in enumerate(values):
        assert [one == other for other in values] == [at == n for n in range(len(values))]


def test_values_differ_in_each_of_their_fields() -> None:
    assert Add(JOB, Placement.MINE) != Add(JOB, Placement.POOL)
    assert Add(JOB, Placement.MINE) != Add(JOB.but(attempts=3), Placement.MINE)
    answer = AddResult(Added.STORED, JobId(7), Placement.MINE)
    assert answer != AddResult(Added.MERGED, JobId(7), Placement.MINE)
    assert answer != AddResult(Added.STORED, JobId(8), Placement.MINE)
    assert answer != AddResult(Added.STORED, JobId(7), Placement.POOL)
    end = Ending(JobId(7), "why", 2, "w")
    assert end != Ending(JobId(8), "why", 2, "w")
    assert end != Ending(JobId(7), None, 2, "w")
    assert end != Ending(JobId(7), "why", None, "w")
    assert end != Ending(JobId(7), "why", 2, "")


def test_values_tell_what_is_in_them() -> None:
    for value in (JOB, Add(JOB, Placement.POOL)):
        assert "id=7" in repr(value)
        assert "body=b'body'" in repr(value)
        assert "trace" in repr(value)
    assert "MERGED" in repr(AddResult(Added.MERGED, JobId(7), Placement.POOL))
    assert "dead='why'" in repr(Ending(JobId(7), "why"))
