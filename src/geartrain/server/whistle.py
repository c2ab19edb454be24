"""Calls one task, which goes on at once.

``asyncio.Event`` does the same for any number of tasks, in the loop's next round. For the
one that writes to the store that round is a part of what each lone job waits for.
"""

from __future__ import annotations

import asyncio

from geartrain.stores.lane import Answer


class Whistle:
    """May be blown before anybody waits for it; that is heard until it is forgotten."""

    def __init__(self) -> None:
        self._blown = False
        self._waiter: Waiter | None = None

    def blow(self) -> None:
        """Whoever waits goes on: now, or when the task that calls this pauses."""
        self._blown = True
        waiter = self._waiter
        if waiter is None:
            return
        self._waiter = None
        if asyncio.current_task() is None:
            waiter.settle()
        else:
            waiter.get_loop().call_soon(waiter.settle)

    def forget(self) -> None:
        """It has not been blown."""
        self._blown = False

    async def wait(self) -> None:
        """Until it is blown. One task at a time."""
        if self._blown:
            return
        waiter = Waiter(asyncio.get_running_loop())
        self._waiter = waiter
        try:
            await waiter
        finally:
            self._drop(waiter)

    def _drop(self, waiter: Waiter) -> None:
        if self._waiter is waiter:
            self._waiter = None


class Waiter(Answer[None]):
    """What the task waits for. It can be cancelled, for nothing is under way."""

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled when it is its turn."""
        if self.done() or self.error is not None:
            return False
        self.error = asyncio.CancelledError()
        self.get_loop().call_soon(self.settle)
        return True
