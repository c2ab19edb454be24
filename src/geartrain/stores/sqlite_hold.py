"""Which rows a server holds, as far as it is worked out for each add: compiled, for that reason."""

from __future__ import annotations

from geartrain.stores.port import Add, Added, AddResult, JobId, Placement, QueueKey

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
    known: dict[QueueKey, int] = {}
    stored, as_mine = Added.STORED, Placement.MINE
    for one in adds:
        place, (job, _) = one
        id, queue, _, _, _, _, _, _, _ = job
        answer = answers[place]
        assert answer is not None
        outcome, _, placement = answer
        if outcome is not stored or placement is not as_mine or mine.get(id, 0) != WRITING:
            others.append(one)
            continue
        number = known.get(queue, -1)
        if number < 0:
            number = known[queue] = numbers[queue[0], queue[1]] << 2 | queue[2]
        mine[id] = number
        held[number] = held.get(number, 0) + 1
    return held, others
