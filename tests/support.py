"""Helpers that tests import by name; fixtures are in conftest.py.

No test sleeps for luck. It waits for a condition, with a deadline, and every
deadline is stretched by one factor, so that a slow machine needs one setting
and not a hundred: ``GEARTRAIN_PATIENCE=5 make test``.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

T = TypeVar("T")

#: All deadlines are multiplied by this. A machine that runs tests for others
#: is not to be trusted with short ones.
PATIENCE: Final = float(
    os.environ.get("GEARTRAIN_PATIENCE") or ("4" if os.environ.get("CI") == "true" else "1")
)


def patient(seconds: float) -> float:
    """A deadline of ``seconds`` on a machine that has nothing else to do."""
    return seconds * PATIENCE


def budget(default: float = 10.0) -> float:
    """Seconds that an open-ended test may take: ``GEARTRAIN_SECONDS``."""
    return float(os.environ.get("GEARTRAIN_SECONDS") or default)


def _overdue(condition: Callable[[], object], within: float, last: object) -> AssertionError:
    name = getattr(condition, "__qualname__", repr(condition))
    return AssertionError(f"{name} still says {last!r} after {patient(within):g} seconds")


def wait_until(condition: Callable[[], T], *, within: float = 5.0) -> T:
    """Wait, in a thread that may block, until ``condition()`` is true; return its value.

    Raises:
        AssertionError: it was not true ``within`` (patient) seconds.
    """
    end = time.monotonic() + patient(within)
    pause = 0.001
    while not (value := condition()):
        if time.monotonic() > end:
            raise _overdue(condition, within, value)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return value


async def eventually(condition: Callable[[], T | Awaitable[T]], *, within: float = 5.0) -> T:
    """Wait, letting the loop run, until ``condition()`` is true; return its value.

    ``condition`` may be plain or a coroutine function.

    Raises:
        AssertionError: it was not true ``within`` (patient) seconds.
    """
    end = time.monotonic() + patient(within)
    pause = 0.001
    while True:
        answer = condition()
        value = cast("T", await answer if inspect.isawaitable(answer) else answer)
        if value:
            return value
        if time.monotonic() > end:
            raise _overdue(condition, within, value)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def free_port() -> int:
    """A port that nobody listens on.

    Below the range from which the system takes ports for outgoing connections:
    from that range some client of a test running beside us may have it by the
    time the server binds it.
    """
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
