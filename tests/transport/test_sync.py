"""The blocking stream, on real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from geartrain.errors import ConfigurationError, ConnectTimeout, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.sync import NAP_SECONDS, Stream, connect
from geartrain.transport.tls import TLS, client_context, server_context
from tests.support import patient


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[Stream, socket.socket]]:
    stream = connect(Address(*listener.getsockname()[:2]))
    peer, _ = listener.accept()
    with peer:
        yield stream, peer
    stream.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_bytes_go_both_ways(pair: tuple[Stream, socket.socket]) -> None:
    stream, peer = pair
    stream.send([b"a", b"bc"])
    assert peer.recv(10) == b"abc"
    peer.sendall(b"xyz")
    assert stream.receive(soon()) == b"xyz"
    assert stream.receive_now() is None
    peer.close()
    assert stream.receive() == b""


@pytest.mark.parametrize("far", [None, 3600.0])
def test_no_call_waits_for_longer_than_a_nap(
    pair: tuple[Stream, socket.socket], far: float | None
) -> None:
    # Whoever was to be told of a signal that came just before the call learns of it then.
    begin = time.monotonic()
    assert pair[0].hear(None if far is None else begin + far) is None
    assert NAP_SECONDS * 0.9 <= time.monotonic() - begin < patient(NAP_SECONDS * 3)
    pair[1].sendall(b"x")
    assert pair[0].hear(None) == b"x"


def test_a_wait_that_is_longer_than_a_nap_goes_on(pair: tuple[Stream, socket.socket]) -> None:
    late = threading.Timer(NAP_SECONDS * 1.2, lambda: pair[1].sendall(b"late"))
    late.start()
    assert pair[0].receive(soon(60)) == b"late"
    late.join()


def test_nothing_until_the_deadline_is_a_timeout(pair: tuple[Stream, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        pair[0].receive(time.monotonic() + 0.01)


def test_both_sides_may_send_much_before_either_reads(pair: tuple[Stream, socket.socket]) -> None:
    stream, peer = pair
    size = 8 * 2**20
    stream.send([b"h" * 10, b"w" * size, b"t" * 70_000, b"", b"e"])
    assert stream.backlog
    total = size + 70_011

    def other_side() -> None:
        peer.sendall(b"r" * size)
        left = total
        while left:
            left -= len(peer.recv(2**20))
        peer.sendall(b"!")

    thread = threading.Thread(target=other_side)
    thread.start()
    received = b""
    while not received.endswith(b"!"):
        received += stream.receive(soon(20))
    thread.join()

    assert len(received) == size + 1
    assert not stream.backlog


def test_close_wakes_a_reader(pair: tuple[Stream, socket.socket]) -> None:
    stream, _ = pair
    got: list[object] = []

    def read() -> None:
        try:
            got.append(stream.receive())
        except OSError:  # closed before the read began
            got.append(b"")

    thread = threading.Thread(target=read)
    thread.start()
    stream.close()
    thread.join(10)

    assert got == [b""]


def test_refused_connection_names_server_and_cause(listener: socket.socket) -> None:
    address = Address(*listener.getsockname()[:2])
    listener.close()
    with pytest.raises(ServerUnavailable) as caught:
        connect(address)
    assert caught.value.causes == {str(address): "Connection refused"}


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        stream = connect(Address("", 0, str(path)))
        peer, _ = server.accept()
        with peer:
            stream.send([b"hi"])
            assert peer.recv(10) == b"hi"
        stream.close()
    with pytest.raises(ServerUnavailable, match="nothing-here"):
        connect(Address("", 0, str(tmp_path / "nothing-here")))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serve_tls(
    listener: socket.socket, context: ssl.SSLContext, size: int
) -> tuple[threading.Thread, list[bytes]]:
    seen: list[bytes] = []

    def run() -> None:
        sock, _ = listener.accept()
        try:
            with context.wrap_socket(sock, server_side=True) as peer:
                data = b""
                while len(data) < size:
                    more = peer.recv(2**20)
                    if not more:
                        break
                    data += more
                seen.append(data)
                peer.sendall(data[::-1])
        except OSError:
            sock.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, seen


@pytest.mark.parametrize("size", [5, 3 * 2**20])
def test_tls(listener: socket.socket, authority: trustme.CA, tmp_path: Path, size: int) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    thread, _ = serve_tls(listener, server_context(tmp_path / "server.pem"), size)
    address = Address(*listener.getsockname()[:2])

    stream = connect(address, tls=client_context(TLS(ca_file=tmp_path / "ca.pem")))
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stream.send([data])
    received = b""
    while len(received) < size:
        received += stream.receive(soon(20))
    stream.close()
    thread.join(10)

    assert received == data[::-1]


def test_certificate_of_an_unknown_authority_is_refused(
    listener: socket.socket, authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    serve_tls(listener, server_context(tmp_path / "server.pem"), 1)
    address = Address(*listener.getsockname()[:2])

    with pytest.raises(ServerUnavailable, match="TLS handshake failed"):
        connect(address, tls=client_context(TLS(ca_file=tmp_path / "ca.pem")))


def test_silent_port_fails_the_handshake_in_time(listener: socket.socket) -> None:
    address = Address(*listener.getsockname()[:2])
    with pytest.raises(ConnectTimeout, match="handshake"):
        connect(address, timeout=0.05, tls=client_context(TLS(verify=False)))


def test_settings_that_cannot_work_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        client_context(TLS(ca_file=tmp_path / "nowhere.pem"))
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        client_context(TLS(cert_file=tmp_path / "nowhere.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"empty\.pem"):
        server_context(empty)


def test_settings_from_the_environment() -> None:
    environ = {
        "GEARMAND_CA_CERTIFICATE": "ca",
        "GEARMAN_CLIENT_PEM": "c",
        "GEARMAN_CLIENT_KEY": "k",
    }
    assert TLS.from_environment(environ) == TLS("ca", "c", "k")
    assert client_context(None) is client_context(False) is None
