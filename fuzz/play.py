"""Runs targets: over and over until the time is up, or once on a given input."""

from __future__ import annotations

import hashlib
import importlib
import random
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fuzz.mutate import mutate
from fuzz.target import Target
from fuzz.targets import path_of

#: An input that takes longer has found an endless loop, or a quadratic one.
MOST_SECONDS = 10.0
#: Inputs kept as parents of others, beside the seeds.
MOST_PARENTS = 200


class TooSlow(Exception):
    """One small input took too long."""


class Found(Exception):
    """A target was broken; the text says how, and how to see it again."""


@contextmanager
def limited() -> Iterator[None]:
    """Interrupt what takes too long; for the main thread."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"took more than {MOST_SECONDS:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def fault(target: Target, data: bytes) -> BaseException | None:
    """What a target does that it may not, or None."""
    try:
        with limited():
            target.read(data)
    except target.allowed:
        return None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


def smallest(target: Target, data: bytes, kind: type[BaseException]) -> bytes:
    """The input without the bytes that it fails without."""
    size = max(1, len(data) // 2)
    end = time.monotonic() + 20.0
    while size and time.monotonic() < end:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + size :]
            if type(fault(target, shorter)) is kind:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def report(target: Target, data: bytes, error: BaseException) -> Found:
    """Keep the input, and say what it did."""
    if not isinstance(error, TooSlow):
        data = smallest(target, data, type(error))
        error = fault(target, data) or error
    path = path_of(f"{target.name}-{hashlib.sha256(data).hexdigest()[:12]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    story = "".join(traceback.format_exception(error))
    return Found(
        f"{target.name}: {type(error).__name__}: {error}\ninput: {data!r}\n{story}\n"
        f"again: python -m fuzz {target.name} --input {path}"
    )


def play(target: Target, seconds: float, seed: int) -> int:
    """Feed a target with noise.

    Returns:
        How many inputs there were.

    Raises:
        Found: one of them broke it.
    """
    chance = random.Random(f"{target.name} {seed}")
    parents = list(target.seeds)
    end = time.monotonic() + seconds
    count = 0
    for data in target.seeds:
        count += 1
        if (error := fault(target, data)) is not None:
            raise report(target, data, error)
    while time.monotonic() < end:
        data = mutate(chance, chance.choice(parents), parents, target.words)
        count += 1
        if (error := fault(target, data)) is not None:
            raise report(target, data, error)
        # No notion of coverage here: now and then a child becomes a parent.
        if chance.random() < 0.05:
            if len(parents) < MOST_PARENTS:
                parents.append(data)
            else:
                parents[chance.randrange(len(target.seeds), MOST_PARENTS)] = data
    return count


def play_with_atheris(target: Target, seconds: float, arguments: list[str]) -> None:
    """Let atheris (libFuzzer) choose the inputs, by what they reach; does not return."""
    atheris = importlib.import_module("atheris")

    def once(data: bytes) -> None:
        error = fault(target, data)
        if error is not None:
            raise report(target, data, error)

    atheris.instrument_all()
    atheris.Setup(["fuzz", f"-max_total_time={int(seconds)}", *arguments], once)
    atheris.Fuzz()
