"""A bar for tasks: how many are over, and how far the others are.

::

    for task in track(shrink.submit(name, width=200) for name in names):
        print(task.handle, task.result())

With rich installed and standard error a terminal there is a bar; else one plain line,
rewritten on a terminal and written once, at the end, into a file or a pipe.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, TypeVar, cast

from geartrain.client.options import Seconds, seconds_of
from geartrain.client.waiting import Task
from geartrain.errors import ResultTimeout

if TYPE_CHECKING:
    from geartrain.client.sync import Client

T = TypeVar("T", bound=Task[Any])

#: Seconds between two drawings of the plain line.
DRAW_SECONDS: Final = 0.1


class Meter(Protocol):
    """Something that shows progress."""

    def show(self, done: int, total: int, failed: int, work: float) -> None:
        """Show it.

        Args:
            done: tasks that are over.
            total: all tasks.
            failed: of those that are over.
            work: sum of the tasks' shares, each between 0 and 1.
        """

    def close(self) -> None:
        """Show no more."""


def track(
    tasks: Iterable[T],
    label: str = "",
    *,
    total: int | None = None,
    timeout: Seconds | None = None,
    meter: Meter | None = None,
) -> Iterator[T]:
    """Yield tasks as they complete, and show how far all of them are.

    A task counts for its share of WORK_STATUS, so the bar moves while jobs run. All
    tasks are submitted before the first is yielded. What the tasks have received is
    left to them: ``task.result()`` and ``task.events()`` give everything.

    Args:
        tasks: of one client.
        label: stands before the bar.
        total: how many there are to be, if more than ``tasks``.
        timeout: seconds for all together; None: for ever.
        meter: shows the progress in your own way.

    Raises:
        ResultTimeout: some are not over in time.
        ValueError: the tasks belong to several clients.
    """
    listed = list(dict.fromkeys(tasks))
    if not listed:
        return
    client = cast("Client", listed[0]._client)
    if any(task._client is not client for task in listed):
        raise ValueError("track() takes tasks of one client; merge several with a bar for each")
    seconds = seconds_of(timeout)
    deadline = None if seconds is None else time.monotonic() + seconds
    shown = meter or meter_for(sys.stderr, label)
    news: deque[Any] = deque()
    left = set(listed)
    over = failed = 0
    shares = dict.fromkeys(listed, 0.0)
    work = 0.0
    everything = max(total or 0, len(listed))
    try:
        for task in listed:
            client.engine.watch(task, news)
        shown.show(0, everything, 0, 0.0)
        while left:
            if not client.engine.wait(lambda: news, deadline):
                raise ResultTimeout(f"{len(left)} of {len(listed)} jobs have not ended in time")
            task = news.popleft()
            if task not in left:
                continue
            share = _share(task)
            work += share - shares[task]
            shares[task] = share
            if not task.done():
                shown.show(over, everything, failed, work)
                continue
            left.discard(task)
            over += 1
            failed += task.error is not None
            shown.show(over, everything, failed, work)
            yield task
    finally:
        for task in left:
            client.engine.unwatch(task, news)
        shown.close()


def _share(task: Task[Any]) -> float:
    """How much of a task is done, between 0 and 1."""
    if task.done():
        return 1.0
    fraction = task.progress.fraction if task.progress is not None else None
    return min(1.0, max(0.0, fraction)) if fraction is not None else 0.0


def meter_for(stream: TextIO, label: str = "") -> Meter:
    """A bar, where rich is installed and the stream is a terminal; else a plain line."""
    if stream.isatty():
        try:
            return _Bar(stream, label)
        except ImportError:
            pass
    return Line(stream, label)


class Line:
    """One plain line: ``label: 3 of 20, 27 %, 1 failed``."""

    def __init__(self, stream: TextIO, label: str = "") -> None:
        self._stream = stream
        self._label = f"{label}: " if label else ""
        self._live = stream.isatty()
        self._text = ""
        self._due = 0.0

    def show(self, done: int, total: int, failed: int, work: float) -> None:
        """Keep the text; draw it where somebody looks, not too often."""
        # Twenty steps of 0.05 are a little less than 1.
        percent = int(100 * work / total + 1e-6) if total else 100
        self._text = f"{self._label}{done} of {total}, {percent} %"
        if failed:
            self._text += f", {failed} failed"
        now = time.monotonic()
        if self._live and now >= self._due:
            self._due = now + DRAW_SECONDS
            self._stream.write(f"\r{self._text}\x1b[K")
            self._stream.flush()

    def close(self) -> None:
        """The last text, and the end of the line."""
        if self._text:
            self._stream.write(f"\r{self._text}\x1b[K\n" if self._live else f"{self._text}\n")
            self._stream.flush()


class _Bar:
    """A bar by rich."""

    def __init__(self, stream: TextIO, label: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._task = self._progress.add_task(label or "jobs", total=None, count="")
        self._is_shown = False

    def show(self, done: int, total: int, failed: int, work: float) -> None:
        """Move the bar; rich draws ten times a second."""
        count = f"{done}/{total}" + (f" [red]{failed} failed[/]" if failed else "")
        self._progress.update(self._task, total=total, completed=work, count=count)
        if not self._is_shown:
            # Not before there is a total: it would be drawn as one of unknown length.
            self._is_shown = True
            self._progress.start()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()
