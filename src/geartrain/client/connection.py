"""A client's half of one connection: what may be said, and which answer is whose.

Bytes in, events out; requests in, bytes out. No socket, no clock: the shells
(``client/sync.py``, ``client/aio.py``) move the bytes and wait.

Replies carry no request number, so requests are remembered in the order in which
they were sent (protocol reference, 1.5 and 10). A server answers in that order;
some leave a request out (gear an ECHO_REQ, Java a refused submission). So a reply
goes to the *first* waiting request that it can answer, and what stood before that
one is ``Unanswered``. A reply that nobody waits for is dropped.

Packets about a job go by handle. Submissions that the server merged share one
handle, and each of them gets its own copy of every packet, in a row; so the
handle leads to a list of requests that takes turns (reference, 2.6).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from geartrain.client.events import (
    CREATED,
    SENT,
    UNSENT,
    Complaint,
    EchoReply,
    Event,
    JobCreated,
    LineReply,
    Lost,
    OptionReply,
    Refused,
    StatusReply,
    Unanswered,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from geartrain.errors import ProtocolError
from geartrain.protocol import commands as c
from geartrain.protocol.packets import REQUEST, Headers, encode_request
from geartrain.protocol.reader import LINE, NOTHING, PACKET, PacketReader
from geartrain.protocol.submits import BACKGROUND, FOREGROUND, encode_submit
from geartrain.terms import NORMAL, JobHandle

#: Lines of answers may be long: ``workers`` names every function of a worker.
MAX_LINE_BYTES: Final = 4 * 2**20

#: Workloads from this size on are not copied behind their header.
LARGE_WORKLOAD: Final = 16 * 1024

# What a waiting request is answered by. It shares one integer with the request's
# number (``request << 3 | kind``), so that a waiting submission costs no object.
_SUBMIT: Final = 0
_SUBMIT_BG: Final = 1
_ECHO: Final = 2
_OPTION: Final = 3
_STATUS: Final = 4
_STATUS_UNIQUE: Final = 5
_LINE: Final = 6
_LINES: Final = 7

#: Codes that never answer an OPTION_REQ: an ERROR with one of them belongs to the
#: request behind it, and the server (gear) leaves options unanswered.
_NOT_ABOUT_OPTIONS: Final = (
    "QUEUE_ERROR",
    "QUEUE_FULL",
    "ARGUMENT_TOO_LARGE",
    "JOB_NOT_FOUND",
    "0",
)

#: Commands that answer with a list, ended by a line with a dot. The last three are
#: the Perl server's.
_LISTS: Final = (b"status", b"prioritystatus", b"workers", b"jobs", b"clients", b"gladiator")

_FOREGROUND: list[Headers] = [Headers(REQUEST, number) for number in FOREGROUND]
_BACKGROUND: list[Headers] = [Headers(REQUEST, number) for number in BACKGROUND]


def lenient_int(text: bytes) -> int:
    """The whole number at the head of ``text``, or 0, as C's ``atoi`` has it.

    Workers send ``0.5`` (python-gearman) and servers send nothing at all (gear
    and Perl, while a job has no status); neither is worth a lost connection.
    """
    if text.isdigit():
        return int(text)
    text = text.strip(b" \t\r\n\0")
    negative = text.startswith(b"-")
    if negative or text.startswith(b"+"):
        text = text[1:]
    end = 0
    while end < len(text) and 48 <= text[end] <= 57:
        end += 1
    number = int(text[: min(end, 20)]) if end else 0
    return -number if negative else number


def is_list_command(line: bytes) -> bool:
    """Whether the answer to this admin command is a list that ends with a dot."""
    words = line.lower().split()
    if not words:
        return False
    return words[0] in _LISTS or (words[0] == b"show" and len(words) > 1)


class ClientConnection:
    """What one client and one server have said to each other.

    Methods that ask return the request's number, which is in every event about
    it. After each of them, ``data_to_send()`` has bytes for the network.

    Args:
        exceptions: ask the server, before anything else, to pass WORK_EXCEPTION
            on; without it a client gets a bare WORK_FAIL (reference, 2.9). A
            server that refuses, or does not answer, is served all the same.
        max_packet_bytes: largest body accepted from the server.

    Attributes:
        exceptions: the server has confirmed the option ``exceptions``.
        closed: the connection is over; asking raises ``ProtocolError``.
        unsent_bytes: so much of submitted jobs waits for ``data_to_send``.
    """

    def __init__(self, exceptions: bool = True, max_packet_bytes: int = 256 * 2**20) -> None:
        self._reader = PacketReader(False, max_packet_bytes, MAX_LINE_BYTES)
        self._out: list[bytes] = []
        self._last = 0
        self._handed_out = 0
        self.unsent_bytes = 0
        self._pending: deque[int] = deque()
        self._tasks: dict[bytes, list[int]] = {}
        self._lines: list[str] = []
        self._own_option = 0
        self.exceptions = False
        self.closed = False
        if exceptions:
            self._own_option = self.option(b"exceptions")

    # ── asking ───────────────────────────────────────────────────────────────

    def submit(
        self,
        function: bytes,
        unique: bytes,
        workload: bytes,
        priority: int = NORMAL,
        background: bool = False,
        when: int | None = None,
        reducer: bytes | None = None,
    ) -> int:
        """Hand in a job; answered by ``JobCreated``, ``Refused``, ``Unanswered`` or ``Lost``.

        A foreground job goes on to ``WorkData``, ``WorkWarning``, ``WorkStatus``
        and one ending: ``WorkComplete``, ``WorkFail``, ``WorkException``, ``Lost``.

        Args:
            function: name of the function, without NUL.
            unique: key for coalescing, without NUL; empty for none.
            workload: opaque bytes.
            priority: ``terms.HIGH``, ``NORMAL`` or ``LOW``.
            background: nobody waits for the result.
            when: not before this second since 1970; always background.
            reducer: function that merges the results.

        Raises:
            ValueError: a NUL in a name, or a combination that has no packet.
            ProtocolError: the connection is closed.
        """
        if b"\0" in function or b"\0" in unique:
            raise ValueError(f"a NUL in function {function!r} or unique {unique!r}")
        out = self._out
        if when is not None or reducer is not None or priority < 0 or priority > 2:
            if reducer is not None and b"\0" in reducer:
                raise ValueError(f"a NUL in reducer {reducer!r}")
            packet = encode_submit(
                function,
                unique,
                workload,
                priority=priority,
                background=background,
                when=when,
                reducer=reducer,
            )
            background = background or when is not None
            request = self._ask(_SUBMIT_BG if background else _SUBMIT)
            out.append(packet)
            self.unsent_bytes += len(packet)
            return request
        size = len(function) + len(unique) + len(workload) + 2
        headers = _BACKGROUND[priority] if background else _FOREGROUND[priority]
        header = headers.small[size] if size < 512 else headers.of(size)
        request = self._ask(_SUBMIT_BG if background else _SUBMIT)
        self.unsent_bytes += size
        if size < LARGE_WORKLOAD:
            out.append(b"".join((header, function, b"\0", unique, b"\0", workload)))
        else:
            out.append(b"".join((header, function, b"\0", unique, b"\0")))
            out.append(workload)
        return request

    def echo(self, data: bytes) -> int:
        """Ask for the same bytes back; answered by ``EchoReply``."""
        request = self._ask(_ECHO)
        self._out.append(encode_request(c.ECHO_REQ, data))
        return request

    def option(self, name: bytes) -> int:
        """Switch an option of the connection on; answered by ``OptionReply`` or ``Refused``."""
        request = self._ask(_OPTION)
        self._out.append(encode_request(c.OPTION_REQ, name))
        return request

    def get_status(self, handle: bytes) -> int:
        """Ask about a job by its handle; answered by ``StatusReply``."""
        request = self._ask(_STATUS)
        self._out.append(encode_request(c.GET_STATUS, handle))
        return request

    def get_status_unique(self, unique: bytes) -> int:
        """Ask about a job by its unique key; answered by ``StatusReply``, or ``Refused``."""
        request = self._ask(_STATUS_UNIQUE)
        self._out.append(encode_request(c.GET_STATUS_UNIQUE, unique))
        return request

    def admin(self, line: bytes, is_list: bool | None = None) -> int:
        """Send an admin text command on the same stream; answered by ``LineReply``.

        Args:
            line: the command without its newline.
            is_list: whether the answer ends with a dot; None: as is known of
                the command's first words.

        Raises:
            ValueError: a line break or NUL inside, or nothing at all.
        """
        if not line or line[0] == 0 or b"\n" in line or b"\0" in line:
            raise ValueError(f"admin command {line!r}: want one line that is not empty")
        if is_list is None:
            is_list = is_list_command(line)
        request = self._ask(_LINES if is_list else _LINE)
        # CR LF: the C server eats a letter of `create function x` before a bare LF.
        self._out.append(line + b"\r\n")
        return request

    def data_to_send(self) -> list[bytes]:
        """Bytes for the network, in order; each piece is handed out once."""
        out = self._out
        self._out = []
        self._handed_out = self._last
        self.unsent_bytes = 0
        return out

    # ── hearing ──────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes as the network gave them; return what they say, in order.

        Raises:
            ProtocolError: the stream is lost. Close the connection, and call
                ``receive_eof`` for what was still waiting.
        """
        events: list[Event] = []
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

    def receive_eof(self, cause: str = "") -> list[Event]:
        """The connection has gone; return a ``Lost`` for everything that was not over."""
        self.closed = True
        events: list[Event] = []
        for code in self._pending:
            request = code >> 3
            if request != self._own_option:
                stage = SENT if request <= self._handed_out else UNSENT
                events.append(Lost(stage, cause, request))
        for requests in self._tasks.values():
            events.extend([Lost(CREATED, cause, request) for request in requests])
        self._pending.clear()
        self._own_option = 0
        self._tasks.clear()
        self._out = []
        self.unsent_bytes = 0
        return events

    # ── inside ───────────────────────────────────────────────────────────────

    def _ask(self, kind: int) -> int:
        if self.closed:
            raise ProtocolError("the connection is closed")
        self._last += 1
        self._pending.append(self._last << 3 | kind)
        return self._last

    def _packet(self, number: int, body: bytes, events: list[Event]) -> None:
        if number == c.JOB_CREATED:
            self._created(body, events)
        elif number == c.WORK_COMPLETE:
            handle, data = _cut(body)
            request = self._ended(handle)
            if request:
                events.append(WorkComplete(data, request))
        elif number == c.WORK_DATA:
            handle, data = _cut(body)
            request = self._turn(handle)
            if request:
                events.append(WorkData(data, request))
        elif number == c.WORK_STATUS:
            handle, rest = _cut(body)
            request = self._turn(handle)
            if request:
                numerator, denominator = _cut(rest)
                status = WorkStatus(lenient_int(numerator), lenient_int(denominator), request)
                events.append(status)
        elif number == c.WORK_FAIL:
            # The C server adds a NUL when it turns an exception into a failure.
            handle, _ = _cut(body)
            request = self._ended(handle)
            if request:
                events.append(WorkFail(request))
        elif number == c.WORK_EXCEPTION:
            handle, data = _cut(body)
            request = self._ended(handle)
            if request:
                events.append(WorkException(data, request))
        elif number == c.WORK_WARNING:
            handle, data = _cut(body)
            request = self._turn(handle)
            if request:
                events.append(WorkWarning(data, request))
        elif number == c.ERROR:
            self._error(body, events)
        elif number == c.ECHO_RES:
            request = self._answered(_ECHO, events)
            if request:
                events.append(EchoReply(body, request))
        elif number == c.OPTION_RES:
            self._option_is_on(body, events)
        elif number == c.STATUS_RES:
            request = self._answered(_STATUS, events)
            if request:
                events.append(_status(body, False, request))
        elif number == c.STATUS_RES_UNIQUE:
            request = self._answered(_STATUS_UNIQUE, events)
            if request:
                events.append(_status(body, True, request))
        # NOOP, NO_JOB and what later servers may send are none of a client's business.

    def _created(self, handle: bytes, events: list[Event]) -> None:
        pending = self._pending
        if not pending or pending[0] & 7 > _SUBMIT_BG:
            if not self._skip_to(_SUBMIT, _SUBMIT_BG, events):
                return
        code = pending.popleft()
        request = code >> 3
        if code & 7 == _SUBMIT:
            requests = self._tasks.get(handle)
            if requests is None:
                self._tasks[handle] = [request]
            else:
                requests.append(request)
        events.append(JobCreated(JobHandle(handle), request))

    def _turn(self, handle: bytes) -> int:
        """The request whose copy of a packet this is; 0 where nobody waits."""
        requests = self._tasks.get(handle)
        if requests is None:
            return 0
        request = requests[0]
        if len(requests) > 1:
            del requests[0]
            requests.append(request)
        return request

    def _ended(self, handle: bytes) -> int:
        requests = self._tasks.get(handle)
        if requests is None:
            return 0
        request = requests[0]
        if len(requests) == 1:
            del self._tasks[handle]
        else:
            del requests[0]
        return request

    def _answered(self, kind: int, events: list[Event]) -> int:
        """Take the first request that waits for this kind of reply; 0 where there is none."""
        if not self._skip_to(kind, kind, events):
            return 0
        return self._pending.popleft() >> 3

    def _skip_to(self, kind: int, other: int, events: list[Event]) -> bool:
        """Bring the first request of either kind to the head; what stood before goes unanswered."""
        pending = self._pending
        for code in pending:
            waiting = code & 7
            if waiting in (kind, other):
                break
        else:
            return False
        while True:
            waiting = pending[0] & 7
            if waiting in (kind, other):
                return True
            self._pass_over(events)

    def _pass_over(self, events: list[Event]) -> None:
        request = self._pending.popleft() >> 3
        if request == self._own_option:
            self._own_option = 0
        else:
            events.append(Unanswered(request))

    def _option_is_on(self, option: bytes, events: list[Event]) -> None:
        request = self._answered(_OPTION, events)
        if option.rstrip(b"\0").lower() == b"exceptions":
            self.exceptions = True
        if request and request == self._own_option:
            self._own_option = 0
        elif request:
            events.append(OptionReply(option, request))

    def _error(self, body: bytes, events: list[Event]) -> None:
        head, tail = _cut(body)
        code = head.decode("utf-8", "backslashreplace")
        text = tail.rstrip(b"\0").decode("utf-8", "backslashreplace")
        pending = self._pending
        if code in _NOT_ABOUT_OPTIONS:
            while len(pending) > 1 and pending[0] & 7 == _OPTION:
                self._pass_over(events)
        if not pending:
            events.append(Complaint(code, text))
            return
        request = pending.popleft() >> 3
        if request == self._own_option:
            self._own_option = 0
        else:
            events.append(Refused(code, text, request))

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not self._skip_to(_LINE, _LINES, events):
            return
        # Names may hold any byte; surrogateescape gives each of them back.
        text = line.decode("utf-8", "surrogateescape")
        code = self._pending[0]
        if code & 7 == _LINES:
            refused = text.startswith("ERR ") and not self._lines and "\t" not in text
            if text != "." and not refused:
                self._lines.append(text)
                return
            if not refused:
                lines = tuple(self._lines)
                self._lines = []
                self._pending.popleft()
                events.append(LineReply(lines, code >> 3))
                return
        self._pending.popleft()
        events.append(LineReply((text,), code >> 3))


def _cut(body: bytes) -> tuple[bytes, bytes]:
    """First argument and the rest. Perl workers leave the NUL out before an empty rest."""
    end = body.find(b"\0")
    if end < 0:
        return body, b""
    return body[:end], body[end + 1 :]


def _status(body: bytes, by_unique: bool, request: int) -> StatusReply:
    fields = body.split(b"\0")
    while len(fields) < 6:
        fields.append(b"")
    return StatusReply(
        fields[0],
        fields[1] == b"1",
        fields[2] == b"1",
        lenient_int(fields[3]),
        lenient_int(fields[4]),
        lenient_int(fields[5]) if by_unique else None,
        request,
    )
