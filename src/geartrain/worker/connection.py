"""A worker's half of one connection: CAN_DO, GRAB_JOB, PRE_SLEEP and NOOP.

Bytes in, events out; the shells (``worker/sync.py``, ``worker/aio.py``) move the
bytes, run the handlers and tell the time.

The dance. While ``want(n)`` leaves room, a GRAB_JOB is on its way or the
connection sleeps::

                    NO_JOB                      answered by nothing
      GRABBING ----------------> PRE_SLEEP sent -------------------> ASLEEP
        ^   | JOB_ASSIGN            | NOOP at once                      | NOOP
        |   v                       v                                   v
        |  room left?  <------------'-----------------------------------'
        '------'

* NOOP only matters to a sleeper. One that crosses a GRAB is dropped: the answer
  to the GRAB is newer news (libgearman's issue 232 is the ping-pong otherwise).
* After NOOP always a GRAB before the next PRE_SLEEP: the C server does not wake a
  worker a second time that has not grabbed (reference, 2.5).
* CAN_DO while asleep is followed by PRE_SLEEP, which the C server answers with
  NOOP if jobs wait for the new function; it does not look by itself.
* A sleeper repeats PRE_SLEEP now and then, which heals lost wake-ups and finds
  the C 1.1 server's epoch jobs.
* Several GRABs may be on their way (``most_grabs``), where the next jobs are to arrive
  while the first one runs. It begins with one, and asks for one more each time a job
  comes: a queue that is empty costs no more questions than with one. The connection
  sleeps when the last of them is answered.
* A server may answer every PRE_SLEEP with NOOP and every GRAB with NO_JOB (C 1.1
  with an epoch job waiting). After ``MAX_FRUITLESS`` such rounds within a second
  the connection rests for the remainder of it.

Graceful stop is ``want(0)``, then to finish what is in flight, then to hang up.
CANT_DO or RESET_ABILITIES would make the server run the jobs again elsewhere.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from geartrain.errors import JobFinished, ProtocolError
from geartrain.protocol import commands as c
from geartrain.protocol.packets import REQUEST, Headers, encode_request
from geartrain.protocol.reader import LINE, NOTHING, PACKET, PacketReader
from geartrain.terms import FunctionName, JobHandle, Unique
from geartrain.worker.events import (
    Complaint,
    Echoed,
    FellAsleep,
    JobAssigned,
    JobTaken,
    ServerVersion,
    Woken,
    WorkerEvent,
)

#: How to ask for a job, best first. A server that does not know one gets the next.
GRAB_ALL: Final = 0
GRAB_UNIQ: Final = 1
GRAB_PLAIN: Final = 2

_GRABS: list[bytes] = [
    encode_request(c.GRAB_JOB_ALL),
    encode_request(c.GRAB_JOB_UNIQ),
    encode_request(c.GRAB_JOB),
]
_PRE_SLEEP: Final = encode_request(c.PRE_SLEEP)

#: Rounds of NOOP, GRAB, NO_JOB within one second before the connection rests.
MAX_FRUITLESS: Final = 500
#: Seconds between two PRE_SLEEP of a connection that stays asleep.
RESLEEP_SECONDS: Final = 30.0
#: Seconds a GRAB may go unanswered before the next way to grab is tried (gear
#: answers GRAB_JOB_UNIQ alone).
GRAB_PATIENCE_SECONDS: Final = 5.0

#: Reports from this size on are not copied behind their header.
LARGE_REPORT: Final = 16 * 1024

_COMPLETE = Headers(REQUEST, c.WORK_COMPLETE)
_DATA = Headers(REQUEST, c.WORK_DATA)
_WARNING = Headers(REQUEST, c.WORK_WARNING)
_STATUS = Headers(REQUEST, c.WORK_STATUS)
_EXCEPTION = Headers(REQUEST, c.WORK_EXCEPTION)


class WorkerConnection:
    """What one worker and one server have said to each other.

    After any call ``data_to_send()`` may have bytes for the network.

    Args:
        grab: ``GRAB_ALL``, ``GRAB_UNIQ`` or ``GRAB_PLAIN``: how to ask first.
        max_packet_bytes: largest body accepted from the server.

    Attributes:
        grab_mode: how it asks now; worth remembering for the next connection.
        asleep: PRE_SLEEP is the last word: there was no job.
        grabbing: GRABs without an answer.
        most_grabs: so many of them at once.
        timeouts_in_seconds: set it for a server that reads CAN_DO_TIMEOUT so
            (``worker/versions.py``).
    """

    def __init__(self, grab: int = GRAB_ALL, max_packet_bytes: int = 256 * 2**20) -> None:
        self._reader = PacketReader(False, max_packet_bytes, 65536)
        self._out: list[bytes] = []
        self._functions: dict[bytes, int] = {}
        #: ``{handle: has reported}`` of the jobs in flight.
        self._jobs: dict[bytes, bool] = {}
        # Endings sent, when each unanswered GRAB was sent, and when the last answered
        # one was: after the answer an ERROR can no longer be about one of those.
        self._endings = 0
        self._endings_at_grab: deque[int] = deque()
        self._endings_proven = 0
        self._wanted = 0
        self._now = 0.0
        self._window = 0.0
        self._fruitless = 0
        self._resting = False
        self._was_woken = False
        self._slept_at = 0.0
        self._grabbed_at = 0.0
        self._version_asked = 0
        self.grab_mode = grab
        self.asleep = False
        self.grabbing = 0
        self.most_grabs = 1
        # How many at once now: between 1 and most_grabs.
        self._grabs = 1
        self.closed = False
        self.timeouts_in_seconds = False

    # ── who we are and what we can do ────────────────────────────────────────

    def set_client_id(self, name: bytes) -> None:
        """Tell the name that ``workers`` shows. White space would garble that list: use none."""
        self._out.append(encode_request(c.SET_CLIENT_ID, name))

    def can_do(self, function: bytes, timeout_ms: int = 0) -> None:
        """Offer a function; again with another timeout to change it.

        Args:
            function: its name, without NUL.
            timeout_ms: after so many milliseconds the server gives a job to
                somebody else; 0: it waits for ever. The C server rounds less
                than 1000 up to it.

        Raises:
            ValueError: a NUL in the name.
        """
        if b"\0" in function:
            raise ValueError(f"a NUL in function {function!r}")
        before = self._functions.get(function)
        if before == timeout_ms:
            return
        if before is not None:
            # A second CAN_DO would count this connection twice in the C server.
            self._out.append(encode_request(c.CANT_DO, function))
        self._functions[function] = timeout_ms
        if timeout_ms > 0:
            limit = (timeout_ms + 999) // 1000 if self.timeouts_in_seconds else timeout_ms
            self._out.append(encode_request(c.CAN_DO_TIMEOUT, function, b"%d" % limit))
        else:
            self._out.append(encode_request(c.CAN_DO, function))
        if self.asleep:
            self._sleep()

    def cant_do(self, function: bytes) -> None:
        """Withdraw a function. Jobs of it that are in flight are run again elsewhere."""
        if self._functions.pop(function, None) is not None:
            self._out.append(encode_request(c.CANT_DO, function))

    def announce(self, functions: dict[bytes, int]) -> None:
        """Offer exactly these: withdraw what is not among them, say only what has changed.

        Args:
            functions: ``{name: milliseconds}``, as in ``can_do``.
        """
        for name in list(self._functions):
            if name not in functions:
                self.cant_do(name)
        for name, timeout_ms in functions.items():
            self.can_do(name, timeout_ms)

    def ask_version(self) -> None:
        """Ask for the server's version; answered by ``ServerVersion``, or never (gear)."""
        self._version_asked += 1
        self._out.append(b"version\r\n")

    def echo(self, data: bytes) -> None:
        """Ask for the same bytes back; answered by ``Echoed``, or never (gear)."""
        self._out.append(encode_request(c.ECHO_REQ, data))

    # ── how much we want ─────────────────────────────────────────────────────

    def want(self, jobs: int) -> None:
        """Have so many jobs in flight at once. 0 to grab no more; what is asked for may still come."""
        self._wanted = jobs
        self._go_on()

    @property
    def wanted(self) -> int:
        """Jobs wanted in flight at once."""
        return self._wanted

    @property
    def running(self) -> int:
        """Jobs in flight: assigned and not ended."""
        return len(self._jobs)

    @property
    def handles(self) -> list[bytes]:
        """Handles of the jobs in flight."""
        return list(self._jobs)

    @property
    def idle(self) -> bool:
        """No job in flight and none asked for: hanging up now costs nobody anything."""
        return not self._jobs and not self.grabbing

    # ── reports on a job ─────────────────────────────────────────────────────

    def send_data(self, handle: bytes, data: bytes) -> None:
        """WORK_DATA: a piece of the result.

        Raises:
            JobFinished: the job is not in flight here (as all reports do).
        """
        self._report(_DATA, handle, data)

    def send_warning(self, handle: bytes, data: bytes) -> None:
        """WORK_WARNING: something the client should know."""
        self._report(_WARNING, handle, data)

    def send_status(self, handle: bytes, numerator: int, denominator: int) -> None:
        """WORK_STATUS: progress."""
        self._report(_STATUS, handle, b"%d\0%d" % (numerator, denominator))

    def complete(self, handle: bytes, data: bytes = b"") -> None:
        """WORK_COMPLETE: the job has ended well. The next GRAB goes into the same write."""
        self._report(_COMPLETE, handle, data)
        self._ended(handle)

    def fail(self, handle: bytes) -> None:
        """WORK_FAIL: the job has failed, without a word why."""
        if handle not in self._jobs:
            raise JobFinished(handle.decode("utf-8", "backslashreplace"))
        self._out.append(encode_request(c.WORK_FAIL, handle))
        self._ended(handle)

    def exception(self, handle: bytes, data: bytes) -> None:
        """WORK_EXCEPTION: the job has failed, and ``data`` says why.

        This ends the job: a WORK_FAIL after it would earn an ERROR. Only the
        Perl server wants one, and lets the job wait without it (reference, 2.9).
        """
        self._report(_EXCEPTION, handle, data)
        self._ended(handle)

    def drop(self, handle: bytes) -> None:
        """Forget a job without a word: the server has taken it away (``JobTaken``)."""
        if handle in self._jobs:
            del self._jobs[handle]
            self._go_on()

    # ── bytes, time ──────────────────────────────────────────────────────────

    def data_to_send(self) -> list[bytes]:
        """Bytes for the network, in order; each piece is handed out once."""
        out = self._out
        self._out = []
        return out

    def receive_data(self, data: bytes) -> list[WorkerEvent]:
        """Take bytes as the network gave them; return what they say, in order.

        Raises:
            ProtocolError: the stream is lost: close. The server gives the jobs
                in flight to others.
        """
        events: list[WorkerEvent] = []
        reader = self._reader
        reader.feed(data)
        while True:
            found = reader.next()
            if found == PACKET:
                self._packet(reader.number, reader.body, events)
            elif found == NOTHING:
                return events
            elif found == LINE:
                self._line(reader.line, events)
            else:
                raise ProtocolError(
                    f"the server sent a request packet (type {reader.number}); is it a server?"
                )

    def receive_eof(self) -> list[bytes]:
        """The connection has gone; return the handles of the jobs that went with it."""
        self.closed = True
        lost = list(self._jobs)
        self._jobs.clear()
        self._out = []
        self.grabbing = 0
        self._endings_at_grab.clear()
        self.asleep = False
        return lost

    def tick(self, now: float) -> None:
        """Let time pass. Call it before waiting, and when ``next_deadline`` has come.

        Args:
            now: seconds of a clock that never jumps.
        """
        self._now = now
        if now - self._window >= 1.0:
            self._window = now
            self._fruitless = 0
            if self._resting:
                self._resting = False
                self._go_on()
        if self.asleep and now - self._slept_at >= RESLEEP_SECONDS:
            self._sleep()
        if self.grabbing:
            if self._grabbed_at == 0.0:
                self._grabbed_at = now
            elif now - self._grabbed_at >= GRAB_PATIENCE_SECONDS and self.grab_mode < GRAB_PLAIN:
                self.grab_mode += 1
                self._grabbed_at = now
                self._out.append(_GRABS[self.grab_mode])

    def next_deadline(self) -> float | None:
        """When ``tick`` is due, on its own clock; None: not before something arrives."""
        if self._resting:
            return self._window + 1.0
        if self.asleep:
            return self._slept_at + RESLEEP_SECONDS
        if self.grabbing and self.grab_mode < GRAB_PLAIN:
            return (self._grabbed_at or self._now) + GRAB_PATIENCE_SECONDS
        return None

    # ── inside ───────────────────────────────────────────────────────────────

    def _report(self, headers: Headers, handle: bytes, data: bytes) -> None:
        if handle not in self._jobs:
            raise JobFinished(handle.decode("utf-8", "backslashreplace"))
        self._jobs[handle] = True
        size = len(handle) + 1 + len(data)
        header = headers.small[size] if size < 512 else headers.of(size)
        if size < LARGE_REPORT:
            self._out.append(b"".join((header, handle, b"\0", data)))
        else:
            self._out.append(b"".join((header, handle, b"\0")))
            self._out.append(data)

    def _ended(self, handle: bytes) -> None:
        del self._jobs[handle]
        self._endings += 1
        self._go_on()

    def _go_on(self) -> None:
        """Grab if there is room, and neither enough GRABs nor a sleep are pending."""
        if self.asleep or self._resting:
            return
        room = min(self._grabs, self._wanted - len(self._jobs))
        while self.grabbing < room:
            self.grabbing += 1
            self._grabbed_at = 0.0
            self._endings_at_grab.append(self._endings)
            self._out.append(_GRABS[self.grab_mode])

    def _grab_answered(self) -> None:
        if self.grabbing:
            self.grabbing -= 1
            self._endings_proven = self._endings_at_grab.popleft()

    def _sleep(self) -> None:
        self.asleep = True
        self._slept_at = self._now
        self._out.append(_PRE_SLEEP)

    def _packet(self, number: int, body: bytes, events: list[WorkerEvent]) -> None:
        if number == c.JOB_ASSIGN_UNIQ:
            parts = body.split(b"\0", 3)
            if len(parts) < 4:
                raise ProtocolError(f"JOB_ASSIGN_UNIQ has {len(parts)} of 4 arguments")
            self._assigned(parts[0], parts[1], parts[2], parts[3], b"", events)
        elif number == c.NO_JOB:
            self._no_job(events)
        elif number == c.NOOP:
            self._noop(events)
        elif number == c.JOB_ASSIGN_ALL:
            parts = body.split(b"\0", 4)
            if len(parts) < 5:
                raise ProtocolError(f"JOB_ASSIGN_ALL has {len(parts)} of 5 arguments")
            self._assigned(parts[0], parts[1], parts[2], parts[4], parts[3], events)
        elif number == c.JOB_ASSIGN:
            parts = body.split(b"\0", 2)
            if len(parts) < 3:
                raise ProtocolError(f"JOB_ASSIGN has {len(parts)} of 3 arguments")
            self._assigned(parts[0], parts[1], b"", parts[2], b"", events)
        elif number == c.ERROR:
            self._error(body, events)
        elif number == c.ECHO_RES:
            events.append(Echoed(body))

    def _assigned(
        self,
        handle: bytes,
        function: bytes,
        unique: bytes,
        workload: bytes,
        reducer: bytes,
        events: list[WorkerEvent],
    ) -> None:
        self._grab_answered()
        if self._grabs < self.most_grabs:
            self._grabs += 1
        self._fruitless = 0
        self._was_woken = False
        self._jobs[handle] = False
        events.append(
            JobAssigned(
                JobHandle(handle),
                FunctionName(function),
                Unique(unique),
                workload,
                FunctionName(reducer) if reducer else None,
            )
        )
        self._go_on()

    def _no_job(self, events: list[WorkerEvent]) -> None:
        if not self.grabbing:
            return
        self._grab_answered()
        self._grabs = 1
        if self.grabbing:
            return  # the others may have fared better
        if self._was_woken:
            self._was_woken = False
            self._fruitless += 1
        self._sleep()
        events.append(FellAsleep())

    def _noop(self, events: list[WorkerEvent]) -> None:
        if not self.asleep:
            return
        self.asleep = False
        self._was_woken = True
        if self._fruitless >= MAX_FRUITLESS:
            self._resting = True
            return
        if len(self._jobs) >= self._wanted:
            events.append(Woken())
        else:
            self._go_on()

    def _error(self, body: bytes, events: list[WorkerEvent]) -> None:
        end = body.find(b"\0")
        head = body if end < 0 else body[:end]
        tail = b"" if end < 0 else body[end + 1 :].rstrip(b"\0")
        code = head.decode("utf-8", "backslashreplace")
        text = tail.decode("utf-8", "backslashreplace")
        if code == "JOB_NOT_FOUND":
            # The answer to a report, and it names no job. It is about the one
            # job in flight that has reported, unless an ending of ours may
            # still be unread: to blame the wrong job would lose its result.
            reported = [handle for handle, spoke in self._jobs.items() if spoke]
            certain = len(reported) == 1 and self._endings_proven == self._endings
            handle = reported[0] if certain else b""
            events.append(JobTaken(JobHandle(handle), code, text))
        elif self.grabbing and self.grab_mode < GRAB_PLAIN:
            # A server that does not know this way to grab. Anything else that is
            # refused while a GRAB is out costs one step towards the oldest way,
            # which every server but gear knows.
            self.grab_mode += 1
            self._grabbed_at = 0.0
            self._out.append(_GRABS[self.grab_mode])
        else:
            events.append(Complaint(code, text))

    def _line(self, line: bytes, events: list[WorkerEvent]) -> None:
        if self._version_asked:
            self._version_asked -= 1
            words = line.decode("utf-8", "backslashreplace").split()
            if words and words[0] == "OK":
                words = words[1:]
            events.append(ServerVersion(words[0].lstrip("v") if words else ""))
