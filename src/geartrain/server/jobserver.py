"""JobServer: builds everything, starts it, lets it run out, stops it.

In somebody's asyncio program::

    async with JobServer(Settings(listen=("127.0.0.1:0",))) as server:
        print(server.addresses)
        ...

``gearmand`` does the same in a loop of its own (see ``loop``), which only changes
who waits for the sockets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from geartrain import __version__
from geartrain.broker.broker import Broker
from geartrain.broker.tables import Peer
from geartrain.errors import ConfigurationError
from geartrain.frontends.port import Bounds, House, Question
from geartrain.server.function_policies import read_policies
from geartrain.server.keeping import Keeping
from geartrain.server.lifecycle import Allocator
from geartrain.server.listener import (
    close_listeners,
    inherited_listeners,
    open_listeners,
)
from geartrain.server.loop import HostedLoop
from geartrain.server.reactor import Reactor
from geartrain.server.reception import Reception
from geartrain.server.rules import handles_of, rules_of
from geartrain.server.settings import Settings
from geartrain.server.surrenders import tell_surrenders
from geartrain.server.sweeper import Sweeper, sweep_seconds
from geartrain.server.tls_context import tls_context

log = logging.getLogger("geartrain.server")

#: What clients read as the server's version. They choose units by it: from 1.1.19
#: CAN_DO_TIMEOUT is milliseconds, as it is here (protocol reference, 2.11).
PROTOCOL_VERSION = f"1.1.99-geartrain-{__version__}"


class _House(House):
    """The server as its front-ends know it."""

    def __init__(
        self,
        broker: Broker,
        bounds: Bounds,
        end: Callable[[bool], None],
        ask: Callable[[Question], None],
        turn_away: Callable[[Peer, str], None],
    ) -> None:
        super().__init__(broker, bounds)
        self._end = end
        self._ask = ask
        self._turn_away = turn_away

    def shut_down(self, graceful: bool) -> None:
        self._end(graceful)

    def ask(self, question: Question) -> None:
        self._ask(question)

    def turn_away(self, peer: Peer, text: str) -> None:
        self._turn_away(peer, text)


class JobServer:
    """A Gearman job server.

    Args:
        settings: see ``Settings``; the defaults listen on port 4730 of all addresses.
        inherit: take over sockets that systemd passes in the environment.
        allocator: the process's heap, if the process is the server's own.
        settle: called once the sockets are open, before the queue is.
        wall, steady: the clocks jobs live by; a test may hand in its own.

    Attributes:
        addresses: where it listens, once started: ``(host, port)`` or a unix path.
        broker: its mind; read it through its inspection methods only.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        inherit: bool = False,
        allocator: Allocator | None = None,
        settle: Callable[[], None] | None = None,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or Settings()
        self._wall = wall
        self._steady = steady
        self._settle = settle
        self._inherit = inherit
        self.addresses: list[tuple[str, int] | str] = []
        rules, handles = rules_of(self.settings), handles_of(self.settings)
        self.broker = Broker(rules, handles, random.random)
        self._keeping = Keeping(self.settings, self.broker, self._send, wall)
        self._reception = Reception(self.settings, steady)
        self._sweeper = Sweeper(self.settings, self.broker, allocator, steady)
        self._reactor: Reactor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._draining_until = 0.0
        self._stopping = False

    # ── life ─────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Open the sockets and serve them.

        Raises:
            ConfigurationError: an address cannot be bound, a file for TLS not be used, or the
                queue not be opened.
        """
        if self._reactor is not None:
            raise RuntimeError("this server has been started already; make a new JobServer")
        context = tls_context(self.settings)
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.broker.tick(self._wall(), self._steady())
        inherited = inherited_listeners(os.environ, os.getpid()) if self._inherit else []
        self._listeners = inherited or open_listeners(self.settings)
        bounds = Bounds()
        bounds.max_packet_bytes = self.settings.max_packet_bytes
        bounds.pause_output_bytes = self.settings.pause_output
        house = _House(
            self.broker, bounds, self._asked_to_end, self._asked, self._reception.misdialled
        )
        house.version = PROTOCOL_VERSION
        house.pid = os.getpid()
        house.verbosity = self.settings.verbose
        house.may_shut_down = self.settings.admin_shutdown
        try:
            if self._settle is not None:
                self._settle()
            await self._keeping.open(self._name())
        except BaseException:
            close_listeners(self._listeners)
            raise
        reactor = Reactor(
            house,
            self._reception.accept,
            self._reception.left,
            self.settings.max_output,
            self._wall,
            self._steady,
            self._keeping.wished,
            lambda: tell_surrenders(self.broker.take_surrenders()),
        )
        self._reactor = reactor
        self._reception.open(reactor, loop, context)
        for sock in self._listeners:
            reactor.listen(sock)
            name = sock.getsockname()
            self.addresses.append(name if isinstance(name, str) else (name[0], name[1]))
            log.info("listening on %s", addresses_text([self.addresses[-1]]))
        if isinstance(loop, HostedLoop):
            loop.host(reactor)
        else:
            loop.add_reader(reactor.fileno(), self._turn)
        self._sweep_timer = loop.call_later(sweep_seconds(self.settings), self._sweep)
        hosted = isinstance(loop, HostedLoop)
        self._keeping.start((lambda: reactor.heard) if hosted else None)

    def _name(self) -> str:
        """This server among those that share a queue."""
        if self.settings.server_name:
            return self.settings.server_name
        own = self._listeners[0].getsockname()
        port = f":{own[1]}" if isinstance(own, tuple) else ""
        return f"{socket.gethostname()}{port}"

    def _send(self) -> None:
        """The store has answered: say so."""
        if self._reactor is not None:
            self._reactor.tick()
            if not isinstance(self._loop, HostedLoop):
                self._set_timer()

    async def __aenter__(self) -> JobServer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def serve_until_ended(self) -> None:
        """Wait until somebody stops the server."""
        await self._ended.wait()

    async def stop(self) -> None:
        """Stop at once: connections are closed, jobs that are not stored are gone."""
        reactor, loop = self._reactor, self._loop
        if reactor is None or loop is None or self._stopping:
            return
        self._stopping = True
        for timer in (self._timer, self._sweep_timer):
            if timer is not None:
                timer.cancel()
        reactor.send()
        if isinstance(loop, HostedLoop):
            loop.leave()
        else:
            loop.remove_reader(reactor.fileno())
        await self._keeping.stop()
        reactor.send()
        self._reactor = None
        self._reception.close()
        reactor.close()
        close_listeners(self._listeners)
        self._ended.set()

    def drain(self) -> None:
        """Stop gracefully: no new jobs, until all are done or ``graceful_timeout`` is over.

        Workers may still come, because somebody has to do the jobs that are left.
        """
        loop = self._loop
        if loop is None or self._draining_until:
            return
        self.broker.stop_accepting()
        timeout = self.settings.graceful_timeout
        self._draining_until = time.monotonic() + timeout if timeout else float("inf")
        left = len(self.broker.job_handles())
        log.warning("shutting down gracefully: %d jobs are left, new ones are refused", left)
        loop.call_soon(self._drain_on)

    def _drain_on(self) -> None:
        loop = self._loop
        if loop is None or self._reactor is None:
            return
        if self.broker.rules.shared:
            # The others are there to do them.
            self.broker.give_back(everything=True)
            self._reactor.tick()
        written = self._keeping.idle
        if self.broker.idle and written and not self._reactor.unsent:
            self._ended.set()
        elif time.monotonic() >= self._draining_until:
            left = len(self.broker.job_handles())
            log.error("graceful shutdown took too long: %d jobs are given up", left)
            self._ended.set()
        else:
            loop.call_later(0.05, self._drain_on)

    def end(self) -> None:
        """Make ``serve_until_ended`` return; safe in a signal handler of the loop."""
        self._ended.set()

    def _asked_to_end(self, graceful: bool) -> None:
        log.warning("shutdown asked for over the admin protocol")
        assert self._loop is not None
        assert self._reactor is not None
        self._reactor.interrupted = True
        self._loop.call_soon(self.drain if graceful else self.end)

    def _asked(self, question: Question) -> None:
        """A connection wants to know what only the store can say."""
        assert self._reactor is not None
        self._reactor.interrupted = True
        self._keeping.ask(question)

    # ── time ─────────────────────────────────────────────────────────────────

    def _turn(self) -> None:
        """A guest in somebody's loop: serve what is ready, and be called for what is due."""
        reactor = self._reactor
        if reactor is None:
            return
        reactor.turn()
        self._set_timer()

    def _set_timer(self) -> None:
        assert self._loop is not None
        due = self.broker.next_deadline()
        timer = self._timer
        if due < 0.0:
            return
        when = self._loop.time() + due
        if timer is not None and not timer.cancelled() and timer.when() <= when:
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._reactor is not None:
            self._reactor.tick()
            self._set_timer()

    def tick(self) -> None:
        """Let what is due by the clocks happen now; for clocks that somebody turns."""
        if self._reactor is not None:
            self._ring()
            self._keeping.wake()
            self._reception.look()
            self._sweeper.sweep(self._reactor)

    def _sweep(self) -> None:
        loop, reactor = self._loop, self._reactor
        if loop is None or reactor is None:
            return
        self._sweep_timer = loop.call_later(sweep_seconds(self.settings), self._sweep)
        self._sweeper.sweep(reactor)

    # ── connections ──────────────────────────────────────────────────────────

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._reactor.sessions) if self._reactor is not None else 0

    # ── what may be changed while it runs ────────────────────────────────────

    def decide_anew(self, policies: Sequence[str]) -> None:
        """What is to be done with the jobs of single functions from now on: see ``Settings.policy``.

        Raises:
            ConfigurationError: it is not to be understood, or not to be had now; nothing has changed.
        """
        name = self.broker.decide_anew(read_policies(policies))
        if name:
            raise ConfigurationError(
                f"policy for {name.decode(errors='backslashreplace')}: dead = true cannot begin"
                " while some of its jobs are in the file of memory:// (max-memory); try again when"
                " they are done, or restart"
            )

    def reload(self) -> None:
        """Read the files for TLS anew; connections that there are stay as they are."""
        self._reception.reload()


def addresses_text(addresses: Iterable[tuple[str, int] | str]) -> str:
    """Addresses as people write them, separated by commas."""
    return ", ".join(
        f"unix:{a}" if isinstance(a, str)
        else f"[{a[0]}]:{a[1]}" if ":" in a[0] else f"{a[0]}:{a[1]}"
        for a in addresses
    )  # fmt: skip
