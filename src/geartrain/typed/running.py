"""How a worker does one job of a typed function.

Decode, enter the lifespans of this process, then the middleware and inside it the
function, again where it may be retried, and encode. A chain with anything
``async`` in it runs on an event loop: the worker's, or one that each thread of a
plain worker keeps.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from geartrain.errors import Fail, JobFinished, Requeue, StopWorker
from geartrain.typed.call import Call, Middleware
from geartrain.worker.aio_slot import AsyncLink, ThreadLink
from geartrain.worker.functions import payload_of, send_item
from geartrain.worker.job import Job, Status, log

#: They say what is to become of the job: trying again is not among it.
_FINAL = (Fail, Requeue, StopWorker, JobFinished)


def handler_of(function: Call, on_a_loop: bool) -> Callable[[Job], Any]:
    """What a worker is given for a function: takes the job, returns the payload.

    Args:
        on_a_loop: the worker has an event loop, and runs coroutine functions there.
    """
    is_async = function.declaration.is_async or any(
        inspect.iscoroutinefunction(layer) for layer in function.home.layers
    )
    if not is_async:
        chain = _chain(function)
        return lambda job: _handle(function, job, chain)
    chain = _chain_async(function)
    if not on_a_loop:
        return lambda job: _run(_handle_async(function, job, chain))

    async def handle(job: Job) -> bytes:
        return await _handle_async(function, job, chain)

    return handle


def _begin(function: Call, job: Job) -> None:
    job.function = function.name
    function.home.enter(job)
    job.args = function.declaration.signature.decode(job.workload)


def _end(function: Call, job: Job, result: Any) -> bytes:
    return b"" if job.ended else payload_of(result, function.declaration.codec)


# ── plain ────────────────────────────────────────────────────────────────────


def _handle(function: Call, job: Job, chain: Callable[[Job], Any]) -> bytes:
    _begin(function, job)
    failures = 0
    while True:
        try:
            return _end(function, job, chain(job))
        except Exception as error:
            failures += 1
            pause = _pause(function, job, failures, error)
            if pause is None:
                raise
        # The job is still ours, so that a worker that dies now loses nothing.
        time.sleep(pause)


def _chain(function: Call) -> Callable[[Job], Any]:
    def innermost(job: Job) -> Any:
        args, kwargs = function.declaration.signature.call_with(job.args)
        result = function.declaration.fn(*args, **kwargs)
        return _drive(function, result, job) if inspect.isgenerator(result) else result

    call: Callable[[Job], Any] = innermost
    for layer in reversed(function.home.layers):
        call = _around(layer, call)
    return call


def _around(layer: Middleware, inner: Callable[[Job], Any]) -> Callable[[Job], Any]:
    return lambda job: layer(job, inner)


def _drive(function: Call, generator: Generator[Any, Any, Any], job: Job) -> Any:
    """Send what it yields; return what it returns."""
    encode = function.declaration.codec.encode
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            return end.value
        send_item(item if isinstance(item, Status) else encode(item), job)


def _pause(function: Call, job: Job, failures: int, error: Exception) -> float | None:
    """Seconds before another attempt; None: there is none."""
    retry = function.declaration.retry
    if retry is None or job.ended or job.taken or isinstance(error, _FINAL):
        return None
    if not retry.wants(failures, error):
        return None
    pause = retry.pause(failures, random.random())
    log.warning(
        "%s %s: attempt %d of %d failed, again in %.1f seconds: %s: %s",
        job.function,
        job.handle,
        failures,
        retry.attempts,
        pause,
        type(error).__name__,
        error,
    )
    return pause


# ── on a loop ────────────────────────────────────────────────────────────────


async def _handle_async(function: Call, job: Job, chain: Callable[[Job], Any]) -> bytes:
    _begin(function, job)
    failures = 0
    while True:
        try:
            return _end(function, job, await chain(job))
        except Exception as error:
            failures += 1
            pause = _pause(function, job, failures, error)
            if pause is None:
                raise
        await asyncio.sleep(pause)


def _chain_async(function: Call) -> Callable[[Job], Any]:
    async def innermost(job: Job) -> Any:
        args, kwargs = function.declaration.signature.call_with(job.args)
        if function.declaration.is_async:
            return await function.declaration.fn(*args, **kwargs)

        def plain() -> Any:
            result = function.declaration.fn(*args, **kwargs)
            return _drive(function, result, job) if inspect.isgenerator(result) else result

        link = job._link
        if isinstance(link, AsyncLink):
            # In a thread, it has to report through the loop.
            job._link = ThreadLink(link, asyncio.get_running_loop())
        try:
            return await asyncio.to_thread(plain)
        finally:
            job._link = link

    call: Callable[[Job], Any] = innermost
    for layer in reversed(function.home.layers):
        call = _around_async(layer, call)
    return call


def _around_async(layer: Middleware, inner: Callable[[Job], Any]) -> Callable[[Job], Any]:
    async def call(job: Job) -> Any:
        # A plain layer sees a coroutine as the result of the rest, and hands it on.
        result = layer(job, inner)
        return await result if inspect.isawaitable(result) else result

    return call


class _Loop:
    """An event loop that a thread of a plain worker keeps, so that what async code opens lasts."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it to its end, in a copy of this thread's context: current_job() is the job."""
        task = self.loop.create_task(coroutine, context=contextvars.copy_context())
        return self.loop.run_until_complete(task)

    def __del__(self) -> None:
        # With its thread; or in a fork, where the parent still uses what is below it. Not
        # when the interpreter ends: threads that would have to help are no longer running.
        if self.pid == os.getpid() and not sys.is_finalizing():
            self.loop.close()


_kept = threading.local()


def _run(coroutine: Any) -> Any:
    loop: _Loop | None = getattr(_kept, "loop", None)
    if loop is None or loop.pid != os.getpid():
        loop = _kept.loop = _Loop()
    return loop.run(coroutine)
