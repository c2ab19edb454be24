"""A small loop: descriptors and what to call when they are ready."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable

READ = select.POLLIN
WRITE = select.POLLOUT

_TROUBLE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Loop:
    """Waits, and calls. Signals wake it up; what they mean is the caller's."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, tuple[int, Callable[[], None]]] = {}
        self._woken = -1

    def watch(self, fd: int, events: int, call: Callable[[], None]) -> None:
        """Call ``call`` when ``fd`` is ready; again to change for what, 0 for nothing."""
        if not events:
            self.forget(fd)
            return
        known = self._watched.get(fd)
        if known is None or known[0] != events:
            self._poll.register(fd, events)
        self._watched[fd] = (events, call)

    def forget(self, fd: int) -> None:
        """Watch it no more; do this before it is closed."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, seconds: float | None) -> None:
        """Wait until something is ready, a signal has come or the time is over; make the calls."""
        ready = self._poll.poll(None if seconds is None else max(0.0, seconds) * 1000 + 1)
        for fd, events in ready:
            watched = self._watched.get(fd)
            if watched is not None and events & (watched[0] | _TROUBLE):
                watched[1]()

    def mind(self, signals: Iterable[int], handler: Callable[[int], None]) -> None:
        """Have signals wake the loop; ``handler`` is called as Python calls signal handlers."""
        if self._woken < 0:
            self._woken, writing = os.pipe()
            os.set_blocking(self._woken, False)
            os.set_blocking(writing, False)
            signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
            self.watch(self._woken, READ, self._drain)
        for number in signals:
            signal.signal(number, lambda number, frame: handler(number))

    def _drain(self) -> None:
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            pass
