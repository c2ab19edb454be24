"""Talk to a job server in bytes, and compare what it answers byte for byte.

Plain blocking sockets with deadlines, and nothing of geartrain: what is written
here was read in the protocol, so that a fault in our own reader or writer cannot
hide by being on both sides.

That *nothing* came is shown by asking: an echo is answered in order, so whatever
the server had to say before must come before the echo (``expect_nothing``).
Only what time brings (a wake-up, a time limit) needs waiting for silence.

A failed expectation shows the talk so far: ``>`` is what we said, ``<`` what the
server said.
"""

from __future__ import annotations

import itertools
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from tests.support import patient, wait_until

#: Where a server listens: IPv4 address and port.
Address = tuple[str, int]

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

#: Seconds that a thing may take which should take none. A slow machine may
#: stretch it; nothing waits so long unless something is broken.
PATIENCE = patient(10.0)


class T(IntEnum):
    """The packet types, as the protocol numbers them."""

    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    UNUSED = 5
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    JOB_ASSIGN_ALL = 40
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


@dataclass(frozen=True)
class Packet:
    """One packet: its type and its body, not cut into arguments."""

    number: int
    body: bytes = b""

    def __repr__(self) -> str:
        return f"{name_of(self.number)} {shorten(self.body)}".rstrip()


def name_of(number: int) -> str:
    """A packet type as one reads it."""
    try:
        return T(number).name
    except ValueError:
        return f"type {number:#x}"


def shorten(data: bytes, limit: int = 200) -> str:
    """Bytes as one reads them in a failed test."""
    if not data:
        return ""
    if len(data) <= limit:
        return repr(data)
    return f"{data[: limit // 2]!r}... ({len(data)} bytes)"


def label(value: object) -> str:
    """A test's parameter as one reads it in the test's name."""
    if isinstance(value, T):
        return value.name
    if isinstance(value, bytes):
        return shorten(value, 40) or "empty"
    return str(value)


def packet(number: int, *arguments: bytes, magic: bytes = REQUEST) -> bytes:
    """A packet as it goes over the wire."""
    body = b"\0".join(arguments)
    return struct.pack(">4sII", magic, number, len(body)) + body


class Wire:
    """One connection to a job server.

    Args:
        address: where the server listens.
        patience: seconds that an expected answer may take.
        receive_buffer: size of the socket's receive buffer, for slow readers.
    """

    tokens = itertools.count(1)

    def __init__(
        self, address: Address, patience: float = PATIENCE, receive_buffer: int | None = None
    ) -> None:
        self._patience = patience
        self._held = bytearray()
        self._talk: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(patience)
        try:
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ── saying ───────────────────────────────────────────────────────────────

    def send(self, number: int, *arguments: bytes) -> None:
        """Send one request packet."""
        self._note(">", Packet(number, b"\0".join(arguments)))
        self.socket.sendall(packet(number, *arguments))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are: text lines, several packets, broken ones."""
        self._note(">", shorten(data))
        self.socket.sendall(data)

    def end_sending(self) -> None:
        """Say that nothing more comes, and go on listening."""
        self._note(">", "(end of sending)")
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def cut(self) -> None:
        """Hang up without a good-bye: the server sees a reset, as from a crashed peer."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # ── hearing ──────────────────────────────────────────────────────────────

    def receive(self) -> Packet:
        """The next packet, whatever it is."""
        head = self._take(12)
        magic, number, length = struct.unpack(">4sII", head)
        if magic != RESPONSE:
            self._fail(f"no packet from the server begins with {head!r}")
        heard = Packet(number, self._take(length))
        self._note("<", heard)
        return heard

    def expect(self, number: int, *arguments: bytes) -> None:
        """The next packet must be exactly this one."""
        wanted = Packet(number, b"\0".join(arguments))
        heard = self.receive()
        if heard != wanted:
            self._fail(f"expected {wanted!r}\n     but heard {heard!r}")

    def expect_error(self, code: bytes, text: bytes | None = None) -> None:
        """The next packet must be an ERROR of this code; the text matters only if given."""
        heard = self.receive()
        heard_code, nul, heard_text = heard.body.partition(b"\0")
        if heard.number != T.ERROR or not nul or heard_code != code:
            self._fail(f"expected ERROR {code!r}\n     but heard {heard!r}")
        if text is not None and heard_text != text:
            self._fail(f"expected ERROR {code!r} with {text!r}\n     but heard {heard!r}")

    def expect_bytes(self, wanted: bytes) -> None:
        """The next bytes must be exactly these."""
        heard = b""
        try:
            while len(heard) < len(wanted) and wanted.startswith(heard):
                heard += self._take(1)
        except AssertionError:
            self._fail(f"expected {shorten(wanted)}\n     but heard {shorten(heard)} and no more")
        self._note("<", shorten(heard))
        if heard != wanted:
            rest = bytes(self._held)
            self._fail(f"expected {shorten(wanted)}\n     but heard {shorten(heard + rest)}")

    def expect_nothing(self) -> None:
        """The server has nothing to say up to here; its answer to an echo is the proof."""
        token = b"anything else? %d" % next(self.tokens)
        self.send(T.ECHO_REQ, token)
        self.expect(T.ECHO_RES, token)

    def expect_silence(self, seconds: float) -> None:
        """Nothing comes within this time. Only for what time alone may bring."""
        if not self._held:
            self.socket.settimeout(seconds)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return
            finally:
                self.socket.settimeout(self._patience)
            if not data:
                self._fail("expected silence, but the server hung up")
            self._held += data
        self._fail(f"expected silence, but heard {self.receive()!r}")

    def expect_close(self) -> None:
        """The server hangs up, and says nothing before."""
        if not self._held:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            except TimeoutError:
                self._fail("expected the server to hang up, but it did not")
            if not data:
                self._note("<", "(hung up)")
                return
            self._held += data
        self._fail(f"expected the server to hang up, but heard {shorten(bytes(self._held))}")

    def read_line(self) -> bytes:
        """The next text line, its end included."""
        line = self._take_until(b"\n")
        if line.startswith(b"\0"):
            self._fail(f"expected a text line, but heard a packet: {shorten(line)}")
        self._note("<", shorten(line))
        return line

    def read_list(self) -> list[bytes]:
        """The lines of a list, without their ends and without the closing dot."""
        lines: list[bytes] = []
        while (line := self.read_line()) != b".\n":
            lines.append(line.removesuffix(b"\n"))
        return lines

    def _take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._fill()
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def _take_until(self, end: bytes) -> bytes:
        while (position := self._held.find(end)) < 0:
            self._fill()
        return self._take(position + len(end))

    def _fill(self) -> None:
        try:
            data = self.socket.recv(262144)
        except TimeoutError:
            self._fail(f"no answer within {self._patience:g} s; held: {shorten(bytes(self._held))}")
        except ConnectionResetError:
            data = b""
        if not data:
            self._fail(f"the server hung up; held: {shorten(bytes(self._held))}")
        self._held += data

    def _note(self, who: str, what: Packet | str) -> None:
        self._talk.append(f"{who} {what}")
        if len(self._talk) > 40:
            del self._talk[:20]

    def _fail(self, why: str) -> NoReturn:
        raise AssertionError("\n     ".join([why, "the talk so far:", *self._talk]))

    # ── what many tests do on their way ──────────────────────────────────────

    def submit(
        self,
        function: bytes,
        workload: bytes = b"",
        unique: bytes = b"",
        number: int = T.SUBMIT_JOB,
    ) -> bytes:
        """Submit a job, take JOB_CREATED, return the handle."""
        self.send(number, function, unique, workload)
        return self.created()

    def created(self) -> bytes:
        """The handle in the JOB_CREATED that must come next."""
        heard = self.receive()
        if heard.number != T.JOB_CREATED or not heard.body or b"\0" in heard.body:
            self._fail(f"expected JOB_CREATED and a handle\n     but heard {heard!r}")
        return heard.body

    def can_do(self, *functions: bytes) -> None:
        """Register for functions, and wait until the server has taken that in."""
        for function in functions:
            self.send(T.CAN_DO, function)
        self.expect_nothing()

    def sleep(self) -> None:
        """PRE_SLEEP, and see that there was nothing to wake up for."""
        self.send(T.PRE_SLEEP)
        self.expect_nothing()

    def grab(self) -> tuple[bytes, bytes, bytes]:
        """Grab a job that must be there: its handle, function and workload."""
        self.send(T.GRAB_JOB)
        heard = self.receive()
        parts = heard.body.split(b"\0", 2)
        if heard.number != T.JOB_ASSIGN or len(parts) != 3:
            self._fail(f"expected JOB_ASSIGN\n     but heard {heard!r}")
        return parts[0], parts[1], parts[2]

    def grab_none(self) -> None:
        """Grab, and see that there is no job."""
        self.send(T.GRAB_JOB)
        self.expect(T.NO_JOB)

    def workloads(self) -> list[bytes]:
        """Grab and complete job after job until there is none; their workloads in order."""
        done: list[bytes] = []
        while True:
            self.send(T.GRAB_JOB)
            heard = self.receive()
            if heard == Packet(T.NO_JOB):
                return done
            parts = heard.body.split(b"\0", 2)
            if heard.number != T.JOB_ASSIGN or len(parts) != 3:
                self._fail(f"expected JOB_ASSIGN or NO_JOB\n     but heard {heard!r}")
            done.append(parts[2])
            self.send(T.WORK_COMPLETE, parts[0], b"")

    def status(self, handle: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        """What GET_STATUS says of a handle: known, running, numerator, denominator."""
        self.send(T.GET_STATUS, handle)
        heard = self.receive()
        parts = heard.body.split(b"\0")
        if heard.number != T.STATUS_RES or len(parts) != 5 or parts[0] != handle:
            self._fail(f"expected STATUS_RES of {handle!r}\n     but heard {heard!r}")
        return parts[1], parts[2], parts[3], parts[4]

    def counts(self, function: bytes) -> tuple[int, int, int] | None:
        """Total, running and workers of a function, as ``status`` has it; None if not listed."""
        self.send_bytes(b"status\n")
        for line in self.read_list():
            name, *numbers = line.split(b"\t")
            if name == function:
                total, running, workers = (int(number) for number in numbers)
                return total, running, workers
        return None

    def queued(self, function: bytes) -> tuple[int, int, int] | None:
        """High, normal and low jobs waiting, as ``prioritystatus`` has it."""
        self.send_bytes(b"prioritystatus\n")
        for line in self.read_list():
            name, *numbers = line.split(b"\t")
            if name == function:
                high, normal, low, _workers = (int(number) for number in numbers)
                return high, normal, low
        return None


def hang_up(leaving: Wire, observer: Wire) -> None:
    """Close a connection, and wait until the server has noticed."""
    mark = b"leaving-%d" % next(Wire.tokens)
    leaving.send(T.SET_CLIENT_ID, mark)
    leaving.expect_nothing()
    leaving.close()

    def noticed() -> bool:
        observer.send_bytes(b"workers\n")
        return not any(b" " + mark + b" " in line for line in observer.read_list())

    wait_until(noticed, within=10)
