"""What an operator decides for one function: how often its jobs are tried, and how they are kept.

A function without a policy is the C server's: a lost worker's job is given out again,
``job-retries`` times, and what a worker calls failed has failed. A policy names the
outcomes that it *covers*; those count as attempts, and after the last one the job is
given up, into the dead set if that is wanted. What it does not cover goes as without it.

Pure: chance comes in as an argument.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from geartrain.retry import Retry

# Outcomes of an attempt, as bits.
WORKER_LOST: Final = 1
TIMEOUT: Final = 2
FAIL: Final = 4
EXCEPTION: Final = 8
ALL_OUTCOMES: Final = 15
OUTCOME_NAMES: Final = {
    "worker-lost": WORKER_LOST,
    "timeout": TIMEOUT,
    "fail": FAIL,
    "exception": EXCEPTION,
}

# When a background submission is answered for.
ALWAYS: Final = 0  #: its row is written
INTERVAL: Final = 1  #: at once; the row is written soon
OFF: Final = 2  #: at once; there is no row

#: Share of a pause by which it varies, so that what failed together does not come back together.
JITTER: Final = 0.5


class Policy:
    """The decisions for a function.

    Attributes:
        attempts: times a job is given out in all; -1 for ever; 0: none is covered.
        covers: the outcomes that count, as bits.
        backoff: seconds before the second attempt; each further pause is twice as long.
        backoff_max: seconds, at most.
        dead: a background job that is given up goes to the dead set.
        durability: ALWAYS, INTERVAL or OFF, where there is a store.
        interval: with INTERVAL, seconds after which it is written at the latest.
    """

    def __init__(
        self,
        attempts: int = 0,
        covers: int = ALL_OUTCOMES,
        backoff: float = 0.0,
        backoff_max: float = 300.0,
        dead: bool = False,
        durability: int = ALWAYS,
        interval: float = 0.2,
    ) -> None:
        self.attempts = attempts
        self.covers = covers if attempts else 0
        self.backoff = backoff
        self.backoff_max = backoff_max
        self.dead = dead
        self.durability = durability
        self.interval = interval
        self._pauses = Retry(backoff=backoff, max_backoff=backoff_max, jitter=JITTER)

    def gives_up(self, attempts: int) -> bool:
        """Whether a job that has been given out so often is not given out again."""
        return self.attempts > 0 and attempts >= self.attempts

    def pause(self, attempts: int, chance: float) -> float:
        """Seconds before the next attempt, after so many.

        Args:
            chance: uniform in [0, 1).
        """
        return self._pauses.pause(attempts, chance) if self.backoff > 0.0 else 0.0


class Policies:
    """Policies by function: an exact name goes before a pattern, the first pattern before the next."""

    def __init__(self) -> None:
        self.exact: dict[bytes, Policy] = {}
        self.patterns: list[tuple[bytes, Policy]] = []

    def set(self, name: bytes, policy: Policy) -> None:
        """From now on ``name`` has this policy: a function, or with ``*`` or ``?`` a pattern."""
        if b"*" in name or b"?" in name:
            self.patterns.append((name, policy))
        else:
            self.exact[name] = policy

    def of(self, name: bytes) -> Policy | None:
        """The policy of this function, if it has one."""
        policy = self.exact.get(name)
        if policy is not None:
            return policy
        for pattern, candidate in self.patterns:
            # Latin-1, so that each byte is one letter.
            if fnmatchcase(name.decode("latin-1"), pattern.decode("latin-1")):
                return candidate
        return None
