"""Which rows a server holds, as far as it is worked out for each add: compiled, for that reason."""

from __future__ import annotations

from geartrain.stores.port import Add, Added, AddResult, Ending, JobId, Placement, QueueKey

#: In place of a queue's number while the row is being written.
WRITING = -1


def hold(adds: list[tuple[int, Add]], mine: dict[JobId, int]) -> None:
    """Before they are written: note those that are to be mine."""
    held = Placement.MINE
    for _, (job, placement) in adds:
        if placement is held and job[5] is None:
            id = job[0]
            if id not in mine:
                mine[id] = WRITING


def held_of(ends: list[Ending], mine: dict[JobId, int]) -> dict[JobId, int]:
    """Those of the rows to be ended that are mine, with their queues."""
    held: dict[JobId, int] = {}
    for end in ends:
        id = end[0]
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
    adds: list[tuple[int, Add]],
    answers: list[AddResult | None],
    mine: dict[JobId, int],
    numbers: dict[tuple[str, bytes], int],
) -> tuple[dict[int, int], list[tuple[int, Add]]]:
    """After that: hold what was stored as mine.

    Returns:
        How many that are, by queue; and the adds that are something else.
    """
    held: dict[int, int] = {}
    others: list[tuple[int, Add]] = []
    stored, as_mine = Added.STORED, Placement.MINE
    #: Most follow one that goes to the same queue.
    last: QueueKey | None = None
    number = -1
    count = 0
    for one in adds:
        place, (job, _) = one
        answer = answers[place]
        assert answer is not None
        outcome, id, placement = answer
        if outcome is not stored or placement is not as_mine or mine.get(id, 0) != WRITING:
            others.append(one)
            continue
        queue = job[1]
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
    return held, others
