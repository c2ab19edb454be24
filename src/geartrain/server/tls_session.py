"""Sessions that speak TLS, and the door where they shake hands.

A ``TlsSession`` is a ``Session`` whose bytes go through OpenSSL on their way. OpenSSL
holds no socket here, it turns bytes into bytes; so a handshake is some reads and some
writes like any other talk, and who is slow at it keeps nobody waiting.

What has been said stays in the connection's ``out`` until the sealed form of it is
with the kernel: limits, back-pressure and the end of a connection see the same as
without TLS.

A handshake has so many seconds, and there are so many of them at once. A peer takes
one of these places with its first byte, not by being there: who is silent keeps
nobody out, and who stands still in the middle gives way after a second if others wait.

    [SILENT] -- first bytes --> [SHAKING] -- handshake done --> [OPEN]
        \\-- no place free --> [WAITING] --/
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final

from geartrain.frontends.gear import GearConnection
from geartrain.server.session import LARGE_READ_BYTES, MOST_READ_BYTES, Session

SILENT: Final = 0
WAITING: Final = 1
SHAKING: Final = 2
OPEN: Final = 3

#: Handshakes at once, at some 46 KiB each: as many as may hold the others up for a second.
HANDSHAKES: Final = 384
#: A handshake that makes no step for so long ends when others wait for its place.
GIVE_WAY_SECONDS: Final = 1.0
#: How often to look for those whose time is over.
LOOK_SECONDS: Final = 0.25

#: What a read asks for at first: the first flight of a handshake fits.
READ_BYTES: Final = 4096
#: Most that is sealed for one write.
SEAL_BYTES: Final = 256 * 1024
#: Largest piece that TLS seals at once.
RECORD_BYTES: Final = 16384
#: Answers to what peers ask of TLS itself (new keys), waiting for one that does not read.
MOST_ANSWERS_BYTES: Final = 64 * 1024
#: What every talk in TLS begins with.
HANDSHAKE_RECORD: Final = 0x16
#: "Unexpected message", and the end: what a peer that does not speak TLS hears of it (RFC 5246, 7.2).
NO_TLS_ALERT: Final = b"\x15\x03\x03\0\x02\x02\x0a"


class TlsSession(Session):
    """One accepted socket that speaks TLS.

    Attributes:
        stage: where it is on its way in; drawn above.
        stirred: when its handshake last made a step (steady seconds).
    """

    def __init__(
        self,
        sock: socket.socket,
        connection: GearConnection,
        since: float,
        door: Door,
        touched: list[GearConnection],
    ) -> None:
        super().__init__(sock, connection, since)
        self.stage = SILENT
        self.stirred = since
        self._door = door
        self._touched = touched
        self._read_bytes = READ_BYTES
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        #: What came before there was a place.
        self._early = b""
        #: Sealed bytes that the kernel has not taken yet ...
        self._sealed = b""
        #: ... and how much of ``out`` these and what is in ``_outgoing`` stand for.
        self._sealed_of_out = 0

    # ── bytes in ─────────────────────────────────────────────────────────────

    def read(self) -> None:
        """Take what has arrived, once."""
        if self.stage == WAITING:
            # Nobody reads from it now: what the poller saw is that it has gone.
            self.lost = True
            return
        size = self._read_bytes
        wanted = self.connection.reader.wanted
        if wanted > size:
            size = min(LARGE_READ_BYTES, wanted)
        try:
            data = self._read(self.number, size)
        except BlockingIOError:
            return
        except OSError:
            self.lost = True
            return
        if len(data) >= size and size < MOST_READ_BYTES:
            self._read_bytes = size * 4
        if self.stage == SILENT:
            self._greet(data)
        else:
            self._take(data)

    def _greet(self, data: bytes) -> None:
        """The first bytes."""
        if not data:
            self.ended = True
        elif data[0] != HANDSHAKE_RECORD:
            self._sealed = NO_TLS_ALERT
            self._push()
            self._door.turn_away(
                self, "it does not speak TLS, and this port speaks nothing else: give it --ssl "
                "(tls=True), or a server that was started without"
            )  # fmt: skip
        elif self._door.has_place_for(self):
            self.begin(data)
        else:
            self.stage = WAITING
            self._early = data
            # The turn's end then sees that nothing is watched for.
            self.blocked = True
            self._touched.append(self.connection)

    def begin(self, data: bytes) -> None:
        """There is a place: shake hands, beginning with what came early, or with ``data``."""
        self.stage = SHAKING
        self.blocked = False
        self._tls = self._door.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        early = self._early
        self._early = b""
        self._take(early or data)

    def _take(self, data: bytes) -> None:
        if not data:
            # OpenSSL is not told: it would take an end without TLS's good-bye for a fault,
            # and send no answers any more. Whole packets are whole all the same.
            self.ended = True
            if self.stage == SHAKING:
                self._door.turn_away(self, "it hung up in the middle of its handshake")
            return
        self._incoming.write(data)
        if self.stage == SHAKING:
            self._shake()
        if self.stage == OPEN and not self.lost:
            self._unseal(min(RECORD_BYTES, max(256, len(data))))
        if self._outgoing.pending:
            if self.blocked and self._outgoing.pending > MOST_ANSWERS_BYTES + 2 * SEAL_BYTES:
                self.lost = True
            self._touched.append(self.connection)
        elif self.connection.out and not self.blocked:
            # TLS could not seal before it had heard what came now.
            self._touched.append(self.connection)

    def _shake(self) -> None:
        tls = self._tls
        assert tls is not None
        self.stirred = self._door.steady()
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except OSError as error:
            # The alert that says why.
            self._push()
            self._door.turn_away(self, why(error))
            return
        self._door.over(self)
        self.stage = OPEN

    def _unseal(self, size: int) -> None:
        tls = self._tls
        assert tls is not None
        incoming = self._incoming
        pieces: list[bytes] = []
        try:
            while True:
                piece = tls.read(size)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except OSError:
            self.lost = True
        if pieces:
            self.connection.receive_data(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    # ── bytes out ────────────────────────────────────────────────────────────

    def flush(self) -> None:
        """Send what the connection has written down, and what TLS itself has to say."""
        if self.connection.out and self.stage == OPEN:
            super().flush()
        elif not self.blocked and not self.lost and self.stage != WAITING:
            self._push()

    def _send(self) -> None:
        connection = self.connection
        # What the kernel would not take before may have been all there was.
        if not self._push() or not connection.out:
            return
        tls = self._tls
        assert tls is not None
        out = connection.out
        skip = self._sent_of_first
        if not skip and connection.out_bytes <= SEAL_BYTES:
            data = b"".join(out) if len(out) > 1 else out[0]
        else:
            parts: list[bytes | memoryview] = []
            room = SEAL_BYTES
            for part in out:
                piece = memoryview(part)[skip : skip + room]
                skip = 0
                room -= len(piece)
                parts.append(piece)
                if room <= 0:
                    break
            data = b"".join(parts)
        view = memoryview(data)
        sealed = 0
        try:
            while sealed < len(data):
                sealed += tls.write(view[sealed : sealed + RECORD_BYTES])
        except ssl.SSLWantReadError:
            pass  # goes on when it has been heard
        except OSError:
            self.lost = True
            return
        self._sealed_of_out = sealed
        if self._push() and connection.out and sealed == len(data):
            # The rest in the next turn, so that a large answer keeps nobody waiting.
            self.blocked = True

    def _push(self) -> bool:
        """Give the kernel what is sealed; True when it has taken all."""
        while self._sealed or self._outgoing.pending:
            if not self._sealed:
                self._sealed = self._outgoing.read()
            try:
                sent = self._write(self.number, self._sealed)
            except BlockingIOError:
                self.blocked = True
                return False
            except OSError:
                self.lost = True
                return False
            if sent < len(self._sealed):
                self._sealed = self._sealed[sent:]
                self.blocked = True
                return False
            self._sealed = b""
        if self._sealed_of_out:
            self._forget_sent()
        return True

    def _forget_sent(self) -> None:
        """What was sealed has gone: take it out of ``out``."""
        connection = self.connection
        out = connection.out
        connection.out_bytes -= self._sealed_of_out
        left = self._sealed_of_out + self._sent_of_first
        self._sealed_of_out = 0
        done = 0
        while done < len(out) and left >= len(out[done]):
            left -= len(out[done])
            done += 1
        del out[:done]
        self._sent_of_first = left

    def wants(self) -> int:
        """What the poller should watch for now."""
        return 0 if self.stage == WAITING else super().wants()

    def close(self) -> None:
        """Hang up, with TLS's good-bye where it can be said at once."""
        tls = self._tls
        self._tls = None
        if self.stage != OPEN:
            self._door.over(self)
        elif tls is not None and not self.blocked and not self._sealed:
            try:
                tls.unwrap()
            except OSError:
                pass  # the peer's good-bye is not waited for
            try:
                self._write(self.number, self._outgoing.read())
            except OSError:
                pass
        super().close()


class Door:
    """Who is on the way in.

    Args:
        context: how TLS is spoken; may be replaced for those to come.
        seconds: how long a handshake may take; 0.0 for ever.
        steady: a clock that never jumps.
        dismiss: closes a session.
        attend: looks at a session anew: what to watch for, whether it is finished.
        tell: is told who was turned away, and why.

    Attributes:
        outside: sessions whose handshake is not done, by number.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        seconds: float,
        steady: Callable[[], float],
        dismiss: Callable[[Session], None],
        attend: Callable[[Session], None],
        tell: Callable[[Session, str], None],
    ) -> None:
        self.context = context
        self.steady = steady
        self.outside: dict[int, TlsSession] = {}
        self._seconds = seconds
        self._dismiss = dismiss
        self._attend = attend
        self._tell = tell
        self._shaking = 0
        self._waiting: dict[int, TlsSession] = {}
        self._calling_in = False

    def session(
        self, sock: socket.socket, connection: GearConnection, touched: list[GearConnection]
    ) -> Session:
        """The session of a socket that was accepted."""
        session = TlsSession(sock, connection, self.steady(), self, touched)
        self.outside[session.number] = session
        return session

    def has_place_for(self, session: TlsSession) -> bool:
        """Take one of the places; else wait in line for one."""
        if self._shaking >= HANDSHAKES:
            self._waiting[session.number] = session
            return False
        self._shaking += 1
        return True

    def over(self, session: TlsSession) -> None:
        """This session's handshake is done, or it goes without one."""
        if self.outside.pop(session.number, None) is None:
            return
        if session.stage == SHAKING:
            self._shaking -= 1
        else:
            self._waiting.pop(session.number, None)
        self._call_in()

    def turn_away(self, session: TlsSession, reason: str) -> None:
        """This one does not come in."""
        session.lost = True
        self._tell(session, reason)

    def _call_in(self) -> None:
        """Places that are free go to those who wait, first come, first served."""
        if self._calling_in:
            return  # what is called in may fail at once, and free its place again
        self._calling_in = True
        while self._waiting and self._shaking < HANDSHAKES:
            session = self._waiting.pop(next(iter(self._waiting)))
            self._shaking += 1
            session.since = self.steady()
            session.begin(b"")
            self._attend(session)
        self._calling_in = False

    def look(self) -> None:
        """Turn away whose time is over."""
        now = self.steady()
        for session in list(self.outside.values()):
            if session.stage == WAITING:
                continue
            if self._seconds and now - session.since > self._seconds:
                reason = f"no handshake within {self._seconds:g}s"
            elif (
                self._waiting
                and session.stage == SHAKING
                and now - session.stirred > GIVE_WAY_SECONDS
            ):
                reason = "it stood still in its handshake, and others waited"
            else:
                continue
            self.turn_away(session, reason)
            self._dismiss(session)


def why(error: OSError) -> str:
    """What OpenSSL has against a peer, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error)
