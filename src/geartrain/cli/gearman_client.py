"""``gearman`` as a client: the loop that waits for the server, the input and the clock.

What is to be done is decided elsewhere (``jobs.py``, ``backlog.py``, ``feed.py``); here
bytes are moved. A lost connection is dialled again in a thread, because looking up a
name and connecting may take seconds, in which the program that feeds us must not be
kept waiting.
"""

from __future__ import annotations

import os
import select
import stat
import time
from typing import TYPE_CHECKING, Final

from geartrain.cli import terminal
from geartrain.cli.backlog import Memory
from geartrain.cli.feed import Given, make_feed
from geartrain.cli.jobs import Jobs, Rules
from geartrain.cli.output import GROUPED, LIVE, ORDERED, Printer
from geartrain.client.connection import ClientConnection
from geartrain.errors import GearmanError, GearmanTimeout, ProtocolError
from geartrain.transport.address import parse_servers
from geartrain.transport.sync import Stream, TlsStream, connect

if TYPE_CHECKING:
    import ssl

    from geartrain.cli.backlog import Backlog
    from geartrain.cli.gearman_options import Settings
    from geartrain.cli.joblog import Joblog
    from geartrain.cli.progress import Progress
    from geartrain.cli.redial import Redial

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNREACHABLE: Final = 2
EXIT_TIMEOUT: Final = 3
EXIT_REFUSED: Final = 4
EXIT_LOCAL: Final = 5

#: Seconds that a server may take to accept a connection, where -t says nothing.
CONNECT_SECONDS: Final = 10.0


class Ended(Exception):
    """The run cannot go on; the message goes to stderr, the status to the caller."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def run(settings: Settings) -> int:
    """Do what the command line says; return the exit status."""
    try:
        client = Client(settings)
    except OSError as error:
        return _local_trouble(error)
    try:
        status = client.run()
    except Ended as end:
        client.printer.close()
        terminal.say("gearman", str(end))
        status = end.status
    except BrokenPipeError:
        client.close()
        return terminal.end_like_a_broken_pipe()
    except OSError as error:
        status = _local_trouble(error)
    except KeyboardInterrupt:
        status = 130
    client.close()
    return status


def _local_trouble(error: OSError) -> int:
    named = f"{error.filename}: " if error.filename else ""
    terminal.say("gearman", f"{named}{error.strerror or error}")
    return EXIT_LOCAL


class Client:
    """One run: connects, sends, prints, ends.

    Raises:
        ConfigurationError: a file or folder that was named cannot be used.
        OSError: the input cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.streaming = settings.lines and not settings.operands and not settings.no_input
        self.addresses = parse_servers(settings.servers, environ={})
        self.backlog = self._make_backlog()
        self.printer = Printer(terminal.write_all, self._mode(), settings.prefix)
        self.joblog: Joblog | None = None
        if settings.joblog:
            from geartrain.cli.joblog import Joblog

            self.joblog = Joblog(settings.joblog, time.monotonic, time.time, settings.resume)
        self.progress: Progress | None = None
        if settings.progress:
            from geartrain.cli.progress import Progress

            live = terminal.can_move(2)
            self.progress = Progress(
                lambda data: terminal.write_all(2, data), live, time.monotonic()
            )
        self.jobs = self._make_jobs()
        self.tls = self._tls() if settings.ssl else None
        self.wire: Stream | None = None
        self.where = str(self.addresses[0])
        self.heard = 0.0
        self.connection: ClientConnection | None = None
        self.redial: Redial | None = None
        self.feed: Given = Given([])
        self.stopping = False
        self._wake = -1

    # ── the loop ─────────────────────────────────────────────────────────────

    def run(self) -> int:
        """Go on until all is done.

        Raises:
            Ended: it cannot be done.
            OSError: trouble with the input or the output.
        """
        if self.streaming:
            self._mind_signals()
        if self.settings.spool:
            self.feed = make_feed(self.settings)
            self.backlog.put(self.feed.start())
            self._lost("", first=True)
        else:
            self._connect()
            self.feed = make_feed(self.settings)
            self.backlog.put(self.feed.start())
        while not self._finished():
            self._turn()
        self.printer.close()
        return self._status()

    def _turn(self) -> None:
        now = time.monotonic()
        self._trickle(now)
        if self.connection is not None and self.wire is not None:
            try:
                self.jobs.fill(self.connection, now)
                pieces = self.connection.data_to_send()
                if pieces:
                    self.wire.send(pieces)
            except OSError as error:
                self._lost(error.strerror or str(error))
        self._flush()
        if self.progress is not None:
            jobs = self.jobs
            self.progress.show(now, jobs.done, jobs.failed + jobs.refused, jobs.under_way)
        if self._finished():
            return
        for fd, _ in self._wait(now):
            if self.wire is not None and fd == self.wire.fileno():
                self._listen()
            elif self.redial is not None and fd == self.redial.fileno():
                self._redialled()
            elif fd == self._wake:
                os.read(fd, 64)
            else:
                self.backlog.put(self.feed.read(time.monotonic()))
        self._check_silence()

    def _wait(self, now: float) -> list[tuple[int, int]]:
        poll = select.poll()
        wire = self.wire
        if wire is not None:
            poll.register(wire, select.POLLIN | (select.POLLOUT if wire.backlog else 0))
        elif self.redial is not None:
            poll.register(self.redial, select.POLLIN)
        if not self.feed.over and self.backlog.hungry and not self.stopping:
            poll.register(0, select.POLLIN)
        if self._wake >= 0:
            poll.register(self._wake, select.POLLIN)
        limits = [self.feed.due, self.progress.due if self.progress else None]
        if self.jobs.resting_until > now:
            limits.append(self.jobs.resting_until)
        if not self.backlog.hungry:
            limits.append(now + 1.0)
        if self.settings.timeout is not None and wire is not None and self.jobs.under_way:
            limits.append(self.heard + self.settings.timeout)
        if self.redial is not None:
            limits.append(self.redial.until)
        due = [limit for limit in limits if limit is not None]
        pause = max(0.0, min(due) - now) * 1000 + 1 if due else None
        return poll.poll(pause)

    def _listen(self) -> None:
        wire, connection = self.wire, self.connection
        assert wire is not None
        assert connection is not None
        more = True
        while more:
            try:
                if wire.backlog:
                    wire.flush()
                data = wire.receive_now()
            except OSError as error:
                self._lost(error.strerror or str(error))
                return
            if data is None:
                return
            self.heard = time.monotonic()
            if not data:
                self._lost("the server closed the connection")
                return
            try:
                self.jobs.hear(connection.receive_data(data), self.heard)
            except ProtocolError as error:
                self._lost(str(error))
                return
            # OpenSSL may hold bytes that poll() does not know of.
            more = isinstance(wire, TlsStream)

    def _trickle(self, now: float) -> None:
        """What time alone brings: half a batch that has waited, a disk that has room again."""
        if self.stopping and not self.feed.over:
            self.backlog.put(self.feed.stop())
        elif self.feed.due is not None:
            self.backlog.put(self.feed.tick(now))
        complaint = self.backlog.tick()
        if complaint:
            terminal.say("gearman", complaint)

    def _flush(self) -> None:
        self.printer.flush()
        if self.joblog is not None:
            self.joblog.flush()

    def _finished(self) -> bool:
        if self.jobs.stop:
            return True
        if self.stopping and self.settings.spool and self.feed.over:
            return True
        return self.feed.over and self.backlog.empty and self.jobs.idle

    def _status(self) -> int:
        if self.progress is not None:
            jobs = self.jobs
            failed = jobs.failed + jobs.refused
            self.progress.show(time.monotonic(), jobs.done, failed, jobs.under_way, last=True)
        if self.jobs.failed:
            return EXIT_FAILED
        return EXIT_REFUSED if self.jobs.refused else EXIT_OK

    # ── the connection ───────────────────────────────────────────────────────

    def _connect(self) -> None:
        """The first connection: at once, in the order of the servers."""
        faults: list[GearmanError] = []
        for where in self.addresses:
            try:
                wire = connect(where, self.settings.timeout or CONNECT_SECONDS, self.tls)
                self._connected(wire, str(where))
                return
            except GearmanError as error:
                faults.append(error)
        if self.settings.first_patience == 0.0:
            late = all(isinstance(fault, GearmanTimeout) for fault in faults)
            raise Ended(EXIT_TIMEOUT if late else EXIT_UNREACHABLE, "; ".join(map(str, faults)))
        self._lost("; ".join(map(str, faults)), first=True)

    def _connected(self, wire: Stream, where: str) -> None:
        self.heard = time.monotonic()
        self.wire = wire
        self.where = where
        self.connection = ClientConnection()
        if self.joblog is not None:
            self.joblog.server = where
        self.jobs.in_order()

    def _lost(self, cause: str, first: bool = False) -> None:
        """There is no connection (any more): take note, and dial again if that is wanted."""
        from geartrain.cli.redial import Redial

        where = self.where
        if self.wire is not None:
            self.wire.close()
            self.wire = None
        if self.connection is not None:
            self.jobs.hear(self.connection.receive_eof(cause), time.monotonic())
            self.connection = None
        if self.jobs.stop or (self.jobs.idle and self.feed.over and self.backlog.empty):
            return
        settings = self.settings
        patience = settings.first_patience if first else settings.patience
        if patience == 0.0:
            raise Ended(
                EXIT_UNREACHABLE, f"connection to {where} lost ({cause}); a job may have run"
            )
        if cause:
            lead = cause if first else f"connection to {where} lost ({cause})"
            terminal.say("gearman", f"{lead}; trying again")
        until = None if patience is None else time.monotonic() + patience
        self.redial = Redial(
            self.addresses,
            settings.timeout or CONNECT_SECONDS,
            self.tls,
            until,
            quiet=first and not cause,
        )

    def _redialled(self) -> None:
        redial = self.redial
        assert redial is not None
        wire, where = redial.result()
        self.redial = None
        if not redial.quiet:
            terminal.say("gearman", f"connected to {where}")
        self._connected(wire, where)

    def _check_silence(self) -> None:
        now = time.monotonic()
        redial = self.redial
        if redial is not None and redial.until is not None and now >= redial.until:
            raise Ended(EXIT_UNREACHABLE, f"gave up: {redial.last_fault}")
        limit = self.settings.timeout
        if limit is None or self.wire is None or not self.jobs.under_way:
            return
        if now - self.heard >= limit:
            raise Ended(
                EXIT_TIMEOUT,
                f"no word from {self.where} for {limit:g} s (-t), "
                f"{self.jobs.under_way} jobs under way",
            )

    # ── making the parts ─────────────────────────────────────────────────────

    def _mode(self) -> int:
        if self.settings.window == 1 or self.settings.background:
            return LIVE
        in_order = self.settings.keep_order or not self.streaming
        return ORDERED if in_order else GROUPED

    def _make_backlog(self) -> Backlog:
        settings = self.settings
        if settings.spool:
            from geartrain.cli.backlog import Spool

            spool = Spool(settings.spool)
            if spool.left_over:
                terminal.say(
                    "gearman", f"{spool.left_over} jobs left in {settings.spool}: first these"
                )
            return spool
        if self.streaming and settings.background and not stat.S_ISREG(os.fstat(0).st_mode):
            from geartrain.cli.backlog import Overflow

            return Overflow()
        return Memory()

    def _make_jobs(self) -> Jobs:
        settings = self.settings
        rules = Rules(
            settings.functions,
            unique=settings.unique,
            priority=settings.priority,
            background=settings.background,
            window=settings.window,
            retries=settings.retries,
            fail_fast=settings.fail_fast,
            never_drop=bool(settings.spool),
            verbose=settings.verbose,
        )
        joblog = self.joblog
        return Jobs(
            rules,
            self.backlog,
            self.printer,
            lambda text: terminal.say("gearman", text),
            joblog.add if joblog is not None else None,
            joblog.is_done if joblog is not None and settings.resume else None,
        )

    def _tls(self) -> ssl.SSLContext | None:
        from geartrain.transport.tls import client_context

        return client_context(True)

    def _mind_signals(self) -> None:
        """The first INT or TERM ends the input and lets the rest be done; the second ends us."""
        import signal

        def stop(number: int, frame: object) -> None:
            if self.stopping:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self.stopping = True

        self._wake, writing = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)

    def close(self) -> None:
        """Let go of everything; a spool keeps what is not done."""
        try:
            if self.joblog is not None:
                self.joblog.close()
        finally:
            self.backlog.close()
            if self.wire is not None:
                self.wire.close()
