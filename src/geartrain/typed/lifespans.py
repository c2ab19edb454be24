"""What lives as long as a worker process: database connections, models, pools."""

from __future__ import annotations

import atexit
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeAlias

from geartrain.errors import ConfigurationError

#: Gives a context manager, or is a generator function that yields once.
Lifespan: TypeAlias = Callable[[], AbstractContextManager[Any] | Iterator[Any]]


def manager_of(fn: Lifespan) -> Callable[[], AbstractContextManager[Any]]:
    """A lifespan as something that gives context managers.

    Raises:
        ConfigurationError: it is asynchronous.
    """
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(
            f"the lifespan {fn.__name__} is async; it is entered once for a process, maybe before "
            f"there is a loop: want a plain context manager"
        )
    if inspect.isgeneratorfunction(fn):
        return contextmanager(fn)
    return fn  # type: ignore[return-value]


class Lifespans:
    """Entered once for each process, in order; left in reverse."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = 0
        self._stack: ExitStack | None = None
        self._values: dict[int, Any] = {}

    def enter(self, lifespans: dict[int, Callable[[], AbstractContextManager[Any]]]) -> None:
        """Enter those that this process has not entered, in their order.

        Args:
            lifespans: ``{key: gives a context manager}``.
        """
        if self._pid == os.getpid() and self._values.keys() == lifespans.keys():
            return
        with self._lock:
            if self._pid != os.getpid():
                # What the parent has entered is the parent's to leave.
                if self._stack is not None:
                    self._stack.pop_all()
                self._pid = os.getpid()
                self._stack = ExitStack()
                self._values = {}
                atexit.register(self.leave)
            assert self._stack is not None
            for key, make in lifespans.items():
                if key not in self._values:
                    self._values[key] = self._stack.enter_context(make())

    def value(self, key: int) -> Any:
        """What an entered one gave."""
        return self._values[key]

    def leave(self) -> None:
        """Leave all, if this process has entered them."""
        with self._lock:
            if self._pid != os.getpid() or self._stack is None:
                return
            stack, self._stack = self._stack, None
            self._pid = 0
            self._values = {}
            atexit.unregister(self.leave)
        stack.close()
