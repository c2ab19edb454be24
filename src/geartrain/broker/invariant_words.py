"""What the records are called where people read of them: in broken invariants."""

from __future__ import annotations

from geartrain.broker.tables import STATE_NAMES, Crew, Function, Job, Peer
from geartrain.terms import PRIORITY_NAMES


def job_text(job: Job) -> str:
    return f"job {job.handle!r} ({STATE_NAMES[job.state]}, {function_text(job.function)})"


def function_text(function: Function) -> str:
    return f"function {function.name!r}"


def line_text(function: Function, priority: int) -> str:
    return f"{PRIORITY_NAMES[priority]} line of {function_text(function)}"


def peer_text(peer: Peer) -> str:
    return f"peer {peer.number}"


def crew_text(crew: Crew) -> str:
    return f"crew of {[function.name for function in crew.functions]}"
