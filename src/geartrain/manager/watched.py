"""Handlers that are watched: the same function, with a note at each job's beginning and end.

A plain function, a generator, a coroutine function and an asynchronous generator stay
what they are, for the worker treats each differently.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import GeneratorType
from typing import Any, TypeAlias

from geartrain.errors import Requeue, StopWorker

#: Says that a job has begun; the answer goes to ``End``.
Begin: TypeAlias = Callable[[], int]
#: Says that it has ended, and whether badly.
End: TypeAlias = Callable[[int, bool], None]


def watched(handler: Callable[..., Any], begin: Begin, end: End) -> Callable[..., Any]:
    """The handler, with ``begin()`` and ``end(ticket, failed)`` around each job."""
    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def pieces(job: Any) -> Any:
            ticket = begin()
            try:
                async for piece in handler(job):
                    yield piece
            except BaseException as error:
                end(ticket, _is_failure(error))
                raise
            end(ticket, False)

        return pieces
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def coroutine(job: Any) -> Any:
            return await _awaited(handler(job), begin(), end)

        return coroutine

    @functools.wraps(handler)
    def plain(job: Any) -> Any:
        ticket = begin()
        try:
            result = handler(job)
        except BaseException as error:
            end(ticket, _is_failure(error))
            raise
        if isinstance(result, GeneratorType):
            return _rest(result, ticket, end)
        if inspect.isawaitable(result):
            return _awaited(result, ticket, end)
        end(ticket, False)
        return result

    return plain


def _rest(generator: Any, ticket: int, end: End) -> Any:
    try:
        result = yield from generator
    except BaseException as error:
        end(ticket, _is_failure(error))
        raise
    end(ticket, False)
    return result


async def _awaited(awaitable: Any, ticket: int, end: End) -> Any:
    try:
        result = await awaitable
    except BaseException as error:
        end(ticket, _is_failure(error))
        raise
    end(ticket, False)
    return result


def _is_failure(error: BaseException) -> bool:
    # A generator that is closed before its end has been given up, not failed.
    return not isinstance(error, (Requeue, StopWorker, GeneratorExit))
