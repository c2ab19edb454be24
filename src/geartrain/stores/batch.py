"""What one commit amounts to, worked out before any store is asked.

Three lists come in: adds, ends, gives. The same job may be in two of them: it
was submitted and over within one batch, or submitted and given away. After
``plan`` each job is in one list only, so a store can carry the lists out in
any order that puts ends before adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from geartrain.stores.port import (
    Add,
    Added,
    AddResult,
    Ending,
    Give,
    JobId,
    Placement,
    StoredJob,
    Traits,
)


class Plan(NamedTuple):
    """The lists, each job in one of them."""

    #: To be written, with their place among the answers.
    adds: list[tuple[int, Add]]
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
    ending = {end.id: end for end in ends}
    giving = {give.id: give for give in gives if give.id not in ending}
    kept: list[tuple[int, Add]] = []
    stillborn: list[tuple[StoredJob, Ending]] = []
    elided: set[JobId] = set()
    answers: list[AddResult | None] = [None] * len(adds)
    most = traits.max_body
    ids: set[JobId] = set()
    for place in range(len(adds)):
        add = adds[place]
        job = add[0]
        body = job[2]
        ids.add(job[0])
        if body is None:
            raise ValueError(f"job {job.id} has no body to store: load() it first")
        if len(body) > most:
            raise ValueError(
                f"a body of {len(body)} bytes, this store takes {most}; send it by reference"
            )
        if not ending and not giving:
            kept.append((place, add))
            continue
        if end := ending.get(job.id):
            elided.add(job.id)
            answers[place] = AddResult(Added.STORED, job.id, Placement.MINE)
            if end.dead is not None:
                stillborn.append((job, end))
            continue
        if give := giving.pop(job.id, None):
            attempts = job.attempts if give.attempts is None else give.attempts
            run_at = job.run_at if give.run_at is None else give.run_at
            add = Add(job._replace(attempts=attempts, run_at=run_at), give.placement)
        kept.append((place, add))
    if len(ids) != len(adds):
        raise ValueError("one commit adds the same job twice")
    return Plan(kept, list(ending.values()), list(giving.values()), stillborn, elided, answers)


def complete(answers: Sequence[AddResult | None]) -> list[AddResult]:
    """The answers, all of which are there by now."""
    whole = [answer for answer in answers if answer is not None]
    assert len(whole) == len(answers), "an add was not answered"
    return whole
