"""The books: what was submitted, what came of it, and what really ran."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable

from geartrain.client.aio import AsyncClient
from geartrain.client.sync import Client
from geartrain.errors import (
    GearmanError,
    GearmanTimeout,
    JobLost,
    OutcomeUnknown,
    ServerUnavailable,
)

DONE = "done"
SAFE = "safe to try again"
UNKNOWN = "it may have run"


def verdict(error: GearmanError) -> str:
    """What an error tells a caller who wonders whether to try again."""
    if isinstance(error, (OutcomeUnknown, JobLost)):
        return UNKNOWN
    if isinstance(error, ServerUnavailable):
        return SAFE
    if isinstance(error, GearmanTimeout):
        return UNKNOWN
    raise AssertionError(f"an error that says neither yes nor no: {error!r}")


class Books:
    """Every job, by its workload, which no other job has.

    Attributes:
        ran: ``{workload: times}``, written by the workers.
        outcomes: ``{workload: what its client was told}``.
        ends: ``{workload: times that its end was reported to the client}``.
        longest: seconds that the slowest call took.
    """

    def __init__(self) -> None:
        self.ran: Counter[bytes] = Counter()
        self.outcomes: dict[bytes, str] = {}
        self.ends: Counter[bytes] = Counter()
        self.errors: Counter[str] = Counter()
        self.longest = 0.0
        self._lock = threading.Lock()
        self._number = 0

    def workload(self) -> bytes:
        """One that nobody has used."""
        with self._lock:
            self._number += 1
            return b"job%07d" % self._number

    def note_run(self, workload: bytes) -> None:
        with self._lock:
            self.ran[workload] += 1

    def note_end(self, workload: bytes) -> None:
        with self._lock:
            self.ends[workload] += 1

    def note(self, workload: bytes, outcome: str, began: float) -> None:
        with self._lock:
            assert workload not in self.outcomes, f"{workload!r} was reported twice"
            self.outcomes[workload] = outcome
            self.longest = max(self.longest, time.monotonic() - began)

    # ── asking ───────────────────────────────────────────────────────────────

    def do(self, client: Client, background: bool = False) -> str:
        """One job from beginning to end, in the books."""
        workload = self.workload()
        began = time.monotonic()
        try:
            if background:
                client.do_background("reverse", workload)
            else:
                task = client.submit(
                    "reverse",
                    workload,
                    on_complete=lambda task: self.note_end(workload),
                    on_fail=lambda task, error: self.note_end(workload),
                )
                assert task.result() == workload[::-1]
        except GearmanError as error:
            return self._failed(workload, error, began)
        self.note(workload, DONE, began)
        return DONE

    async def do_async(self, client: AsyncClient, background: bool = False) -> str:
        """The same with an ``AsyncClient``."""
        workload = self.workload()
        began = time.monotonic()
        try:
            if background:
                await client.do_background("reverse", workload)
            else:
                task = await client.submit(
                    "reverse",
                    workload,
                    on_complete=lambda task: self.note_end(workload),
                    on_fail=lambda task, error: self.note_end(workload),
                )
                assert await task == workload[::-1]
        except GearmanError as error:
            return self._failed(workload, error, began)
        self.note(workload, DONE, began)
        return DONE

    def _failed(self, workload: bytes, error: GearmanError, began: float) -> str:
        assert str(error), f"{type(error).__name__} says nothing"
        told = verdict(error)
        self.errors[type(error).__name__] += 1
        self.note(workload, told, began)
        return told

    # ── balancing ────────────────────────────────────────────────────────────

    def balance(self, at_most_once: bool = False) -> None:
        """Nothing lost in silence, nothing reported twice, and no false "safe"."""
        for workload, outcome in self.outcomes.items():
            ran = self.ran[workload]
            assert self.ends[workload] <= 1, f"{workload!r} ended {self.ends[workload]} times"
            if outcome == DONE:
                assert ran, f"{workload!r} is said to be done, and never ran"
                assert not at_most_once or ran == 1, f"{workload!r} ran {ran} times"
            elif outcome == SAFE:
                assert not ran, f"{workload!r} was safe to try again, but ran {ran} times"

    def summary(self) -> str:
        counts = Counter(self.outcomes.values())
        return (
            f"{len(self.outcomes)} jobs: {dict(counts)}, {dict(self.errors)}; "
            f"{sum(self.ran.values())} runs; slowest call {self.longest:.2f} s"
        )


def in_loop(
    books: Books, make: Callable[[], AsyncClient], background: bool, jobs: int = 1
) -> list[str]:
    """Jobs with an ``AsyncClient`` of their own, in a loop of their own."""

    async def run() -> list[str]:
        async with make() as client:
            return [await books.do_async(client, background) for _ in range(jobs)]

    return asyncio.run(run())
