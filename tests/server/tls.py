"""Certificates, and peers that speak TLS, for the tests of a server that does."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from geartrain.testing import EmbeddedServer
from tests.conformance.wire import Wire
from tests.support import patient


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


def make_papers(folder: Path) -> Papers:
    """Write them into a folder."""
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


def half_a_hello() -> bytes:
    """The first bytes of a handshake, and no more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()[:100]


def outside(server: EmbeddedServer) -> int:
    """How many have not done their handshake."""
    return server.call(
        lambda one: len(one._reception.door.outside) if one._reception.door is not None else -1
    )


def connections(server: EmbeddedServer) -> int:
    return server.call(lambda one: one.connections)
