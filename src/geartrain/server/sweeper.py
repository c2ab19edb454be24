"""Looks around now and then: for connections that stall, and for memory that can be given back.

A connection that never spoke, or does not get on in the middle of a packet, holds a place and
perhaps a large buffer for nothing. Nobody is timed by a timer of his own: all are looked at
together, so often that a short limit is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.server.lifecycle import Allocator
from geartrain.server.reactor import Reactor
from geartrain.server.settings import Settings

log = logging.getLogger("geartrain.server")

#: Seconds between looks at connections that stall, at most; and at least.
_SWEEP_SECONDS: Final = 5.0
_SWEEP_LEAST_SECONDS: Final = 0.05
#: What has to come of a large packet within ``packet_timeout``: 550 bytes a second by default.
PROGRESS_BYTES: Final = 64 * 1024


class Sweeper:
    """Closes what stalls, and has the heap trimmed.

    Args:
        settings: how long a connection may stall.
        broker: knows what it keeps.
        allocator: the process's heap, if it is the server's own.
        steady: the clock connections are timed by.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        allocator: Allocator | None,
        steady: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._allocator = allocator
        self._steady = steady
        self._most_memory = 0

    def sweep(self, reactor: Reactor) -> None:
        """Close connections that never spoke, or do not get on in the middle of a packet.

        To get on is to finish a packet, or to bring ``PROGRESS_BYTES`` more of a large one:
        a peer that sends a byte now and then would else hold its place for ever.
        """
        self._give_memory_back()
        now = self._steady()
        silent, stalled = self._settings.handshake_timeout, self._settings.packet_timeout
        for session in list(reactor.sessions.values()):
            connection = session.connection
            held = connection.reader.held
            if connection.spoke:  # since we last looked
                connection.spoke = False
                session.spoke = True
                session.held, session.since = held, now
            elif connection.held_back or (session.spoke and not held):
                session.held, session.since = 0, now
            elif (
                held < session.held
                or held >= session.held + PROGRESS_BYTES
                or (session.spoke and not session.held)
            ):
                session.held, session.since = held, now
            elif not session.spoke:
                if silent and now - session.since > silent:
                    log.info("connection %d has said nothing for %gs", session.number, silent)
                    reactor.dismiss(session)
            elif stalled and now - session.since > stalled:
                log.warning(
                    "connection %d does not get on in the middle of a packet for %gs, closing it",
                    session.number, stalled,
                )  # fmt: skip
                reactor.dismiss(session)

    def _give_memory_back(self) -> None:
        """After a backlog has gone: trimming walks the heap, so not without reason."""
        state = self._broker.state
        self._most_memory = max(self._most_memory, state.memory)
        passed_through = self._most_memory + state.fetched
        if self._allocator is not None and passed_through > 2 * state.memory + 16 * 2**20:
            self._allocator.trim()
            self._most_memory = state.memory
            state.fetched = 0


def sweep_seconds(settings: Settings) -> float:
    """Seconds between looks at connections that stall: so often that a short limit is kept."""
    limits = [s for s in (settings.handshake_timeout, settings.packet_timeout) if s]
    return max(min([_SWEEP_SECONDS, *(limit / 4.0 for limit in limits)]), _SWEEP_LEAST_SECONDS)
