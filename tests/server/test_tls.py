"""TLS on real sockets: who is let in, and who is not."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

import geartrain
from geartrain import AsyncClient, Client, ServerUnavailable
from geartrain.server.tls_session import NO_TLS_ALERT
from geartrain.testing import EmbeddedServer
from geartrain.transport.tls import TLS
from tests.conformance.wire import T, packet
from tests.server.conftest import Dial
from tests.server.tls import (
    Papers,
    Secure,
    connections,
    outside,
)
from tests.support import patient, wait_until


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
        # The alert with which TLS says no.
        assert heard == NO_TLS_ALERT or said[0] == 0x16
        assert len(heard) < 10
        inside.expect_nothing()
        assert "no TLS with 127.0.0.1: " in caplog.text
        if said[0] != 0x16:
            assert "it does not speak TLS, and this port speaks nothing else" in caplog.text


def test_who_speaks_tls_to_a_plain_port_is_told_of_at_once_and_hears_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with EmbeddedServer(packet_timeout=0.0, handshake_timeout=0.0) as server:
        client = Client(server.address, tls=TLS(verify=False), connect_timeout=patient(10))

        with pytest.raises(ServerUnavailable, match="it does not speak TLS: leave TLS out here"):
            client.do("f")

    assert "closing the connection from 127.0.0.1: the other side speaks TLS" in caplog.text


def test_a_plain_client_hears_that_a_port_speaks_tls(papers: Papers) -> None:
    with papers.server() as server:
        client = Client(server.address, connect_timeout=patient(10))

        with pytest.raises(ServerUnavailable, match="the other side speaks TLS"):
            client.do("f")


async def test_an_asyncio_client_hears_that_a_port_is_plain() -> None:
    async with (
        EmbeddedServer() as server,
        AsyncClient(server.address, tls=TLS(verify=False), connect_timeout=patient(10)) as client,
    ):
        with pytest.raises(ServerUnavailable, match="it does not speak TLS: leave TLS out here"):
            await client.do("f")


def test_unix_socket_stays_plain(papers: Papers, tmp_path: Path, secure: Secure) -> None:
    path = str(tmp_path / "gear.sock")
    with papers.server(listen=("127.0.0.1:0", f"unix:{path}")) as server:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(patient(10.0))
            sock.connect(path)
            sock.sendall(b"version\n")
            assert sock.recv(100).startswith(b"OK ")
        secure(server).expect_nothing()


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
