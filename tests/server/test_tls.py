"""TLS on real sockets: who is let in, who is not, and that those inside do not notice."""

from __future__ import annotations

import gc
import os
import random
import select
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

import geartrain
from geartrain.errors import ConfigurationError
from geartrain.server.tls_session import HANDSHAKES
from geartrain.testing import EmbeddedServer
from geartrain.transport.tls import TLS
from tests.conformance.wire import T, Wire, packet
from tests.server.conftest import Dial
from tests.support import patient, wait_until

MEGABYTE = 2**20


@dataclass(frozen=True)
class Papers:
    """Files of one authority, and of a stranger."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def server(self, **more: Any) -> EmbeddedServer:
        """A server with a certificate for 127.0.0.1."""
        return EmbeddedServer(
            ssl=True, ssl_certificate=self.path("server.pem"), ssl_key=self.path("server.key"),
            **more,
        )  # fmt: skip

    def context(self, certificate: str = "") -> ssl.SSLContext:
        """How a client speaks that trusts the authority, and shows a certificate or none."""
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        if certificate:
            context.load_cert_chain(self.path(certificate))
        return context


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.cert_pem.write_to_path(str(folder / "stranger-ca.pem"))
    server = authority.issue_cert("127.0.0.1", "localhost")
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    for number, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(str(folder / "server.pem"), append=number > 0)
    for name, one in (("client", authority), ("stranger", stranger)):
        certificate = one.issue_cert(f"{name}@example.org", common_name=name)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    return Papers(folder)


class SecureWire(Wire):
    """A wire through TLS."""

    def __init__(
        self,
        server: EmbeddedServer,
        context: ssl.SSLContext,
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__((server.host, server.port), receive_buffer=receive_buffer)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        except BaseException:
            self.socket.close()
            raise


class Talk:
    """Says a lot and hears a lot through one TLS socket, in one thread: OpenSSL wants that."""

    def __init__(self, sock: socket.socket, said: bytes) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._said = memoryview(said)

    def write(self) -> None:
        """Say as much as is taken now."""
        try:
            while self._said:
                self._said = self._said[self._sock.send(self._said[:16384]) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return

    def finish(self, size: int) -> bytes:
        """Say the rest, and hear so many bytes."""
        heard = bytearray()
        end = time.monotonic() + 40.0
        while len(heard) < size:
            self.write()
            try:
                data = self._sock.recv(262144)
            except ssl.SSLWantReadError:
                want = [self._sock] if self._said else []
                select.select([self._sock], want, [], 1.0)
                assert time.monotonic() < end, (
                    f"{len(heard)} of {size} bytes, {len(self._said)} unsaid"
                )
                continue
            assert data, "the server hung up"
            heard += data
        return bytes(heard)


Secure = Callable[..., SecureWire]


@pytest.fixture
def secure(papers: Papers) -> Iterator[Secure]:
    """Connect to a server through TLS."""
    wires: list[SecureWire] = []

    def one(
        server: EmbeddedServer,
        certificate: str = "",
        receive_buffer: int | None = None,
        version: ssl.TLSVersion | None = None,
    ) -> SecureWire:
        context = papers.context(certificate)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        wire = SecureWire(server, context, receive_buffer)
        wires.append(wire)
        return wire

    yield one

    for wire in wires:
        wire.close()


def outside(server: EmbeddedServer) -> int:
    """How many have not done their handshake."""
    return server.call(lambda one: len(one._door.outside) if one._door is not None else -1)


def connections(server: EmbeddedServer) -> int:
    return server.call(lambda one: one.connections)


# ── who is let in ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_job_goes_there_and_back(papers: Papers, secure: Secure, version: ssl.TLSVersion) -> None:
    with papers.server() as server:
        client, worker = secure(server, version=version), secure(server, version=version)
        worker.can_do(b"f")
        worker.sleep()

        handle = client.submit(b"f", b"workload")
        worker.expect(T.NOOP)
        assert worker.grab() == (handle, b"f", b"workload")
        worker.send(T.WORK_COMPLETE, handle, b"result")

        client.expect(T.WORK_COMPLETE, handle, b"result")
        client.send_bytes(b"status\n")
        assert client.read_list() == [b"f\t0\t0\t1"]
        assert outside(server) == 0


@pytest.mark.parametrize(
    ("verify", "authority", "certificate", "let_in"),
    [
        ("", "", "", True), ("", "", "client.pem", True), ("", "", "stranger.pem", True),
        ("", "ca.pem", "", False), ("", "ca.pem", "client.pem", True),
        ("", "ca.pem", "stranger.pem", False), ("none", "ca.pem", "", True),
        ("none", "ca.pem", "stranger.pem", True), ("optional", "ca.pem", "", True),
        ("optional", "ca.pem", "client.pem", True), ("optional", "ca.pem", "stranger.pem", False),
        ("required", "ca.pem", "", False), ("required", "ca.pem", "client.pem", True),
        ("required", "stranger-ca.pem", "client.pem", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificate_is_asked_for_as_the_settings_say(
    papers: Papers, secure: Secure, version: ssl.TLSVersion, verify: str, authority: str,
    certificate: str, let_in: bool, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    file = papers.path(authority) if authority else ""
    with papers.server(ssl_verify=verify, ssl_ca_file=file) as server:
        if let_in:
            secure(server, certificate, version=version).expect_nothing()
            return
        # In TLS 1.3 a client has done its part before its certificate is looked at.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            wire = secure(server, certificate, version=version)
            wire.socket.sendall(b"version\n")
            while wire.socket.recv(100):
                pass
            raise ConnectionError("closed without a word")
        wait_until(lambda: connections(server) == 0)
        why = "not trusted" if certificate else "peer did not return a certificate"
        assert why in caplog.text


def test_old_versions_of_tls_are_refused(papers: Papers) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with papers.server() as server, socket.create_connection((server.host, server.port)) as raw:
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        raw.settimeout(patient(10.0))

        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw)


@pytest.mark.parametrize(
    "said", [b"version\n", packet(T.ECHO_REQ, b"x"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01x"]
)
def test_who_does_not_speak_tls_is_closed(
    papers: Papers, secure: Secure, dial: Dial, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with papers.server() as server:
        inside, wire = secure(server), dial(server)

        wire.send_bytes(said)

        heard = b""
        if said[0] == 0x16:
            wire.end_sending()
        try:
            while data := wire.socket.recv(1000):
                heard += data
        except ConnectionResetError:
            pass
        # At most the alert with which TLS says no.
        assert len(heard) < 10
        inside.expect_nothing()
        assert "no TLS with 127.0.0.1: " in caplog.text


def test_unix_socket_stays_plain(papers: Papers, tmp_path: Path, secure: Secure) -> None:
    path = str(tmp_path / "gear.sock")
    with papers.server(listen=("127.0.0.1:0", f"unix:{path}")) as server:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(patient(10.0))
            sock.connect(path)
            sock.sendall(b"version\n")
            assert sock.recv(100).startswith(b"OK ")
        secure(server).expect_nothing()


# ── handshakes ───────────────────────────────────────────────────────────────


def test_hundred_silent_handshakes_disturb_nobody_and_end_in_time(
    papers: Papers, secure: Secure, dial: Dial
) -> None:
    with papers.server() as server:
        worker, client = secure(server), secure(server)
        worker.can_do(b"f")
        silent = [dial(server) for _ in range(100)]
        wait_until(lambda: outside(server) == 100)

        began = time.monotonic()
        for number in range(200):
            handle = client.submit(b"f", b"%d" % number)
            assert worker.grab()[2] == b"%d" % number
            worker.send(T.WORK_COMPLETE, handle, b"")
            client.expect(T.WORK_COMPLETE, handle, b"")
        newcomer = secure(server)
        newcomer.expect_nothing()
        assert time.monotonic() - began < patient(3.0)

        server.advance(6.0)
        for wire in silent:
            wire.expect_close()
        assert connections(server) == 3
        newcomer.expect_nothing()


def half_a_hello() -> bytes:
    """The first bytes of a handshake, and no more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()[:100]


def test_handshakes_that_stand_still_give_way_to_those_who_wait(
    papers: Papers, secure: Secure, dial: Dial
) -> None:
    with papers.server(ssl_handshake_timeout=3600.0) as server:
        inside = secure(server)
        half = half_a_hello()
        stuck = [dial(server) for _ in range(HANDSHAKES + 20)]
        for wire in stuck:
            wire.send_bytes(half)
        wait_until(
            lambda: server.call(lambda one: one._door._shaking) == HANDSHAKES  # type: ignore[union-attr]
        )

        # Before it there are twenty that wait and will not get on either.
        began = time.monotonic()
        newcomer = secure(server)
        newcomer.expect_nothing()

        assert time.monotonic() - began < patient(5.0)
        inside.expect_nothing()
        # Nobody else had to go.
        assert connections(server) == 2 + len(stuck) - 21
        for wire in stuck[:20]:
            wire.expect_close()


def test_who_waits_for_a_place_and_goes_is_forgotten(papers: Papers, dial: Dial) -> None:
    with papers.server(ssl_handshake_timeout=3600.0) as server:
        half = half_a_hello()
        stuck = [dial(server) for _ in range(HANDSHAKES)]
        for wire in stuck:
            wire.send_bytes(half)
        wait_until(
            lambda: server.call(lambda one: one._door._shaking) == HANDSHAKES  # type: ignore[union-attr]
        )
        waiting = [dial(server) for _ in range(10)]
        for wire in waiting:
            wire.send_bytes(half)
        wait_until(
            lambda: server.call(lambda one: len(one._door._waiting)) == 10  # type: ignore[union-attr]
        )

        for wire in waiting[:5]:
            wire.cut()
        for wire in waiting[5:]:
            wire.close()

        wait_until(lambda: connections(server) <= HANDSHAKES + 5)
        for wire in stuck:
            wire.close()
        wait_until(lambda: connections(server) == 0)
        assert outside(server) == 0
        assert server.call(lambda one: one._door._shaking) == 0  # type: ignore[union-attr]


def test_three_hundred_come_at_once_and_all_are_let_in(papers: Papers, secure: Secure) -> None:
    with papers.server() as server:
        wires: list[Wire] = []
        lock = threading.Lock()

        def come() -> None:
            for _ in range(30):
                wire = secure(server)
                with lock:
                    wires.append(wire)

        threads = [threading.Thread(target=come) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(wires) == 300
        for wire in wires:
            wire.expect_nothing()
        assert outside(server) == 0


# ── large things, slow readers, ends ─────────────────────────────────────────


def test_workload_of_64_mebibytes_there_and_back(papers: Papers, secure: Secure) -> None:
    with papers.server() as server:
        worker, client, other = secure(server), secure(server), secure(server)
        worker.can_do(b"f")
        workload = random.Random(1).randbytes(MEGABYTE) * 64
        sender = threading.Thread(
            target=client.send_bytes, args=(packet(T.SUBMIT_JOB, b"f", b"", workload),)
        )

        sender.start()
        other.expect_nothing()
        sender.join()  # OpenSSL does not take two threads at one connection
        handle = client.created()
        assert worker.grab() == (handle, b"f", workload)
        back = threading.Thread(
            target=worker.send_bytes, args=(packet(T.WORK_COMPLETE, handle, workload),)
        )
        back.start()
        heard = client.receive()
        back.join()

        assert heard.body == handle + b"\0" + workload
        worker.expect_nothing()


def test_who_does_not_read_its_own_answers_is_waited_for_and_loses_nothing(
    papers: Papers, secure: Secure
) -> None:
    with papers.server(pause_output=8192, max_output=500_000) as server:
        slow, other = secure(server, receive_buffer=4096), secure(server)
        count = 300
        said = b"".join(packet(T.ECHO_REQ, b"%06d" % n + b"x" * 50_000) for n in range(count))
        talk = Talk(slow.socket, said)

        def held_back() -> bool:
            talk.write()
            return server.call(
                lambda one: any(p.held_back for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
            )

        wait_until(held_back)
        held = server.call(
            lambda one: max(p.out_bytes for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
        )
        other.expect_nothing()
        wanted = said.replace(b"\0REQ" + T.ECHO_REQ.to_bytes(4), b"\0RES" + T.ECHO_RES.to_bytes(4))
        heard = talk.finish(len(wanted))

        assert heard == wanted
        assert held < 600_000


def test_who_does_not_read_what_others_report_is_let_go(papers: Papers, secure: Secure) -> None:
    with papers.server(pause_output=8192, max_output=500_000) as server:
        worker, slow = secure(server), secure(server, receive_buffer=4096)
        worker.can_do(b"f")
        handle = slow.submit(b"f")
        worker.grab()

        for _ in range(200):
            worker.send(T.WORK_DATA, handle, b"x" * 100_000)

        worker.expect_nothing()
        wait_until(lambda: connections(server) == 1)


class HalfDuplex:
    """A client that can say good-bye in TLS and go on listening."""

    def __init__(self, server: EmbeddedServer, context: ssl.SSLContext) -> None:
        self.raw = socket.create_connection((server.host, server.port), timeout=patient(20.0))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self._until(self.tls.do_handshake)

    def _until(self, what: Callable[[], object]) -> object:
        while True:
            try:
                return what()
            except ssl.SSLWantReadError:
                self.push()
                self._incoming.write(self.raw.recv(65536))
            finally:
                self.push()

    def push(self) -> None:
        self.raw.sendall(self._outgoing.read())

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.push()

    def say_goodbye(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.push()

    def read_to_the_end(self) -> tuple[bytes, bool]:
        """What comes, and whether the other side said good-bye too."""
        data = b""
        while True:
            try:
                piece = self.tls.read(65536)
                if not piece:
                    return data, True
                data += piece
            except ssl.SSLZeroReturnError:
                return data, True
            except ssl.SSLWantReadError:
                came = self.raw.recv(65536)
                if not came:
                    return data, False
                self._incoming.write(came)


@pytest.mark.parametrize("how", ["good-bye", "end of stream"])
def test_who_stops_sending_gets_its_answers_first(papers: Papers, how: str) -> None:
    with papers.server() as server:
        peer = HalfDuplex(server, papers.context())
        peer.send(b"getpid\n" + packet(T.ECHO_REQ, b"x" * 1_000_000) + b"status\n")
        if how == "good-bye":
            peer.say_goodbye()
        else:
            peer.raw.shutdown(socket.SHUT_WR)

        data, goodbye = peer.read_to_the_end()

        assert data.startswith(b"OK ")
        assert data.endswith(b"x" * 100 + b".\n")
        assert goodbye
        wait_until(lambda: connections(server) == 0)
        peer.raw.close()


def test_packet_over_the_limit_is_told_and_closed(papers: Papers, secure: Secure) -> None:
    with papers.server(max_packet_bytes=10_000) as server:
        wire = secure(server)

        wire.send_bytes(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 20_000)[:500])

        wire.expect_error(b"ARGUMENT_TOO_LARGE")
        wire.expect_close()


def test_stalled_packet_is_closed_after_the_packet_timeout(papers: Papers, secure: Secure) -> None:
    with papers.server(packet_timeout=30.0) as server:
        stalled, idle = secure(server), secure(server)
        idle.expect_nothing()
        stalled.expect_nothing()
        stalled.send_bytes(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 100_000)[:-1])
        wait_until(
            lambda: server.call(
                lambda one: any(p.reader.held > 90_000 for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
            )
        )

        server.advance(20.0)
        server.advance(31.0)

        stalled.expect_close()
        idle.expect_nothing()


def test_every_cut_of_the_bytes_is_heard_alike(papers: Papers) -> None:
    said = packet(T.ECHO_REQ, b"one") + b"version\n" + packet(T.ECHO_REQ, b"x" * 40_000)
    with papers.server() as server:
        chance = random.Random(4730)
        for _ in range(20):
            peer = HalfDuplex(server, papers.context())
            peer.tls.write(said)
            sealed = peer._outgoing.read()
            at = 0
            while at < len(sealed):
                size = chance.choice([1, 3, 100, 5000, 20_000])
                peer.raw.sendall(sealed[at : at + size])
                at += size
                time.sleep(0.0005)
            peer.say_goodbye()

            data, _ = peer.read_to_the_end()

            assert data.count(b"\0RES") == 2
            assert data.endswith(b"x" * 40_000)
            peer.raw.close()


def test_abrupt_goodbyes_leave_no_object_behind(papers: Papers, secure: Secure) -> None:
    with papers.server() as server:
        chance = random.Random(4730)
        context = papers.context()
        hello = half_a_hello()

        def churn(count: int) -> None:
            for _ in range(count):
                kind = chance.randrange(4)
                with socket.create_connection((server.host, server.port)) as raw:
                    if kind == 0:
                        continue
                    if kind == 1:
                        raw.sendall(hello[: chance.randrange(1, 100)])
                        continue
                    wire = context.wrap_socket(raw, server_hostname="127.0.0.1")
                    wire.sendall(packet(T.CAN_DO, b"f") + packet(T.SUBMIT_JOB, b"f", b"", b"w"))
                    if kind == 2:
                        wire.recv(10)
                    wire.close()
            wait_until(lambda: connections(server) == 0)

        churn(30)
        gc.collect()
        gc.disable()
        try:
            churn(200)
            # gearmand does without the collector, so nothing may need it.
            left = server.call(lambda one: gc.collect())
        finally:
            gc.enable()

        assert left < 40
        assert outside(server) == 0


# ── our own clients and workers ──────────────────────────────────────────────


def test_client_worker_and_admin_come_in_with_certificates(papers: Papers) -> None:
    mine = TLS(
        ca_file=papers.path("ca.pem"), cert_file=papers.path("client.pem"),
        key_file=papers.path("client.pem"),
    )  # fmt: skip
    large = bytes(range(256)) * 20_000
    with papers.server(ssl_ca_file=papers.path("ca.pem")) as server:
        worker = geartrain.Worker(server.address, tls=mine, concurrency=2)
        worker.add_function("reverse", lambda job: job.workload[::-1])
        thread = threading.Thread(target=worker.work)
        thread.start()
        try:
            with geartrain.Client(server.address, tls=mine, timeout=20) as client:
                assert client.do("reverse", "abc") == b"cba"
                assert client.do("reverse", large) == large[::-1]
                assert list(client.map("reverse", ["ab"] * 300)) == [b"ba"] * 300
            with geartrain.AdminClient(server.address, tls=mine) as admin:
                assert admin.version()
        finally:
            worker.stop()
            thread.join(patient(20))


# ── files ────────────────────────────────────────────────────────────────────


def settings_of(papers: Papers, **changes: Any) -> dict[str, Any]:
    names = {
        "ssl_certificate": papers.path("server.pem"), "ssl_key": papers.path("server.key"),
    }  # fmt: skip
    return {"ssl": True, **names, **changes}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ssl_certificate": "/no/such.pem"}, "'/no/such.pem': No such file or directory"),
        ({"ssl_key": "/no/such.key"}, "'/no/such.key': No such file or directory"),
        ({"ssl_ca_file": "/no/such-ca.pem"}, "CA file '/no/such-ca.pem': No such file"),
        ({"ssl_key": "client.pem"}, "the key does not belong to the certificate"),
        ({"ssl_certificate": "empty"}, "there is no certificate (or no key) in PEM in it"),
        ({"ssl_ca_file": "empty"}, "there is no certificate in PEM in it"),
        ({"ssl_key": "locked.key"}, "the key is encrypted"),
        ({"ssl_certificate": "", "ssl_key": ""}, "/etc/ssl/certs/gearmand.pem"),
        ({"ssl_verify": "required"}, "/etc/ssl/certs/gearmand-ca.pem"),
        ({"ssl": False, "ssl_key": ""}, "--ssl-certificate is given, but not --ssl"),
    ],
)  # fmt: skip
def test_server_that_cannot_speak_tls_does_not_start(
    papers: Papers, change: dict[str, Any], named: str
) -> None:
    (papers.folder / "empty").touch()
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(Path(papers.path("server.key")).read_bytes(), None)
    (papers.folder / "locked.key").write_bytes(
        key.private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret")
        )
    )
    change = {
        name: papers.path(value) if value and isinstance(value, str) and "/" not in value
        and name != "ssl_verify" else value
        for name, value in change.items()
    }  # fmt: skip

    with pytest.raises(ConfigurationError) as caught:
        EmbeddedServer(**settings_of(papers, **change)).start()

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_key_that_may_not_be_read_is_named(papers: Papers, tmp_path: Path) -> None:
    key = tmp_path / "key"
    shutil.copy(papers.path("server.key"), key)
    key.chmod(0)

    with pytest.raises(ConfigurationError, match="Permission denied"):
        EmbeddedServer(**settings_of(papers, ssl_key=str(key))).start()


def test_new_certificate_is_shown_after_a_reload_and_a_broken_one_is_not(
    papers: Papers, secure: Secure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pem = tmp_path / "server.pem"

    def write(authority: trustme.CA) -> None:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))

    shown: list[bytes | None] = []
    insecure = ssl.create_default_context()
    insecure.check_hostname = False
    insecure.verify_mode = ssl.CERT_NONE

    def look(server: EmbeddedServer) -> SecureWire:
        wire = SecureWire(server, insecure)
        assert isinstance(wire.socket, ssl.SSLSocket)
        shown.append(wire.socket.getpeercert(binary_form=True))
        return wire

    write(trustme.CA())
    with EmbeddedServer(ssl=True, ssl_certificate=str(pem)) as server:
        first = look(server)
        write(trustme.CA())
        server.call(lambda one: one.reload())
        second = look(server)
        pem.write_text("nothing")
        server.call(lambda one: one.reload())
        third = look(server)

        assert shown[0] != shown[1]
        assert shown[1] == shown[2]
        assert "TLS goes on with the certificate it had" in caplog.text
        for wire in (first, second, third):
            wire.expect_nothing()
            wire.close()
