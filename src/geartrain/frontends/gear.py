"""The Gearman dialect: binary packets, and admin lines between them.

A ``GearConnection`` is the broker's ``Peer`` that speaks Gearman. ``receive_data``
cuts what came into packets and calls the broker; what the broker says is written
down in ``out``, a list of byte strings that the server joins and sends once a
turn. Nothing is copied on the way but what a slice copies.

A peer that does not read its answers is answered no further: with more than
``pause_output_bytes`` waiting, packets stay in the reader until ``resume``.

This file is the hot path of the server: plain calls, no objects per packet but
the byte strings themselves.

Source: protocol reference, sections 1, 2 and 10.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker import progress
from geartrain.broker.broker import Broker
from geartrain.broker.inspection import JobStatus
from geartrain.broker.tables import Job, Peer
from geartrain.errors import LineTooLong, ProtocolError
from geartrain.frontends import admin
from geartrain.frontends.port import House, Question
from geartrain.protocol import commands as c
from geartrain.protocol.packets import RESPONSE, Headers, encode_response
from geartrain.protocol.reader import LINE, NOTHING, PACKET, PacketReader
from geartrain.terms import HIGH, LOW, NORMAL

_CREATED: Final = Headers(RESPONSE, c.JOB_CREATED)
_ASSIGN: Final = Headers(RESPONSE, c.JOB_ASSIGN)
_ASSIGN_UNIQ: Final = Headers(RESPONSE, c.JOB_ASSIGN_UNIQ)
_ASSIGN_ALL: Final = Headers(RESPONSE, c.JOB_ASSIGN_ALL)
_COMPLETE: Final = Headers(RESPONSE, c.WORK_COMPLETE)
_FAIL: Final = Headers(RESPONSE, c.WORK_FAIL)
_ECHO: Final = Headers(RESPONSE, c.ECHO_RES)
_UPDATES: Final = [
    Headers(RESPONSE, c.WORK_DATA),
    Headers(RESPONSE, c.WORK_WARNING),
    Headers(RESPONSE, c.WORK_STATUS),
    _COMPLETE,
    _FAIL,
    Headers(RESPONSE, c.WORK_EXCEPTION),
]
_NO_JOB: Final = encode_response(c.NO_JOB)
_NOOP: Final = encode_response(c.NOOP)

#: Stands in ``out`` where an answer is to come; known by its identity.
_HOLE: Final = b"an answer is to come here"
#: What a hole counts for in ``out_bytes``, so that a peer cannot make any number of them.
HOLE_BYTES: Final = 256

#: From here on the broker is told that a workload is on its way.
LARGE_WORKLOAD: Final = 64 * 2**10

#: Longest handle we look up; ours are shorter.
MAX_HANDLE_BYTES: Final = 255


class GearConnection(Peer):
    """One connection that speaks Gearman.

    Args:
        number: the peer's number, such as its file descriptor.
        house: the server around it.
        touched: where a connection puts itself when it first has something to
            send; emptied by the server after each turn.

    Attributes:
        out: what is to be sent, oldest first.
        out_bytes: how much that is.
        holes: places in ``out``, counted from ``sent_before`` on, whose answers are
            not known yet; what stands behind the first of them waits for it.
        sent_before: entries of ``out`` that were sent since ``holes`` was empty.
        closing: everything is said; close once ``out`` has been sent.
        held_back: packets wait in the reader until ``resume``.
        throttled: ... and until there is room for more jobs.
        spoke: something whole has come in; the server takes that back when it has noticed.
    """

    def __init__(self, number: int, house: House, touched: list[GearConnection]) -> None:
        super().__init__(number)
        bounds = house.bounds
        self.house = house
        self.broker: Broker = house.broker
        self.reader = PacketReader(True, bounds.max_packet_bytes, bounds.max_line_bytes)
        self.out: list[bytes] = []
        self.out_bytes = 0
        self.holes: list[int] = []
        self.sent_before = 0
        self.closing = False
        self.held_back = False
        self.throttled = False
        self.spoke = False
        self._touched = touched
        self._pause_at = bounds.pause_output_bytes
        self._handle_bytes = house.broker.state.handles.size
        self._listing: admin.Listing | None = None
        #: A paged question whose answer is not over, and whether its next piece is wanted.
        self._asked: Question | None = None
        self._wants_more = False
        #: By ticket, with which packet the worker asked for the job that is promised.
        self._grabs: dict[int, int] | None = None

    def hang_up(self) -> None:
        """The connection is gone: keep nothing of what was on its way.

        The broker's lines may know a peer a while longer than the peer is there.
        """
        self.reader = PacketReader(True, 0, 0)
        self.out = []
        self.out_bytes = 0
        self.holes = []
        self._listing = None
        self._asked = None

    # ── bytes in ─────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes) -> None:
        """Take the bytes that arrived."""
        self.reader.feed(data)
        if not self.held_back:
            self._work_off()

    def resume(self) -> None:
        """The output has been sent: go on with what was held back."""
        if self.held_back and not self.throttled:
            self.held_back = False
            self._work_off()

    def relieve(self) -> None:
        """There is room for jobs again, or it has waited for long enough."""
        self.throttled = False
        self.resume()

    def _work_off(self) -> None:
        try:
            if self._listing is not None and not self._go_on_listing():
                return
            if self._asked is not None and not self._go_on_asking():
                return
            reader = self.reader
            while not self.closing:
                if self.out_bytes > self._pause_at:
                    self.held_back = True
                    return
                kind = reader.next()
                if kind == PACKET:
                    self._packet(reader.number, reader.body)
                    # Do not hold a large body longer than its job does.
                    reader.body = b""
                    if self.throttled:
                        self.held_back = True
                        return
                elif kind == NOTHING:
                    return
                elif kind == LINE:
                    self._line(reader.line)
                    if self._asked is not None and not self._go_on_asking():
                        return
                else:
                    self.error(b"INVALID_MAGIC", b"Request magic expected")
        except LineTooLong as error:
            # Whoever writes lines reads lines.
            self.say(admin.line_too_long(error.limit))
            self.closing = True
        except ProtocolError as error:
            self.error(error.code.encode(), str(error).encode("utf-8", "replace"))
            self.closing = True

    def _packet(self, number: int, body: bytes) -> None:
        self.spoke = True
        if number == c.WORK_COMPLETE:
            self._finish(progress.COMPLETE, body)
        elif number == c.GRAB_JOB or number == c.GRAB_JOB_UNIQ or number == c.GRAB_JOB_ALL:
            self._grab(number)
        elif number == c.SUBMIT_JOB:
            self._submit(number, body, NORMAL, False)
        elif number == c.SUBMIT_JOB_BG:
            self._submit(number, body, NORMAL, True)
        elif number == c.PRE_SLEEP:
            self.broker.pre_sleep(self)
        elif number == c.WORK_DATA:
            self._report(progress.DATA, body)
        elif number == c.WORK_STATUS:
            self._status(body)
        elif number == c.SUBMIT_JOB_HIGH:
            self._submit(number, body, HIGH, False)
        elif number == c.SUBMIT_JOB_LOW:
            self._submit(number, body, LOW, False)
        elif number == c.SUBMIT_JOB_HIGH_BG:
            self._submit(number, body, HIGH, True)
        elif number == c.SUBMIT_JOB_LOW_BG:
            self._submit(number, body, LOW, True)
        elif number == c.WORK_FAIL:
            self._finish(progress.FAIL, body)
        elif number == c.WORK_EXCEPTION:
            self._finish(progress.EXCEPTION, body)
        elif number == c.WORK_WARNING:
            self._report(progress.WARNING, body)
        elif number == c.ECHO_REQ:
            self.say2(_ECHO.of(len(body)), body)
        else:
            self._rare_packet(number, body)

    def _rare_packet(self, number: int, body: bytes) -> None:
        broker = self.broker
        if number == c.CAN_DO:
            broker.can_do(self, without_nul(body), 0.0)
        elif number == c.CAN_DO_TIMEOUT:
            name, _, limit = body.partition(b"\0")
            broker.can_do(self, name, limit_seconds(limit))
        elif number == c.CANT_DO:
            broker.cant_do(self, without_nul(body))
        elif number == c.RESET_ABILITIES:
            broker.reset_abilities(self)
        elif number == c.GET_STATUS:
            self._get_status(body)
        elif number == c.GET_STATUS_UNIQUE:
            self._get_status_unique(body)
        elif number == c.OPTION_REQ:
            self._option(body)
        elif number == c.SET_CLIENT_ID:
            broker.set_client_id(self, without_nul(body))
        elif number == c.SUBMIT_JOB_EPOCH:
            self._submit_epoch(body)
        elif number == c.SUBMIT_REDUCE_JOB or number == c.SUBMIT_REDUCE_JOB_BACKGROUND:
            self._submit_reduce(number, body)
        elif number == c.SUBMIT_JOB_SCHED:
            self.error(
                b"INVALID_COMMAND",
                b"Command not expected: SUBMIT_JOB_SCHED is not supported; "
                b"submit with SUBMIT_JOB_EPOCH when the time comes",
            )
        else:
            self.error(b"INVALID_COMMAND", b"Command not expected")

    # ── jobs in ──────────────────────────────────────────────────────────────

    def _submit(self, number: int, body: bytes, priority: int, background: bool) -> None:
        first = body.find(b"\0")
        second = -1
        if first >= 0:
            second = first + 1
            if second >= len(body) or body[second] != 0:
                second = body.find(b"\0", second)
        if second < 0:
            self._too_few(number, b"function, unique, workload")
            return
        self.broker.submit(
            self,
            body[:first],
            body[first + 1 : second],
            body[second + 1 :],
            priority,
            background,
            0,
            b"",
        )
        if self.broker.state.pressed:
            self.throttled = self.broker.throttle(self)

    def _submit_epoch(self, body: bytes) -> None:
        parts = body.split(b"\0", 3)
        if len(parts) < 4:
            self._too_few(c.SUBMIT_JOB_EPOCH, b"function, unique, epoch, workload")
            return
        when = epoch_seconds(parts[2])
        if when < 0:
            self.error(
                b"INVALID_ARGUMENT",
                b"epoch is not a number of seconds since 1970, or out of range",
            )
            return
        self.broker.submit(self, parts[0], parts[1], parts[3], NORMAL, True, when, b"")
        if self.broker.state.pressed:
            self.throttled = self.broker.throttle(self)

    def _submit_reduce(self, number: int, body: bytes) -> None:
        # Five parts on the wire; the fourth, the aggregator, is missing in
        # what the protocol's text describes.
        parts = body.split(b"\0", 4)
        if len(parts) < 4:
            self._too_few(number, b"function, unique, reducer, aggregator, workload")
            return
        if len(parts[2]) > self.broker.rules.max_function_bytes:
            self.error(b"ARGUMENT_TOO_LARGE", b"Reducer name too large")
            return
        background = number == c.SUBMIT_REDUCE_JOB_BACKGROUND
        self.broker.submit(self, parts[0], parts[1], parts[-1], NORMAL, background, 0, parts[2])
        if self.broker.state.pressed:
            self.throttled = self.broker.throttle(self)

    # ── workers ──────────────────────────────────────────────────────────────

    def _grab(self, number: int) -> None:
        job = self.broker.grab(self)
        if job is None:
            if self.broker.hold_out(self):
                self._remember_grab(number)
            else:
                self.say(_NO_JOB)
            return
        if job.away:
            self.broker.await_workload(self, job)
            self._remember_grab(number)
            return
        handle = job.handle
        label = job.function.label
        workload = job.workload
        size = len(handle) + len(label) + len(workload)
        if number == c.GRAB_JOB:
            header = _ASSIGN.of(size)
            middle = label
        else:
            unique = job.unique
            reducer = job.reducer
            if number == c.GRAB_JOB_ALL and reducer:
                middle = label + unique + b"\0" + reducer + b"\0"
                header = _ASSIGN_ALL.of(size + len(unique) + len(reducer) + 2)
            else:
                middle = label + unique + b"\0"
                header = _ASSIGN_UNIQ.of(size + len(unique) + 1)
        out = self.out
        if not out:
            self._touched.append(self)
        out.append(header)
        out.append(handle)
        out.append(middle)
        self.out_bytes += 12 + len(handle) + len(middle) + len(workload)
        if workload:
            out.append(workload)
            if len(workload) >= LARGE_WORKLOAD:
                self.broker.handed_over(job)

    def _remember_grab(self, number: int) -> None:
        grabs = self._grabs
        if grabs is None:
            grabs = self._grabs = {}
        grabs[self.holes[-1]] = number

    def _finish(self, kind: int, body: bytes) -> None:
        # Handles are all of one length here: look there before searching.
        nul = self._handle_bytes
        if nul >= len(body) or body[nul] != 0:
            nul = body.find(b"\0")
        if nul < 0:
            # Perl workers leave the NUL out when the result is empty.
            handle = body
            body = body + b"\0"
            nul = len(handle)
        else:
            handle = body[:nul]
        if not self.broker.finish(self, kind, handle, body, nul + 1):
            if kind == progress.EXCEPTION:
                text = b"An exception was received for a job that does not exist"
            else:
                text = b"Job given in work result not found"
            self.error(b"JOB_NOT_FOUND", text)

    def _report(self, kind: int, body: bytes) -> None:
        nul = body.find(b"\0")
        if nul < 0:
            handle = body
            body = body + b"\0"
            nul = len(handle)
        else:
            handle = body[:nul]
        if not self.broker.report(self, kind, handle, body, nul + 1):
            self.error(b"JOB_NOT_FOUND", b"Job does not exist on server")

    def _status(self, body: bytes) -> None:
        parts = body.split(b"\0", 2)
        if len(parts) < 3:
            self._half_status(parts)
            return
        body = without_nul(body) if len(parts[2]) > 1 else body
        if not self.broker.report_status(
            self,
            parts[0],
            whole_part(parts[1]),
            whole_part(parts[2]),
            body,
            len(parts[0]) + 1,
        ):
            self.error(b"JOB_NOT_FOUND", b"Job given in work result not found")

    def _half_status(self, parts: list[bytes]) -> None:
        # Perl's send_work_status forgets the denominator, and its worker dies of
        # an ERROR. What is known is kept for GET_STATUS; to clients nothing goes,
        # for Debian's gearman divides by what would have to stand there.
        if len(parts) < 2 or not self.broker.note_status(self, parts[0], whole_part(parts[1]), 0):
            self._too_few(c.WORK_STATUS, b"handle, numerator, denominator")

    # ── questions ────────────────────────────────────────────────────────────

    def _get_status(self, body: bytes) -> None:
        handle = without_nul(body)
        if len(handle) > MAX_HANDLE_BYTES:
            self.error(b"ARGUMENT_TOO_LARGE", b"Job handle too large")
            return
        status = self.broker.status(handle)
        if not status.known and self.broker.is_stored_somewhere(handle):
            self.inquire(Question(b"get status", [handle]))
            return
        self.say(status_packet(handle, status))

    def _get_status_unique(self, body: bytes) -> None:
        unique = without_nul(body)
        if len(unique) > self.broker.rules.max_unique_bytes:
            self.error(b"ARGUMENT_TOO_LARGE", b"Unique value too large")
            return
        status = self.broker.status_unique(unique)
        if not status.known and unique and unique != b"-" and self.broker.has_more:
            self.inquire(Question(b"get status unique", [unique]))
            return
        self.say(status_unique_packet(unique, status))

    def _option(self, body: bytes) -> None:
        if without_nul(body).lower() == b"exceptions":
            self.exceptions = True
            self.say(encode_response(c.OPTION_RES, body))
        else:
            self.error(b"UNKNOWN_OPTION", b"Server does not recognize given option")

    def _line(self, line: bytes) -> None:
        self.spoke = True
        answer = admin.answer(self.house, line)
        if answer.data:
            self.say(answer.data)
        if answer.listing is not None:
            self._listing = answer.listing
            self._go_on_listing()
        if answer.question is not None:
            self.inquire(answer.question)

    def inquire(self, question: Question) -> None:
        """Leave room for an answer that the house brings, now or later."""
        question.peer = self
        if question.paged:
            self._asked = question
            self._wants_more = True
            return
        question.ticket = self.promise()
        self.house.ask(question)

    def answered(self, ticket: int, data: bytes, more: bool) -> None:
        """The answer of the house, or a piece of it."""
        asked = self._asked
        if asked is not None and asked.ticket == ticket:
            self._wants_more = more
            if not more:
                self._asked = None
        self._fill(ticket, data)

    def _go_on_asking(self) -> bool:
        """Ask for the next piece of an answer; False when all else has to wait for it."""
        while True:
            asked = self._asked
            if asked is None:
                return True
            if not self._wants_more or self.out_bytes > self._pause_at:
                self.held_back = True
                return False
            self._wants_more = False
            asked.ticket = self.promise()
            self.house.ask(asked)

    def _go_on_listing(self) -> bool:
        """Write on at a list; False when the rest has to wait for the peer to read."""
        listing = self._listing
        assert listing is not None
        while not listing.done:
            if self.out_bytes > self._pause_at:
                self.held_back = True
                return False
            piece = listing.piece()
            if piece:
                self.say(piece)
        self._listing = None
        return True

    # ── what the broker says ─────────────────────────────────────────────────

    def job_created(self, handle: bytes) -> None:
        """JOB_CREATED."""
        self.say2(_CREATED.small[len(handle)], handle)

    def promise(self) -> int:
        """Leave room for an answer; what is said from now on waits for it."""
        out = self.out
        if not self.holes:
            self.sent_before = 0
        ticket = self.sent_before + len(out)
        self.holes.append(ticket)
        out.append(_HOLE)
        self.out_bytes += HOLE_BYTES
        return ticket

    def redeem(self, ticket: int, handle: bytes) -> None:
        """JOB_CREATED, where it was promised."""
        self._fill(ticket, _CREATED.small[len(handle)] + handle)

    def renege(self, ticket: int, code: bytes, text: bytes) -> None:
        """ERROR, where JOB_CREATED was promised."""
        self._fill(ticket, encode_response(c.ERROR, code, text))

    def assign(self, ticket: int, job: Job | None) -> None:
        """JOB_ASSIGN or NO_JOB, where it was promised."""
        number = self._grabs.pop(ticket, c.GRAB_JOB) if self._grabs is not None else c.GRAB_JOB
        if job is None:
            self._fill(ticket, _NO_JOB)
            return
        args = [job.handle, job.function.name]
        answer = c.JOB_ASSIGN
        if number != c.GRAB_JOB:
            answer = c.JOB_ASSIGN_UNIQ
            args.append(job.unique)
            if number == c.GRAB_JOB_ALL and job.reducer:
                answer = c.JOB_ASSIGN_ALL
                args.append(job.reducer)
        args.append(job.workload)
        self._fill(ticket, encode_response(answer, *args))

    def _fill(self, ticket: int, packet: bytes) -> None:
        holes = self.holes
        if not holes:
            return  # it has hung up
        out = self.out
        out[ticket - self.sent_before] = packet
        self.out_bytes += len(packet) - HOLE_BYTES
        if ticket != holes[0]:
            return
        done = 1
        while done < len(holes) and out[holes[done] - self.sent_before] is not _HOLE:
            done += 1
        del holes[:done]
        self._touched.append(self)

    def take_sendable(self) -> list[bytes]:
        """Out of ``out``: what stands before the first hole."""
        ready = self.holes[0] - self.sent_before
        sendable = self.out[:ready]
        del self.out[:ready]
        self.sent_before += ready
        return sendable

    def put_back(self, unsent: list[bytes]) -> None:
        """Into ``out``, in front: what the kernel did not take."""
        self.out[:0] = unsent
        self.sent_before -= len(unsent)

    def refused(self, code: bytes, text: bytes) -> None:
        """ERROR in the place of JOB_CREATED."""
        self.error(code, text)

    def noop(self) -> None:
        """NOOP."""
        self.say(_NOOP)

    def work_update(self, kind: int, body: bytes, start: int) -> None:
        """WORK_*, as the worker's packet had it."""
        if (kind == progress.EXCEPTION and not self.exceptions) or kind == progress.FAIL:
            self.work_fail(body[: start - 1])
            return
        self.say2(_UPDATES[kind].of(len(body)), body)
        if self.out_bytes > self._pause_at:
            # While output waits, ``say`` brings us to nobody's notice; one who
            # does not read must be noticed, or others' reports fill the memory.
            self._touched.append(self)

    def work_fail(self, handle: bytes) -> None:
        """WORK_FAIL with the handle and nothing else: old libgearman compares its length."""
        self.say2(_FAIL.of(len(handle)), handle)

    # ── bytes out ────────────────────────────────────────────────────────────

    def error(self, code: bytes, text: bytes) -> None:
        """ERROR."""
        self.say(encode_response(c.ERROR, code, text))

    def _too_few(self, number: int, want: bytes) -> None:
        name = c.command_name(number).encode()
        self.error(b"INVALID_PACKET", name + b" has too few arguments, want: " + want)

    def say(self, packet: bytes) -> None:
        """Write down one packet."""
        out = self.out
        if not out:
            self._touched.append(self)
        out.append(packet)
        self.out_bytes += len(packet)

    def say2(self, header: bytes, body: bytes) -> None:
        """Write down one packet in two parts."""
        out = self.out
        if not out:
            self._touched.append(self)
        out.append(header)
        out.append(body)
        self.out_bytes += 12 + len(body)


def status_packet(handle: bytes, status: JobStatus) -> bytes:
    """STATUS_RES."""
    return encode_response(
        c.STATUS_RES,
        handle,
        b"1" if status.known else b"0",
        b"1" if status.running else b"0",
        b"%d" % status.numerator,
        b"%d" % status.denominator,
    )


def status_unique_packet(unique: bytes, status: JobStatus) -> bytes:
    """STATUS_RES_UNIQUE."""
    return encode_response(
        c.STATUS_RES_UNIQUE,
        unique,
        b"1" if status.known else b"0",
        b"1" if status.running else b"0",
        b"%d" % status.numerator,
        b"%d" % status.denominator,
        b"%d" % status.clients,
    )


def without_nul(argument: bytes) -> bytes:
    """A last argument without the one NUL that some clients end it with."""
    return argument[:-1] if argument[-1:] == b"\0" else argument


def limit_seconds(argument: bytes) -> float:
    """Milliseconds of CAN_DO_TIMEOUT in seconds; 0.0 (no limit) for what is none."""
    text = without_nul(argument).strip()
    if not text.isdigit() or len(text) > 15:
        return 0.0
    return int(text) / 1000.0


def epoch_seconds(argument: bytes) -> int:
    """Seconds of SUBMIT_JOB_EPOCH; 0 for now; -1 for what is no time."""
    text = argument.strip()
    if not text:
        return 0
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 18:
        return -1
    return 0 if text[:1] == b"-" else int(text)


def whole_part(argument: bytes) -> int:
    """The whole part of a number in WORK_STATUS; 0 for what is none."""
    digits = without_nul(argument).partition(b".")[0].strip()
    return min(int(digits), 4294967295) if digits.isdigit() and len(digits) < 19 else 0
