"""Where several servers share a queue, what nobody here will do goes back to it.

That is all that is stored and waits in a function whose last worker has left, and
at a graceful stop all that is stored and waits. The rows change hands with the next
commit; here the jobs are forgotten at once, as others may have them from then on.
Only those stay for which somebody waits here.
"""

from __future__ import annotations

from geartrain.broker.departure import take_out
from geartrain.broker.paging import page_out
from geartrain.broker.queues import Entry
from geartrain.broker.state import State
from geartrain.broker.tables import KEPT, STORING, UNKEPT, Function, Job
from geartrain.broker.wishes import Gift


def give_back(state: State, everything: bool) -> None:
    """Note what is to be given back in ``state.gifts``.

    Args:
        everything: whether or not there are workers.
    """
    if state.fenced:
        # Nobody knows whose these are.
        return
    for function in state.functions.values():
        if (function.queued or function.behind) and (everything or function.workers == 0):
            _give_lines(state, function)


def _give_lines(state: State, function: Function) -> None:
    waiting: list[Entry] = []
    for priority in (0, 1, 2):
        waiting.extend(function.line(priority).waiting())
        if function.tails is not None:
            behind = function.tails[priority].behind
            if behind is not None:
                waiting.extend(behind.waiting())
    for entry in waiting:
        assert isinstance(entry, Job)
        _give(state, entry)


def _give(state: State, job: Job) -> None:
    if job.kept != KEPT or job.client is not None:
        return
    take_out(state, job)
    state.gifts.append(Gift(job.handle, job.attempts))
    state.wishes = True
    job.state = STORING
    job.function.storing += 1
    page_out(state, job)
    # What else the store was to be told of it would make it ours again.
    job.kept = UNKEPT
