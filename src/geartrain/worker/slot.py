"""A slot: one thread's connections, one to each server, and one job at a time.

One connection for each slot keeps the servers' count of available workers true, and
``Requeue`` (which is to hang up) hits one job only; the C server also has a single
time limit for each connection (protocol reference, 2.11).

With several servers one connection at a time may ask (it holds the *turn*), so that
not two jobs come at once. The turn goes on when a server has nothing; when all of
them sleep, whichever wakes us gets it.

With ``prefetch`` the server that has the turn is asked for more, while the first job
runs; those jobs wait here. What is stopped does them still: to the server they run, and
to give them back would count as a failed attempt. Those of a connection that has gone
are forgotten, for the server gives them to others.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from geartrain._native import take_signals
from geartrain.errors import ConnectTimeout, ProtocolError, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.servers import ServerBook
from geartrain.transport.sync import NAP_SECONDS, Stream, TlsStream, connect
from geartrain.worker.absence import is_away, is_here
from geartrain.worker.connection import WorkerConnection
from geartrain.worker.events import Complaint, JobAssigned, JobTaken, ServerVersion, Woken
from geartrain.worker.functions import Functions
from geartrain.worker.job import Job, log
from geartrain.worker.versions import timeouts_in_seconds

if TYPE_CHECKING:
    import ssl

#: Seconds to wait for the answer to a last GRAB when a slot stops asking.
LAST_ANSWER_SECONDS: Final = 5.0
#: Seconds to wait for a server's version.
VERSION_SECONDS: Final = 2.0


class ServerLink:
    """A slot's connection to one server; connected or not."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection = WorkerConnection()
        self.connection.closed = True
        self.stream: Stream | None = None
        self.announced = -1
        self._lock = threading.Lock()

    def push(self) -> None:
        """Send what the connection has to send, and wait until the network has taken it."""
        stream = self.stream
        if stream is None:
            return
        try:
            with self._lock:
                pieces = self.connection.data_to_send()
                if pieces:
                    stream.send(pieces)
                while stream.backlog:
                    stream.wait_writable()
                    stream.flush()
        except OSError as error:
            self.lost(error.strerror or str(error))

    def hang_up(self) -> None:
        """Close the connection; the server gives its job to another worker."""
        self.lost("")

    def lost(self, cause: str) -> None:
        """The connection is over, by our will (no cause) or not."""
        stream, self.stream = self.stream, None
        if stream is None:
            return
        stream.close()
        handles = self.connection.receive_eof()
        if cause:
            log.warning(
                "connection to %s lost: %s%s",
                self.address,
                cause,
                "; it will give our job to another worker" if handles else "",
            )


class Slot:
    """Gets jobs, one at a time.

    Args:
        servers: where from.
        functions: what can be done.
        make_job: turns an assignment into a ``Job``.
        name: SET_CLIENT_ID; empty for none.
        tls, connect_timeout: for each connection.
        prefetch: jobs to have here beside the one that is done.
    """

    def __init__(
        self,
        servers: tuple[Address, ...],
        functions: Functions,
        make_job: Callable[[ServerLink, JobAssigned], Job],
        name: str = "",
        tls: ssl.SSLContext | None = None,
        connect_timeout: float | None = 4.0,
        prefetch: int = 0,
    ) -> None:
        self._functions = functions
        self._make_job = make_job
        self._name = name
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._book = ServerBook()
        self._links = [ServerLink(address) for address in servers]
        self._turn = self._links[0]
        self._alone = len(servers) == 1
        self._prefetch = prefetch
        self._most = 1
        #: Jobs that have come and wait to be done.
        self._here: deque[Job] = deque()
        #: The last that was given out.
        self._last: Job | None = None
        self._waker, self._wake_end = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_end.setblocking(False)
        self._poll = select.poll()
        self._polled: dict[int, ServerLink] = {}
        self._stale = True
        self._asking = False
        self.stopping = False
        #: The job that is being done.
        self.job: Job | None = None

    # ── getting a job ────────────────────────────────────────────────────────

    def next_job(self, deadline: float | None, burst: bool = False) -> Job | None:
        """Wait for a job.

        Args:
            deadline: of ``time.monotonic()``; None: for ever.
            burst: give up when every server that is up has none.

        Returns:
            None: stopped, too late, or nothing left (``burst``).
        """
        self._asking = True
        while not self.stopping:
            job = self._next_here()
            if job is not None:
                return job
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return None
            self._connect(now)
            self._announce()
            self._pass_the_turn(now)
            # The last NO_JOB may have come with the last job: then nothing more will.
            if not (burst and self._all_asleep()):
                self._hear(self._deadline(now, deadline))
            if burst and not self._here and self._nothing_to_do():
                return None
        return None

    def _next_here(self) -> Job | None:
        while self._here:
            job = self._here.popleft()
            if not job.is_lost:
                self._last = job
                return job
        return None

    def done_asking(self) -> Job | None:
        """Ask no more; a job that was on its way is returned, and must be done. Until None."""
        self._asking = False
        job = self._next_here()
        if job is not None:
            return job
        for link in self._links:
            link.connection.want(0)
            link.push()
        end = time.monotonic() + LAST_ANSWER_SECONDS
        while any(link.connection.grabbing for link in self._links if link.stream is not None):
            if time.monotonic() >= end:
                break
            self._hear(end)
            job = self._next_here()
            if job is not None:
                return job
        return None

    def ask_for(self, jobs: int) -> None:
        """Ask for so many at once, counting those that are here, the current one apart.

        Where functions have a ``timeout`` it is one: a server's time limit runs from the
        moment that it gives a job away.
        """
        self._most = jobs
        if jobs < self._turn.connection.wanted:
            self._turn.connection.want(jobs)

    def ask_no_more_after_this(self) -> None:
        """While a job is being done: do not ask for another when it ends."""
        self._asking = False
        for link in self._links:
            link.connection.want(0)

    def wake(self) -> None:
        """Have ``next_job`` look around. Any thread; fit for signal handlers."""
        try:
            self._wake_end.send(b"w")
        except OSError:
            pass

    def stop(self) -> None:
        """Let ``next_job`` return None from now on. Any thread; fit for signal handlers.

        A job that runs is finished; its end does not ask for another.
        """
        self.stopping = True
        self.ask_no_more_after_this()
        self.wake()

    def close(self) -> None:
        """Hang up everywhere."""
        for link in self._links:
            link.hang_up()
        self._waker.close()
        self._wake_end.close()

    # ── connections ──────────────────────────────────────────────────────────

    def _connect(self, now: float) -> None:
        for link in self._links:
            if link.stream is None and self._book.is_up(link.address, now):
                self._connect_one(link)

    def _connect_one(self, link: ServerLink) -> None:
        try:
            stream = connect(link.address, self._connect_timeout, self._tls)
        except (ServerUnavailable, ConnectTimeout) as error:
            now = time.monotonic()
            pause = self._book.failed(link.address, now, random.random())
            is_away(link.address, error, pause, now)
            return
        is_here(link.address)
        link.connection = WorkerConnection(link.connection.grab_mode)
        link.connection.most_grabs = 1 + self._prefetch
        link.stream = stream
        link.announced = -1
        self._stale = True
        if self._name:
            link.connection.set_client_id(self._name.encode())
        try:
            if any(self._functions.on_the_wire().values()):
                link.connection.timeouts_in_seconds = _takes_seconds(link.connection, stream)
        except (OSError, ProtocolError) as error:
            self._gone(link, str(error))
            return
        self._book.succeeded(link.address)

    def _announce(self) -> None:
        """Tell every server what we can do, where that has changed."""
        changes = self._functions.changes
        for link in self._links:
            if link.stream is not None and link.announced != changes:
                link.announced = changes
                link.connection.announce(self._functions.on_the_wire())

    def _pass_the_turn(self, now: float) -> None:
        turn = self._turn
        if not self._alone and (turn.stream is None or turn.connection.asleep):
            turn.connection.want(0)
            at = self._links.index(turn)
            for link in self._links[at + 1 :] + self._links[:at]:
                if link.stream is not None and not link.connection.asleep:
                    turn = self._turn = link
                    break
        most = 1 if self._functions.have_timeouts else self._most
        for link in self._links:
            if link.stream is not None:
                wanted = most if link is turn else 0
                if link.connection.wanted != wanted:
                    link.connection.want(wanted)
                link.connection.tick(now)
                link.push()

    def _all_asleep(self) -> bool:
        return all(link.stream is not None and link.connection.asleep for link in self._links)

    def _nothing_to_do(self) -> bool:
        up = [link.connection for link in self._links if link.stream is not None]
        return all(connection.asleep for connection in up)

    def _deadline(self, now: float, deadline: float | None) -> float | None:
        end = deadline
        for link in self._links:
            due = (
                link.connection.next_deadline()
                if link.stream is not None
                else max(now + 0.01, self._book.again_at(link.address))
            )
            if due is not None and (end is None or due < end):
                end = due
        return end

    # ── hearing ──────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        self._stale = False
        self._poll = select.poll()
        self._polled = {}
        self._poll.register(self._waker, select.POLLIN)
        for link in self._links:
            if link.stream is not None:
                self._poll.register(link.stream.fileno(), select.POLLIN)
                self._polled[link.stream.fileno()] = link

    def _hear(self, deadline: float | None) -> None:
        """Wait once for anything; jobs are put where ``_next_here`` finds them."""
        if self._stale or any(link.stream is None for link in self._polled.values()):
            self._watch()
        for link in self._links:
            if isinstance(link.stream, TlsStream):
                self._read(link)
        if self._here:
            return
        # The handler of a signal that comes between this line and poll() runs after it.
        take_signals()
        seconds = NAP_SECONDS
        if deadline is not None:
            seconds = min(seconds, max(0.0, deadline - time.monotonic()))
        for number, _ in self._poll.poll(seconds * 1000):
            polled = self._polled.get(number)
            if polled is None:
                self._waker.recv(4096)
                continue
            self._read(polled)
            if self._here:
                # What else was ready will be so the next time.
                return

    def _read(self, link: ServerLink) -> None:
        stream = link.stream
        if stream is None:
            return
        try:
            data = stream.receive_now()
            if data is None:
                return
            if not data:
                self._gone(link, "the server closed the connection")
                return
            events = link.connection.receive_data(data)
        except (OSError, ProtocolError) as error:
            self._gone(link, str(error))
            return
        for event in events:
            if isinstance(event, JobAssigned):
                self._here.append(self._make_job(link, event))
            elif isinstance(event, Woken):
                if self._turn.connection.asleep or self._turn.stream is None:
                    self._turn = link
            elif isinstance(event, JobTaken):
                self._taken(link, event)
            elif isinstance(event, Complaint):
                log.warning("%s says %s: %s", link.address, event.code, event.text)
        link.push()

    def _taken(self, link: ServerLink, event: JobTaken) -> None:
        job = self._last
        if (
            job is not None
            and job.server == link.address
            and event.handle
            and job.is_called(event.handle)
        ):
            job.taken = True
        log.warning("%s refuses a report: %s", link.address, event.text)

    def _gone(self, link: ServerLink, cause: str) -> None:
        link.lost(cause)
        self._stale = True
        self._book.failed(link.address, time.monotonic(), random.random())


def _takes_seconds(connection: WorkerConnection, stream: Stream) -> bool:
    """Ask a server, before anything else, whether its time limits are in seconds."""
    connection.ask_version()
    stream.send(connection.data_to_send())
    deadline = time.monotonic() + VERSION_SECONDS
    while True:
        try:
            data = stream.receive(deadline)
        except TimeoutError:
            return False  # gear does not answer, and has no time limits
        if not data:
            raise ConnectionError("the server closed the connection")
        for event in connection.receive_data(data):
            if isinstance(event, ServerVersion):
                return timeouts_in_seconds(event.version)
