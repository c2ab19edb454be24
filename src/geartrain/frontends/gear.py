"""The Gearman dialect: binary packets, and admin lines between them.

A ``GearConnection`` is the broker's ``Peer`` that speaks Gearman. ``receive_data``
cuts what came into packets and calls the broker: that is this file. What the broker
says (``voice.py``), and answers in pieces (``pages.py``), are written down in ``out``
(``outbox.py``), a list of byte strings that the server joins and sends once a turn.
Nothing is copied on the way but what a slice copies.

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
from geartrain.errors import BadMagic, LineTooLong, ProtocolError
from geartrain.frontends import admin
from geartrain.frontends.arguments import (
    epoch_seconds,
    limit_seconds,
    whole_part,
    without_nul,
)
from geartrain.frontends.pages import Pages
from geartrain.frontends.port import House, Question
from geartrain.frontends.voice import NO_JOB, status_packet, status_unique_packet
from geartrain.protocol import commands as c
from geartrain.protocol.packets import RESPONSE, Headers, encode_response
from geartrain.protocol.reader import LINE, NOTHING, PACKET, PacketReader
from geartrain.terms import HIGH, LOW, NORMAL

_ASSIGN: Final = Headers(RESPONSE, c.JOB_ASSIGN)
_ASSIGN_UNIQ: Final = Headers(RESPONSE, c.JOB_ASSIGN_UNIQ)
_ASSIGN_ALL: Final = Headers(RESPONSE, c.JOB_ASSIGN_ALL)
_ECHO: Final = Headers(RESPONSE, c.ECHO_RES)

#: From here on the broker is told that a workload is on its way.
LARGE_WORKLOAD: Final = 64 * 2**10

#: Longest handle we look up; ours are shorter.
MAX_HANDLE_BYTES: Final = 255


class GearConnection(Pages):
    """One connection that speaks Gearman.

    Args:
        number: the peer's number, such as its file descriptor.
        house: the server around it.
        touched: where a connection puts itself when it first has something to
            send; emptied by the server after each turn.

    Attributes:
        closing: everything is said; close once ``out`` has been sent.
        throttled: packets wait in the reader until there is room for more jobs.
        spoke: something whole has come in; the server takes that back when it has noticed.
    """

    def __init__(self, number: int, house: House, touched: list[GearConnection]) -> None:
        super().__init__(number, house, touched)
        bounds = house.bounds
        self.broker: Broker = house.broker
        self.reader = PacketReader(True, bounds.max_packet_bytes, bounds.max_line_bytes)
        self.closing = False
        self.throttled = False
        self.spoke = False
        self._handle_bytes = house.broker.state.handles.size

    def hang_up(self) -> None:
        """The connection is gone: keep nothing of what was on its way.

        The broker's lines may know a peer a while longer than the peer is there.
        """
        self.reader = PacketReader(True, 0, 0)
        self.forget_all()

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
            if (self._listing is not None or self._asked is not None) and not self.go_on():
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
                    if self._asked is not None and not self.go_on_asking():
                        return
                else:
                    self.error(b"INVALID_MAGIC", b"Request magic expected")
        except LineTooLong as error:
            # Whoever writes lines reads lines.
            self.say(admin.line_too_long(error.limit))
            self.closing = True
        except ProtocolError as error:
            if isinstance(error, BadMagic) and error.is_tls:
                self.house.turn_away(self, str(error))
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
                self.say(NO_JOB)
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
            self.list_out(answer.listing)
        if answer.question is not None:
            self.inquire(answer.question)

    def _too_few(self, number: int, want: bytes) -> None:
        name = c.command_name(number).encode()
        self.error(b"INVALID_PACKET", name + b" has too few arguments, want: " + want)
