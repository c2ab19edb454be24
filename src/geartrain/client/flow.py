"""Flow: many jobs of which a window is under way, and their results as they are asked for.

What ``Client.map`` and a typed function's ``map`` have in common. Jobs go out as results are
taken, so a hundred thousand cost the memory of a window.

A list can be looked at without waiting for anybody, so what there is room for leaves
together, in one write. Each item of any other source leaves before the next is asked for,
which may take long, or depend on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from geartrain.client.engine import Engine
from geartrain.client.waiting import Batch, Task, deadline_of
from geartrain.errors import ResultTimeout

S = TypeVar("S")
T = TypeVar("T")


def flow(
    engine: Engine,
    items: Iterable[S],
    submit: Callable[[S], Task[T]],
    window: int,
    ordered: bool,
) -> Iterator[T]:
    """The results of ``submit(item)`` for all items.

    Args:
        window: jobs under way at once, and items read ahead of the results taken.
        ordered: as the items are; False: as they come.

    Raises:
        ResultTimeout: no result for as long as a task may take.
        GearmanError: what a job ended with; the rest is dropped.
    """
    together = isinstance(items, (list, tuple))
    source = iter(items)
    if ordered:
        return _in_order(engine, source, submit, window, together)
    return _as_they_come(engine, source, submit, window, together)


def _submitted(
    engine: Engine, source: Iterator[S], submit: Callable[[S], Task[T]], room: int, together: bool
) -> Iterator[Task[T]]:
    """Tasks for so many more items."""
    if not together or room == 1:
        return map(submit, islice(source, room))
    with Batch(engine):
        return iter([submit(item) for item in islice(source, room)])


def _in_order(
    engine: Engine,
    source: Iterator[S],
    submit: Callable[[S], Task[T]],
    window: int,
    together: bool,
) -> Iterator[T]:
    at_once = max(1, window // 4) if together else 1
    flight: deque[Task[T]] = deque()
    while True:
        flight.extend(_submitted(engine, source, submit, window - len(flight), together))
        if not flight:
            return
        yield flight.popleft().result()
        more = at_once - 1
        while more and flight and flight[0].done():
            yield flight.popleft().outcome()
            more -= 1


def _as_they_come(
    engine: Engine,
    source: Iterator[S],
    submit: Callable[[S], Task[T]],
    window: int,
    together: bool,
) -> Iterator[T]:
    at_once = max(1, window // 4) if together else 1
    news: deque[Task[T]] = deque()
    running: set[Task[T]] = set()
    timeout: float | None = None
    while True:
        for task in _submitted(engine, source, submit, window - len(running), together):
            running.add(task)
            engine.watch(task, news)
            timeout = task.timeout
        if not running:
            return
        if not engine.wait(lambda: news, deadline_of(timeout)):
            raise ResultTimeout(f"none of {len(running)} jobs has ended in {timeout:g} seconds")
        more = at_once
        while more and news:
            task = news.popleft()
            if task in running and task.done():
                running.discard(task)
                yield task.outcome()
                more -= 1
