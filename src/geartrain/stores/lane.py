"""One thread that owns what may not be shared: its calls are carried out in order.

A call may be made in the caller's own thread instead, while none is under way: then too
they are made one at a time, and in order.

``ThreadPoolExecutor(1)`` does the same; this takes half as long for a call, and
a call is made for each commit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextvars import Context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

_Work = tuple["Answer[Any]", Callable[[], Any]]


class Answer(Generic[T]):
    """What a call will answer: a future that cannot be cancelled, for the call cannot be taken back.

    A task that waits for it and is cancelled is cancelled when the answer has come,
    and can still look at it. Who waits goes on at once when it comes, not with the
    loop's next round as with asyncio's own futures, which it is like otherwise.
    """

    _asyncio_future_blocking = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done = False
        #: What the call returned, or raised: written by who carries it out, before ``settle``.
        self.value: T | None = None
        self.error: BaseException | None = None
        self._waiting: list[tuple[Callable[[Answer[T]], object], Context | None]] = []

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Whose threads the waiting are in."""
        return self._loop

    def done(self) -> bool:
        """It has come."""
        return self._done

    def cancelled(self) -> bool:
        """Never."""
        return False

    def exception(self) -> BaseException | None:
        """What the call failed with, if it did.

        Raises:
            asyncio.InvalidStateError: it has not come.
        """
        if not self._done:
            raise asyncio.InvalidStateError("the call is still being carried out")
        return self.error

    def result(self) -> T:
        """The answer.

        Raises:
            asyncio.InvalidStateError: it has not come, or was an error that somebody waited for.
            BaseException: the call failed.
        """
        if not self._done:
            raise asyncio.InvalidStateError("the call is still being carried out")
        if self.error is not None:
            raise self.error
        return cast("T", self.value)

    def settle(self) -> None:
        """It has come; call it where no task is running."""
        self._done = True
        waiting, self._waiting = self._waiting, []
        told = False
        while waiting:
            callback, context = waiting.pop(0)
            if context is None:
                callback(self)
            else:
                context.run(callback, self)
            del callback
            told = True
        if told and self.error is not None:
            # Its traceback knows the frames of those who waited, and these know this. With
            # them the jobs would stay that were to be written, for nobody collects circles.
            self.error = asyncio.InvalidStateError("it failed, as whoever waited for it was told")

    def add_done_callback(
        self, callback: Callable[[Answer[T]], object], *, context: Context | None = None
    ) -> None:
        """Call this when it has come."""
        if self._done:
            self._loop.call_soon(callback, self, context=context)
        else:
            self._waiting.append((callback, context))

    def remove_done_callback(self, callback: Callable[[Answer[T]], object]) -> int:
        """Do not call this after all; how many that were."""
        left = [one for one in self._waiting if one[0] != callback]
        removed = len(self._waiting) - len(left)
        self._waiting = left
        return removed

    def cancel(self, msg: object = None) -> bool:
        """Not to be cancelled."""
        return False

    def __await__(self) -> Generator[Answer[T], None, T]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()


class Lane:
    """Runs functions in a thread of its own, one after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._runner: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Calls that have not been answered.
        self._under_way = 0

    def start(self) -> None:
        """Begin; answers go to the running loop."""
        self._loop = asyncio.get_running_loop()
        # A daemon: a program that fails before it closes the store shall end. What
        # is cut off then has not been answered for.
        self._runner = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._runner.start()

    def call(self, function: Callable[[], T], *, here: bool = False) -> Answer[T]:
        """Have ``function`` called after all calls before; its answer or its error is the future's.

        Args:
            here: in this thread, now, unless another call is under way.
        """
        assert self._loop is not None, "start() first"
        future: Answer[T] = Answer(self._loop)
        if here and not self._under_way:
            _carry_out(future, function)
            future.settle()
        else:
            self._under_way += 1
            self._work.put((future, function))
        return future

    def _told(self, future: Answer[Any]) -> None:
        self._under_way -= 1
        future.settle()

    def stop(self) -> None:
        """End the thread once it has done what it was given. Waits for it."""
        if self._runner is not None:
            self._work.put(None)
            self._runner.join()
            self._runner = None

    def _run(self) -> None:
        assert self._loop is not None
        tell = self._loop.call_soon_threadsafe
        while (work := self._work.get()) is not None:
            future, function = work
            try:
                _carry_out(future, function)
                tell(self._told, future)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more
            # Not to keep a large body alive until the next call.
            del work, future, function


def _carry_out(future: Answer[Any], function: Callable[[], Any]) -> None:
    try:
        future.value = function()
    except BaseException as error:
        future.error = error
