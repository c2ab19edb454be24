"""How far a client is, on stderr: a line that rewrites itself, or a line now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Seconds between two lines: on a terminal, and in a log.
TERMINAL_SECONDS: Final = 0.2
LOG_SECONDS: Final = 5.0


class Progress:
    """Counts that somebody wants to watch.

    Args:
        write: takes bytes for stderr.
        live: it is a terminal: rewrite one line.
        now: the clock's instant.
    """

    def __init__(self, write: Callable[[bytes], None], live: bool, now: float) -> None:
        self._write = write
        self._live = live
        self._began = now
        self._every = TERMINAL_SECONDS if live else LOG_SECONDS
        self.due = now + self._every

    def show(self, now: float, done: int, failed: int, under_way: int, last: bool = False) -> None:
        """Write the line, if it is time."""
        if now < self.due and not last:
            return
        self.due = now + self._every
        took = max(now - self._began, 0.001)
        text = f"{done} done, {failed} failed, {under_way} under way, {done / took:,.0f}/s"
        if last:
            text += f", {took:.1f} s"
        if not self._live:
            self._write(f"gearman: {text}\n".encode())
        else:
            self._write(f"\r\x1b[K{text}".encode() + (b"\n" if last else b""))
