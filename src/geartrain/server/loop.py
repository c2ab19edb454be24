"""An event loop that is a guest of the reactor.

asyncio waits in its selector. Ours waits on the reactor's poller instead, serves
the server's sockets right there, and comes back to asyncio only when asyncio has
something to do: a timer, a signal, a callback, a socket of its own. So asyncio is
all there, and costs a job nothing.
"""

from __future__ import annotations

import asyncio
import selectors

from geartrain.server.reactor import Reactor


class HostedSelector(selectors.EpollSelector):
    """asyncio's selector, with a reactor that does the waiting once there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._reactor: Reactor | None = None

    def host(self, reactor: Reactor) -> None:
        """From now on wait where this reactor waits."""
        reactor.watch_guest(self.fileno())
        self._reactor = reactor

    def leave(self) -> None:
        """Wait alone again; call before the reactor is closed."""
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
        self.hosted = HostedSelector()
        super().__init__(self.hosted)
