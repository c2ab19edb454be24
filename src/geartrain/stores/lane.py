"""One thread that owns what may not be shared: its calls are carried out in order.

``ThreadPoolExecutor(1)`` does the same; this takes half as long for a call, and
a call is made for each commit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple["Answer[Any]", Callable[[], Any]]


class Answer(asyncio.Future[T]):
    """What a call will answer. The call cannot be taken back, so neither can this.

    A task that waits for it and is cancelled is cancelled when the answer has come,
    and can still look at it.
    """

    def cancel(self, msg: object = None) -> bool:
        """Not to be cancelled."""
        return False


class Lane:
    """Runs functions in a thread of its own, one after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin; answers go to the running loop."""
        self._loop = asyncio.get_running_loop()
        # A daemon: a program that fails before it closes the store shall end. What
        # is cut off then has not been answered for.
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> Answer[T]:
        """Have ``function`` called after all calls before; its answer or its error is the future's."""
        assert self._loop is not None, "start() first"
        future: Answer[T] = Answer(loop=self._loop)
        self._work.put((future, function))
        return future

    def stop(self) -> None:
        """End the thread once it has done what it was given. Waits for it."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        assert self._loop is not None
        tell = self._loop.call_soon_threadsafe
        while (work := self._work.get()) is not None:
            future, function = work
            try:
                try:
                    answer = function()
                except BaseException as error:
                    tell(future.set_exception, error)
                    del error
                else:
                    tell(future.set_result, answer)
                    del answer
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more
            # Not to keep a large body alive until the next call.
            del work, future, function
