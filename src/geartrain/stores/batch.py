"""What one commit amounts to, worked out before any store is asked.

Three lists come in: adds, ends, gives. The same job may be in two of them: it
was submitted and over within one batch, or submitted and given away. After
``plan`` each job is in one list only, so a store can carry the lists out in
any order that puts ends before adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from geartrain.stores.port import Give, Traits
from geartrain.stores.records import (
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    StoredJob,
)


class Plan(NamedTuple):
    """The lists, each job in one of them."""

    #: To be written ...
    adds: list[Add]
    #: ... and for each of these its place among the answers.
    places: list[int]
    ends: list[Ending]
    gives: list[Give]
    #: Over before they were written, and to go to the dead set.
    stillborn: list[tuple[StoredJob, Ending]]
    #: Ends that need not find a row.
    elided: set[JobId]
    #: One for each add of the commit; those of ``adds`` are to be filled in.
    answers: list[AddResult | None]


def plan(
    adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give], traits: Traits
) -> Plan:
    """Put each job into one list.

    Raises:
        ValueError: an add without a body, or with one larger than the store takes;
            the same job added twice.
    """
    to_write = list(adds)
    _check(to_write, traits.max_body)
    places = list(range(len(to_write)))
    answers: list[AddResult | None] = [None] * len(to_write)
    if not ends and not gives:
        return Plan(to_write, places, [], [], [], set(), answers)
    ending = {end.id: end for end in ends}
    giving = {give.id: give for give in gives if give.id not in ending}
    kept: list[Add] = []
    kept_places: list[int] = []
    stillborn: list[tuple[StoredJob, Ending]] = []
    elided: set[JobId] = set()
    for place in places:
        add = to_write[place]
        job = add.job
        end = ending.get(job.id)
        if end is not None:
            elided.add(job.id)
            answers[place] = AddResult(Added.STORED, job.id, Placement.MINE)
            if end.dead is not None:
                stillborn.append((job, end))
            continue
        give = giving.pop(job.id, None)
        if give is not None:
            attempts = job.attempts if give.attempts is None else give.attempts
            run_at = job.run_at if give.run_at is None else give.run_at
            add = Add(job.but(attempts=attempts, run_at=run_at), give.placement)
        kept.append(add)
        kept_places.append(place)
    return Plan(
        kept,
        kept_places,
        list(ending.values()),
        list(giving.values()),
        stillborn,
        elided,
        answers,
    )


def _check(adds: list[Add], most: int) -> None:
    ascending = True
    before = JobId(-1)
    for add in adds:
        job = add.job
        body = job.body
        if body is None:
            raise ValueError(f"job {job.id} has no body to store: load() it first")
        if len(body) > most:
            raise ValueError(
                f"a body of {len(body)} bytes, this store takes {most}; send it by reference"
            )
        if job.id <= before:
            ascending = False
        before = job.id
    if not ascending and len({add.job.id for add in adds}) != len(adds):
        raise ValueError("one commit adds the same job twice")


def complete(answers: Sequence[AddResult | None]) -> list[AddResult]:
    """The answers, all of which are there by now."""
    whole: list[AddResult] = []
    for answer in answers:
        assert answer is not None, "an add was not answered"
        whole.append(answer)
    return whole
