"""A server without a store runs short of memory: the ends of its lines go to a file.

Half of each line, and at most a window's length, stays in memory. Of the rest the jobs
that nobody waits for are stored, as if they had just been submitted to a durable queue;
those that somebody waits for wait behind them, with large workloads in the file. From then on it
is a durable queue that promises nothing (see ``paging``), until all that is in the file has been done.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.paging import changed, lighten, stand_behind
from geartrain.broker.queues import Entry
from geartrain.broker.state import State
from geartrain.broker.tables import POOLING, STORING, UNKEPT, Function, Job
from geartrain.broker.windows import tail_of
from geartrain.terms import HIGH, LOW, NORMAL

#: Jobs that are looked at, the oldest first, for workloads that are in the file. If there are some
#: further on, jobs stay in memory from now on, and these are fetched when it is their turn.
MOST_LOOKED_AT: Final = 10_000


def begin(state: State) -> None:
    """There is a file now."""
    state.rules.durable = True
    for function in state.functions.values():
        for priority in (HIGH, NORMAL, LOW):
            if function.line(priority).live > 1:
                _shorten(state, function, priority)


def _shorten(state: State, function: Function, priority: int) -> None:
    line = function.line(priority)
    stay = min(line.live // 2, state.rules.most_window)
    tail = tail_of(function, priority)
    head: list[Entry] = []
    rest: list[Job] = []
    last = b""
    for entry in line.waiting():
        assert isinstance(entry, Job)
        # Who has been lost by a worker is older than those before it: it stays in the head.
        kept = entry.kept != UNKEPT and entry.background
        if len(head) < stay or entry.handle < last or kept:
            head.append(entry)
            if not entry.background:
                lighten(state, entry)
        else:
            rest.append(entry)
        last = max(last, entry.handle)
    line.keep(head)
    for job in rest:
        function.queued -= 1
        tail.bytes -= len(job.workload)
        if job.client is not None or not job.background:
            stand_behind(tail, job)
            if not job.background:
                lighten(state, job)
            continue
        job.state = STORING
        function.storing += 1
        job.kept = POOLING
        if tail.coming == 0 and tail.ready == 0:
            tail.since = job.handle
        tail.coming += 1
        state.adds.append(job)
        state.wishes = True
    changed(state, tail)


def end(state: State) -> bool:
    """Have jobs stay in memory from now on, if the file is needed no longer."""
    if state.paged or state.memory * 2 > state.rules.max_memory_bytes:
        return False
    if any(function.storing for function in state.functions.values()):
        return False
    left = MOST_LOOKED_AT
    for job in state.jobs.values():
        if job.away:
            return False
        left -= 1
        if left == 0:
            break
    state.rules.durable = False
    state.spilling = False
    return True
