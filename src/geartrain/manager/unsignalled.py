"""Workers that leave signals to whoever started them.

A worker takes a second TERM for "now". In a managed process TERM may come twice and
mean no more than once, and "now" is SIGKILL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from geartrain.worker.aio import AsyncWorker
from geartrain.worker.sync import Worker


class Unsignalled(Worker):
    """A ``Worker`` that installs no handlers."""

    @contextmanager
    def _signals(self) -> Iterator[None]:
        yield


class AsyncUnsignalled(AsyncWorker):
    """An ``AsyncWorker`` that installs no handlers."""

    @contextmanager
    def _signals(self) -> Iterator[None]:
        yield
