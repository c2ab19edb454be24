"""``flow`` for asyncio: many jobs of which a window is under way, and their results."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from geartrain.client.aio_waiting import AsyncTask, Bell
from geartrain.errors import ResultTimeout

S = TypeVar("S")
T = TypeVar("T")


async def each(items: Iterable[S] | AsyncIterable[S]) -> AsyncIterator[S]:
    """Go through either kind of source."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def flow(
    items: Iterable[S] | AsyncIterable[S],
    submit: Callable[[S], Awaitable[AsyncTask[T]]],
    window: int,
    ordered: bool,
) -> AsyncIterator[T]:
    """The results of ``submit(item)`` for all items; see ``flow.flow``."""
    if ordered:
        return _in_order(each(items), submit, window)
    return _as_they_come(each(items), submit, window)


async def _in_order(
    source: AsyncIterator[S], submit: Callable[[S], Awaitable[AsyncTask[T]]], window: int
) -> AsyncIterator[T]:
    flight: deque[AsyncTask[T]] = deque()
    async for item in source:
        flight.append(await submit(item))
        if len(flight) >= window:
            yield await flight.popleft().result()
    while flight:
        yield await flight.popleft().result()


async def _as_they_come(
    source: AsyncIterator[S], submit: Callable[[S], Awaitable[AsyncTask[T]]], window: int
) -> AsyncIterator[T]:
    bell = Bell()
    running: set[AsyncTask[T]] = set()
    timeout: float | None = None
    more = True
    while more or running:
        while more and len(running) < window:
            try:
                item = await anext(source)
            except StopAsyncIteration:
                more = False
                break
            task = await submit(item)
            running.add(task)
            task.watch(bell)
            bell.append(task)
            timeout = task.timeout
        if running:
            try:
                async with asyncio.timeout(timeout):
                    await bell.wait()
            except TimeoutError:
                raise ResultTimeout(
                    f"none of {len(running)} jobs has ended in {timeout or 0:g} seconds"
                ) from None
        for task in bell.take():
            if task in running and task.done():
                running.discard(task)
                yield task.outcome()
