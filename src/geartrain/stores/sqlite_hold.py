"""Which rows a server holds, as far as it is worked out for each add: compiled, for that reason."""

from __future__ import annotations

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

#: In place of a queue's number while the row is being written.
WRITING = -1


def hold(adds: list[Add], mine: dict[JobId, int]) -> None:
    """Before they are written: note those that are to be mine."""
    held = Placement.MINE
    for add in adds:
        if add.placement is held and add.job.run_at is None:
            id = add.job.id
            if id not in mine:
                mine[id] = WRITING


def held_of(ends: list[Ending], mine: dict[JobId, int]) -> dict[JobId, int]:
    """Those of the rows to be ended that are mine, with their queues."""
    held: dict[JobId, int] = {}
    for end in ends:
        id = end.id
        number = mine.get(id)
        if number is not None:
            held[id] = number
    return held


def let_go(held: dict[JobId, int], mine: dict[JobId, int]) -> dict[int, int]:
    """They are mine no more; how many there were, by queue."""
    counts: dict[int, int] = {}
    for id in held:
        number = mine.pop(id)
        counts[number] = counts.get(number, 0) + 1
    return counts


def settle(
    adds: list[Add],
    places: list[int],
    answers: list[AddResult | None],
    mine: dict[JobId, int],
    numbers: dict[tuple[str, bytes], int],
    fresh: bool,
) -> tuple[dict[int, int], list[StoredJob]]:
    """After that: hold what was stored as mine, and let each answer say who holds the row.

    Args:
        fresh: what was stored was not there before, so nobody holds what was not to be mine.

    Returns:
        How many are mine now, by queue; and those that were to be mine and are not: they
        merged, or their rows were in the pool already.
    """
    held: dict[int, int] = {}
    others: list[StoredJob] = []
    #: Places of answers about somebody else's row.
    merged: list[int] = []
    stored, as_mine, pooled = Added.STORED, Placement.MINE, Placement.POOL
    #: Most follow one that goes to the same queue.
    last: QueueKey | None = None
    number = -1
    count = 0
    for at in range(len(adds)):
        place = places[at]
        add = adds[at]
        job = add.job
        answer = answers[place]
        assert answer is not None
        if fresh and add.placement is not as_mine and answer.outcome is stored:
            continue
        id = job.id
        was = mine.get(id)
        if answer.outcome is not stored:
            if was is not None and was == WRITING:
                del mine[id]
                others.append(job)
            merged.append(place)
            continue
        if was is None:
            if answer.placement is as_mine:
                answers[place] = AddResult(stored, id, pooled)
            continue
        if was != WRITING:
            if answer.placement is not as_mine:
                answers[place] = AddResult(stored, id, as_mine)
            continue
        if answer.placement is not as_mine:
            del mine[id]
            others.append(job)
            continue
        queue = job.queue
        if queue is not last:
            if count:
                held[number] = held.get(number, 0) + count
                count = 0
            last = queue
            number = numbers[queue[0], queue[1]] << 2 | queue[2]
        mine[id] = number
        count += 1
    if count:
        held[number] = held.get(number, 0) + count
    for place in merged:
        answer = answers[place]
        assert answer is not None
        placement = as_mine if answer.id in mine else pooled
        if placement is not answer.placement:
            answers[place] = AddResult(answer.outcome, answer.id, placement)
    return held, others


def untake(adds: list[Add], mine: dict[JobId, int]) -> list[StoredJob]:
    """Nothing of it was written: those that were to be mine."""
    others = []
    for add in adds:
        if mine.get(add.job.id, 0) == WRITING:
            del mine[add.job.id]
            others.append(add.job)
    return others
