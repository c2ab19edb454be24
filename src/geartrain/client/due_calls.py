"""Callbacks that are due: called by the thread that leads, and never under a lock.

Whoever finds out that something has happened to a task holds the engine's lock, and a
callback may do anything, wait for another job above all. So what is to be called is put in
a line here, and the leading thread calls it between two looks at the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from geartrain.client.events import Event
from geartrain.client.seldom import log
from geartrain.client.task import BaseTask


class DueCalls:
    """What is to be called, in order; any thread may add to it."""

    def __init__(self) -> None:
        # Whom to tell what, and whether the task is over with it.
        self._news: deque[tuple[BaseTask[Any], Event | None, bool]] = deque()
        self._others: deque[tuple[Callable[[Any], object], BaseTask[Any]]] = deque()

    def tell(self, task: BaseTask[Any], event: Event | None, over: bool) -> None:
        """Call the task's own callbacks with this event."""
        self._news.append((task, event, over))

    def call(self, fn: Callable[[Any], object], task: BaseTask[Any]) -> None:
        """Call ``fn(task)``."""
        self._others.append((fn, task))

    def clear(self) -> None:
        """Call none of them."""
        self._news.clear()
        self._others.clear()

    def run(self) -> None:
        """Call them all. Not under the lock."""
        while self._news:
            task, event, over = self._news.popleft()
            try:
                task.tell(event, over)
            except Exception:
                # It may be another thread's task: raising here would hit the
                # wrong one.
                log().exception("a callback of %r failed", task)

        while self._others:
            fn, task = self._others.popleft()
            try:
                fn(task)
            except Exception:
                log().exception("a callback of %r failed", task)
