"""Snapshots for people: functions, peers, jobs.

Whoever shows something (admin text, metrics, a monitor) reads these and never the
tables, so the broker may change its data without asking them.
"""

from __future__ import annotations

from geartrain.broker.state import State
from geartrain.broker.tables import RUNNING, STATE_NAMES, Job
from geartrain.terms import HIGH, LOW, NORMAL


class FunctionRow:
    """One function, as ``status`` and ``prioritystatus`` show it."""

    def __init__(
        self, name: bytes, total: int, running: int, high: int, normal: int, low: int, workers: int
    ) -> None:
        self.name = name
        self.total = total
        self.running = running
        self.high = high
        self.normal = normal
        self.low = low
        self.workers = workers


class PeerRow:
    """One connection, as ``workers`` shows it; abilities newest first."""

    def __init__(
        self, number: int, address: bytes, client_id: bytes, abilities: list[bytes]
    ) -> None:
        self.number = number
        self.address = address
        self.client_id = client_id
        self.abilities = abilities


class JobRow:
    """One job, as ``show jobs`` shows it."""

    def __init__(
        self,
        handle: bytes,
        function: bytes,
        unique: bytes,
        state: str,
        attempts: int,
        background: bool,
        clients: int,
        worker: bytes,
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.state = state
        self.attempts = attempts
        self.background = background
        self.clients = clients
        self.worker = worker


class JobStatus:
    """The answer to GET_STATUS and GET_STATUS_UNIQUE."""

    def __init__(
        self, known: bool, running: bool, numerator: int, denominator: int, clients: int
    ) -> None:
        self.known = known
        self.running = running
        self.numerator = numerator
        self.denominator = denominator
        self.clients = clients


def function_row(state: State, name: bytes) -> FunctionRow | None:
    """One function, or None when it was dropped.

    Delayed epoch jobs count as queued with normal priority, as in the C server.
    """
    function = state.functions.get(name)
    if function is None:
        return None
    high, normal, low = function.high.live, function.normal.live, function.low.live
    tails = function.tails
    if tails is not None:
        high += tails[HIGH].length
        normal += tails[NORMAL].length
        low += tails[LOW].length
        for tail in tails:
            normal += tail.dormant
    return FunctionRow(
        name,
        function.total,
        function.running,
        high,
        normal + function.delayed,
        low,
        function.workers,
    )


def peer_row(state: State, number: int) -> PeerRow | None:
    """One connection, or None when it has gone."""
    peer = state.peers.get(number)
    if peer is None:
        return None
    abilities = list(peer.abilities)
    abilities.reverse()
    return PeerRow(number, peer.address, peer.client_id, abilities)


def job_handles(state: State) -> list[bytes]:
    """Handles of all jobs that are not over: a list that stays as it is while jobs come and go."""
    return list(state.jobs)


def job_row(state: State, handle: bytes) -> JobRow | None:
    """One job, or None when it is over."""
    job = state.jobs.get(handle)
    if job is None:
        return None
    return JobRow(
        job.handle,
        job.function.name,
        job.unique,
        STATE_NAMES[job.state],
        job.attempts,
        job.background,
        job.attached,
        job.worker.address if job.worker is not None else b"",
    )


def status_of(job: Job | None) -> JobStatus:
    """What a client may know about a job; None is a job that is over or never was."""
    if job is None:
        return JobStatus(False, False, 0, 0, 0)
    running = job.state == RUNNING
    return JobStatus(True, running, job.numerator, job.denominator, job.attached)
