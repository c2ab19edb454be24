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
import errno
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final

from geartrain import __version__
from geartrain.broker.broker import Broker
from geartrain.broker.handles import HandleMaker
from geartrain.broker.state import Rules
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
    tune,
)
from geartrain.server.loop import HostedLoop
from geartrain.server.reactor import ACCEPTS, Reactor
from geartrain.server.session import Session
from geartrain.server.settings import Settings
from geartrain.server.surrenders import tell_surrenders
from geartrain.server.tls_context import tls_context, verification
from geartrain.server.tls_session import LOOK_SECONDS, Door

log = logging.getLogger("geartrain.server")

#: What clients read as the server's version. They choose units by it: from 1.1.19
#: CAN_DO_TIMEOUT is milliseconds, as it is here (protocol reference, 2.11).
PROTOCOL_VERSION = f"1.1.99-geartrain-{__version__}"

#: Seconds between looks at connections that stall, at most; and at least.
_SWEEP_SECONDS: Final = 5.0
_SWEEP_LEAST_SECONDS: Final = 0.05
#: What has to come of a large packet within ``packet_timeout``: 550 bytes a second by default.
PROGRESS_BYTES: Final = 64 * 1024
#: Seconds without accepting after the process ran out of file descriptors.
_FULL_SECONDS = 0.5


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
        self._allocator = allocator
        self._most_memory = 0
        self._wall = wall
        self._steady = steady
        self._settle = settle
        self._inherit = inherit
        self.addresses: list[tuple[str, int] | str] = []
        rules, handles = _rules(self.settings), _handles(self.settings)
        self.broker = Broker(rules, handles, random.random)
        self._keeping = Keeping(self.settings, self.broker, self._send, wall)
        self._reactor: Reactor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._draining_until = 0.0
        self._stopping = False
        self._refused_at = 0.0
        self._door: Door | None = None
        self._door_watched = False
        self._turned_away_at = 0.0

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
        house = _House(self.broker, bounds, self._asked_to_end, self._asked, self._misdialled)
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
            self._accept,
            self._on_close,
            self.settings.max_output,
            self._wall,
            self._steady,
            self._keeping.wished,
            lambda: tell_surrenders(self.broker.take_surrenders()),
        )
        self._reactor = reactor
        if context is not None:
            self._door = Door(
                context, self.settings.ssl_handshake_timeout, self._steady, reactor.dismiss,
                reactor.attend, self._turned_away,
            )  # fmt: skip
            log.info("TLS: certificates of clients: %s", verification(self.settings))
        for sock in self._listeners:
            reactor.listen(sock)
            name = sock.getsockname()
            self.addresses.append(name if isinstance(name, str) else (name[0], name[1]))
            log.info("listening on %s", addresses_text([self.addresses[-1]]))
        if isinstance(loop, HostedLoop):
            loop.host(reactor)
        else:
            loop.add_reader(reactor.fileno(), self._turn)
        self._sweeper = loop.call_later(sweep_seconds(self.settings), self._sweep)
        self._keeping.start()

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
        for timer in (self._timer, self._sweeper):
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
            if self._door is not None:
                self._door.look()
            self._look_for_stalled(self._reactor)

    # ── connections ──────────────────────────────────────────────────────────

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._reactor.sessions) if self._reactor is not None else 0

    def _accept(self, listener: socket.socket) -> None:
        reactor = self._reactor
        if reactor is None:
            return
        for _ in range(ACCEPTS):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._cannot_accept(listener, error)
                return
            limit = self.settings.max_connections
            if limit and len(reactor.sessions) >= limit:
                sock.close()
                self._complain(f"refusing connections: max-connections {limit} reached")
                continue
            try:
                tune(sock, self.settings)
            except OSError:
                sock.close()  # gone before we could greet it
                continue
            # Who reaches a unix socket is on this machine, and the file's mode lets it in.
            door = self._door if sock.family != socket.AF_UNIX else None
            session = reactor.admit(sock, door)
            where = address[0] if isinstance(address, tuple) else "unix"
            session.connection.address = str(where).encode()
            log.debug("connection %d from %s", session.number, where)
            if door is not None and not self._door_watched:
                self._look_at_door()

    def _cannot_accept(self, listener: socket.socket, error: OSError) -> None:
        """Out of descriptors (or worse): look away for a while instead of spinning."""
        reactor, loop = self._reactor, self._loop
        assert reactor is not None
        assert loop is not None
        reactor.unlisten(listener)
        loop.call_later(_FULL_SECONDS, self._listen_again, listener)
        if error.errno in (errno.EMFILE, errno.ENFILE):
            self._complain(
                "cannot accept connections: out of file descriptors; raise --file-descriptors"
            )
        else:
            self._complain(f"cannot accept connections: {error.strerror}")

    def _listen_again(self, listener: socket.socket) -> None:
        if self._reactor is not None:
            self._reactor.listen(listener)

    def _complain(self, text: str) -> None:
        """Log a fault that repeats, once a second at most."""
        now = time.monotonic()
        if now - self._refused_at >= 1.0:
            self._refused_at = now
            log.error("%s", text)

    def _on_close(self, session: Session) -> None:
        log.debug("connection %d closed", session.number)

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

    # ── TLS ──────────────────────────────────────────────────────────────────

    def reload(self) -> None:
        """Read the files for TLS anew; connections that there are stay as they are."""
        if self._door is None:
            return
        try:
            context = tls_context(self.settings)
        except ConfigurationError as error:
            log.error("TLS goes on with the certificate it had: %s", error)
            return
        if context is not None:
            self._door.context = context
            log.info("TLS: certificate read anew")

    def _look_at_door(self) -> None:
        """While somebody shakes hands, see to those who do not come to an end."""
        door, loop, reactor = self._door, self._loop, self._reactor
        self._door_watched = False
        if door is None or loop is None or reactor is None:
            return
        door.look()
        reactor.send()
        if door.outside:
            self._door_watched = True
            loop.call_later(LOOK_SECONDS, self._look_at_door)

    def _turned_away(self, session: Session, reason: str) -> None:
        self._tell_apart(
            session.connection, f"no TLS with {session.connection.address.decode()}: {reason}"
        )

    def _misdialled(self, peer: Peer, text: str) -> None:
        self._tell_apart(peer, f"closing the connection from {peer.address.decode()}: {text}")

    def _tell_apart(self, peer: Peer, text: str) -> None:
        """Log who cannot be talked to: once a second at most, for they try again and again."""
        log.debug("connection %d: %s", peer.number, text)
        now = time.monotonic()
        if now - self._turned_away_at >= 1.0:
            self._turned_away_at = now
            log.warning("%s", text)

    def _sweep(self) -> None:
        loop, reactor = self._loop, self._reactor
        if loop is None or reactor is None:
            return
        self._sweeper = loop.call_later(sweep_seconds(self.settings), self._sweep)
        self._look_for_stalled(reactor)

    def _look_for_stalled(self, reactor: Reactor) -> None:
        """Close connections that never spoke, or do not get on in the middle of a packet.

        To get on is to finish a packet, or to bring ``PROGRESS_BYTES`` more of a large one:
        a peer that sends a byte now and then would else hold its place for ever.
        """
        self._give_memory_back()
        now = self._steady()
        silent, stalled = self.settings.handshake_timeout, self.settings.packet_timeout
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
        state = self.broker.state
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


def _rules(settings: Settings) -> Rules:
    rules = Rules()
    rules.job_retries = settings.job_retries
    rules.worker_wakeup = settings.worker_wakeup
    rules.wakeup_seconds = settings.wakeup_delay
    rules.strict_order = settings.strict_order
    rules.fail_on_timeout = settings.fail_on_timeout
    rules.max_functions = settings.max_functions
    rules.max_jobs_per_function = settings.max_jobs_per_function
    rules.max_memory_bytes = settings.max_memory
    rules.press_seconds = settings.store_wait
    rules.exceptions = settings.exceptions
    rules.policies = read_policies(settings.policy)
    return rules


def _handles(settings: Settings) -> HandleMaker:
    prefix = settings.job_handle_prefix
    if not prefix:
        prefix = "H:" + socket.gethostname()[:40]
    if any(ch.isspace() or not ch.isprintable() for ch in prefix):
        raise ConfigurationError(
            f"job-handle-prefix {prefix!r} holds white space or control characters; leave them out"
        )
    text = prefix.encode() + b":"
    if len(text) > 46:
        raise ConfigurationError(
            f"job-handle-prefix {prefix!r} is too long: at most 45 bytes, so that handles stay "
            f"within the 63 that clients keep"
        )
    return HandleMaker(text)


def addresses_text(addresses: Iterable[tuple[str, int] | str]) -> str:
    """Addresses as people write them, separated by commas."""
    return ", ".join(
        f"unix:{a}" if isinstance(a, str)
        else f"[{a[0]}]:{a[1]}" if ":" in a[0] else f"{a[0]}:{a[1]}"
        for a in addresses
    )  # fmt: skip
