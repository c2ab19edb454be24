"""What the tests of the executor have called, in a module that a worker can import."""

from __future__ import annotations

import threading

#: Calls made, by name.
made: dict[str, int] = {}
#: A call of ``hold`` goes on when it is set.
gate = threading.Event()
#: A call of ``hold`` has begun.
held = threading.Semaphore(0)


class Odd(Exception):
    """Takes two arguments, so that pickle cannot make it from its text."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def add(a: int, b: int = 1) -> int:
    made["add"] = made.get("add", 0) + 1
    return a + b


def hold(value: int) -> int:
    made["hold"] = made.get("hold", 0) + 1
    held.release()
    gate.wait(30)
    return value


def fail(text: str) -> None:
    raise KeyError(text)


def odd() -> None:
    raise Odd("one", "two")


def unpicklable() -> object:
    return threading.Lock()
