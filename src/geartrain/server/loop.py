"""An event loop that is a guest of the reactor.

asyncio waits in its selector. Ours waits on the reactor's poller instead, serves
the server's sockets right there, and comes back to asyncio only when asyncio has
something to do: a timer, a signal, a callback, a socket of its own. So asyncio is
all there, and costs a job nothing.

What another thread has to say comes through the reactor too, by an eventfd, and is
done in the turn in which it is heard. asyncio's own way, a socket in its selector
and a round of the loop for each step, takes three times as long, and a durable job
waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVarTuple

from geartrain.server.reactor import Reactor

Arguments = TypeVarTuple("Arguments")


class Calls:
    """What other threads want to have called in the loop's."""

    def __init__(self) -> None:
        self._number = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiting: deque[asyncio.Handle] = deque()
        #: No thread writes to a descriptor that is closed, and is somebody else's by then. A
        #: handler of a signal may call while its own thread does: it is let in twice.
        self._lock = threading.RLock()
        #: Somebody watches the descriptor, and will answer.
        self.open = False

    def fileno(self) -> int:
        """Becomes readable when there are calls."""
        return self._number

    def make(self, handle: asyncio.Handle) -> bool:
        """Have this called; whether somebody will hear it. From any thread."""
        with self._lock:
            self._waiting.append(handle)
            if self.open:
                os.eventfd_write(self._number, 1)
            return self.open

    def hear(self) -> None:
        """The descriptor has become readable: do what was asked for."""
        os.eventfd_read(self._number)
        try:
            self.answer()
        except BaseException:
            # It ends the program, perhaps, but what ends it in order may wait for the others.
            if self._waiting:
                os.eventfd_write(self._number, 1)
            raise

    def answer(self) -> None:
        """Do what was asked for until now. Not to be called by what is a task: it resumes others."""
        for _ in range(len(self._waiting)):
            handle = self._waiting.popleft()
            if not handle.cancelled():
                handle._run()

    def fall_silent(self) -> None:
        """Nobody watches the descriptor any more."""
        with self._lock:
            self.open = False

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self.open = False
            number, self._number = self._number, -1
            if number >= 0:
                os.close(number)


class HostedSelector(selectors.EpollSelector):
    """asyncio's selector, with a reactor that does the waiting once there is one."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._reactor: Reactor | None = None
        self._calls = calls

    def host(self, reactor: Reactor) -> None:
        """From now on wait where this reactor waits."""
        reactor.watch_guest(self.fileno())
        reactor.watch_calls(self._calls.fileno(), self._calls.hear)
        self._reactor = reactor
        self._calls.open = True

    def leave(self) -> None:
        """Wait alone again; call before the reactor is closed."""
        self._calls.fall_silent()
        self._reactor = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready for asyncio within ``timeout`` seconds."""
        reactor = self._reactor
        if reactor is None:
            return super().select(timeout)
        if reactor.run(-1.0 if timeout is None else max(0.0, timeout)):
            return super().select(0)
        return []


class HostedLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop for a process whose main business is a job server."""

    def __init__(self) -> None:
        self._calls = Calls()
        self._hosted = HostedSelector(self._calls)
        super().__init__(self._hosted)

    def host(self, reactor: Reactor) -> None:
        """From now on wait where this reactor waits."""
        self._hosted.host(reactor)

    def leave(self) -> None:
        """Wait alone again; call before the reactor is closed."""
        self._hosted.leave()
        # Not here: a task calls this, and what it has not heard resumes others.
        self.call_soon(self._calls.answer)

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As any loop's; while a reactor is the host, it is called in the reactor's turn."""
        if not self._calls.open:
            return super().call_soon_threadsafe(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        if not self._calls.make(handle):
            # The host has left meanwhile, perhaps without having heard this.
            super().call_soon_threadsafe(self._calls.answer)
        return handle

    def close(self) -> None:
        """As any loop's."""
        super().close()
        self._calls.close()
