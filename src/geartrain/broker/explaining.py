"""Why a job is where it is, in words: for the person who asks ``gearadmin why``.

Each sentence is true at the moment it is made. Counting who stands before a job walks
its line, and stops at a bound; the rest is looked up.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.state import State
from geartrain.broker.tables import (
    BEHIND,
    DELAYED,
    PAGED,
    QUEUED,
    RUNNING,
    STORING,
    WISHED,
    Function,
    Job,
)
from geartrain.terms import HIGH, NORMAL, PRIORITY_NAMES

#: So many jobs of a line are counted; more are "more than" that.
MOST_COUNTED: Final = 100_000
#: So many workers are looked at.
MOST_WORKERS: Final = 10_000


def why(state: State, job: Job) -> list[str]:
    """What a person should know about a job that is here."""
    said: list[str] = []
    if job.state == RUNNING:
        said += _running(state, job)
    elif job.state == DELAYED:
        said.append(_delayed(state, job))
    elif job.state == PAGED:
        if job.when:
            said.append("It waits in the store for its time.")
        else:
            said += stored_of(state, job.function, job.priority)
    elif job.state == STORING:
        if state.fenced:
            said.append(
                "It pauses: this server's right to stored jobs has run out, and it cannot reach "
                "the store to prolong it."
            )
        elif state.trouble:
            said.append(f"It cannot be stored, and nobody may do it before that: {state.trouble}.")
        else:
            said.append("It is being stored; nobody may do it before that.")
    else:
        said += _queued(state, job)
    if job.attempts and job.state != DELAYED:
        said.append(f"It was given out {_times(job.attempts)} before, and did not come to an end.")
    said += _kept(state, job)
    if job.attached:
        said.append(f"{_count(job.attached, 'client waits', 'clients wait')} for it.")
    return said


def _running(state: State, job: Job) -> list[str]:
    worker = job.worker
    assert worker is not None
    who = f"{_text(worker.address)} {_text(worker.client_id)}"
    said = [f"It is running at worker {who}, for {span(state.steady - job.started)}."]
    if job.denominator:
        said.append(f"The worker has said that {job.numerator} of {job.denominator} is done.")
    if job.limit is not None:
        said.append(f"Its time limit ends in {span(job.limit.due - state.steady)}.")
    return said


def _delayed(state: State, job: Job) -> str:
    left = span(job.limit.due - state.wall) if job.limit is not None else "a while"
    if job.attempts:
        policy = job.function.policy
        most = f" of {policy.attempts}" if policy is not None and policy.attempts > 0 else ""
        return f"It pauses before attempt {job.attempts + 1}{most}, for {left}."
    return f"It was submitted for later, and is due in {left}."


def _queued(state: State, job: Job) -> list[str]:
    function = job.function
    said: list[str] = []
    if job.state == BEHIND:
        said.append("Older jobs of its line are only in the store; it comes after them.")
    else:
        said.append(_place(state, job))
    said += queue_of(state, function, job.priority)
    return said


def stored_of(state: State, function: Function, priority: int) -> list[str]:
    """What a ready job waits for that is not in memory."""
    where = "in the file of memory://" if state.rules.spills else "in the store"
    length = function.line(priority).live
    behind = ", behind what of its line is in memory" if length else ""
    said = [f"It waits {where}{behind}."]
    if function.tails is not None:
        length += function.tails[priority].length
    said.append(f"Its line has {_count(length, 'job', 'jobs')}.")
    if not state.rules.accept_new_work and not state.rules.spills:
        said.append("This server is shutting down; what is only in the store stays there.")
    return said + queue_of(state, function, priority)


def _place(state: State, job: Job) -> str:
    """How many go before it in its own line."""
    count = 0
    line = job.function.line(job.priority)
    for at in range(line.head, len(line.items)):
        entry = line.items[at]
        if entry is job:
            break
        if entry.waiting:
            count += 1
            if count >= MOST_COUNTED:
                return f"More than {MOST_COUNTED:,} jobs of its own line go before it."
    if count == 0:
        return "It is the next of its line."
    return f"{_count(count, 'job of its own line goes', 'jobs of its own line go')} before it."


def queue_of(state: State, function: Function, priority: int) -> list[str]:
    """What else a ready job of this line waits for: higher priorities, and workers."""
    said: list[str] = []
    higher = 0
    for other in range(HIGH, priority):
        higher += function.line(other).live
        if function.tails is not None:
            higher += function.tails[other].length
    if higher:
        than = PRIORITY_NAMES[priority] if priority != NORMAL else "normal"
        jobs = _count(higher, "job", "jobs")
        go = "goes" if higher == 1 else "go"
        said.append(f"{jobs} of this function with a priority above {than} {go} first.")
    if function.workers == 0:
        said.append(f"No worker that is connected here can do {_text(function.name)}.")
        return said
    busy = asleep = woken = awake = 0
    left = MOST_WORKERS
    for peer in state.peers.values():
        if function.name not in peer.abilities:
            continue
        if peer.running:
            busy += 1
        elif peer.asleep:
            asleep += 1
        elif peer.roused_for is not None:
            woken += 1
        else:
            awake += 1
        left -= 1
        if left == 0:
            break
    workers = _count(function.workers, "worker", "workers")
    if busy and not asleep and not woken and not awake:
        doing = "that one has" if busy == 1 else "all of them have"
        said.append(f"{workers} can do it here, and {doing} a job.")
    else:
        parts = []
        if busy:
            parts.append(f"{busy} {'has' if busy == 1 else 'have'} a job")
        if woken:
            parts.append(f"{woken} {'was' if woken == 1 else 'were'} woken just now")
        if awake:
            is_, has = ("is", "has") if awake == 1 else ("are", "have")
            parts.append(
                f"{awake} {is_} awake and {has} not asked for a job, perhaps busy for another server"
            )
        if asleep:
            parts.append(f"{asleep} {'is' if asleep == 1 else 'are'} asleep")
        said.append(f"{workers} can do it here: {', '.join(parts)}.")
    return said


def _kept(state: State, job: Job) -> list[str]:
    if job.kept == WISHED and job.state != STORING:
        return ["It is not stored yet, and will be soon."]
    if job.state in (QUEUED, BEHIND, DELAYED) and state.fenced:
        return ["This server cannot reach the store at present; jobs that are stored pause."]
    return []


def span(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _times(number: int) -> str:
    return "once" if number == 1 else "twice" if number == 2 else f"{number} times"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
