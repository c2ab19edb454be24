"""``-S``: the tools through TLS, in front of a server that speaks plain."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.tools import ENVIRON, Tools, command
from tests.support import patient, wait_until


class Terminator:
    """Takes TLS connections and passes them on to a plain port."""

    def __init__(self, context: ssl.SSLContext, target: int) -> None:
        self._context = context
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(raw,), daemon=True).start()

    def _pass_on(self, raw: socket.socket) -> None:
        with raw:
            try:
                secure = self._context.wrap_socket(raw, server_side=True)
            except OSError:
                return
            with secure, socket.create_connection(("127.0.0.1", self._target)) as plain:
                back = threading.Thread(target=_pump, args=(plain, secure), daemon=True)
                back.start()
                _pump(secure, plain)
                back.join()

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for sock in (source, target):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.fixture
def secure(tools: Tools, tmp_path: Path) -> Iterator[tuple[Tools, dict[str, str]]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    terminator = Terminator(context, tools.port)
    reached = Tools(terminator.port)
    yield reached, {**ENVIRON, "GEARMAND_CA_CERTIFICATE": str(tmp_path / "ca.pem")}
    reached.close()
    terminator.close()


def test_a_job_goes_through_tls_both_ways(
    tools: Tools, secure: tuple[Tools, dict[str, str]]
) -> None:
    reached, environ = secure
    worker = subprocess.Popen(
        command(
            "gearman", "-S", "-h", "127.0.0.1", "-p", str(reached.port), "-w", "-f", "cat", "cat"
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ,
    )
    tools.started.append(worker)
    wait_until(lambda: tools.workers("cat"), within=20)
    data = bytes(range(256)) * 20_000

    done = reached.run("gearman", "-S", "-f", "cat", stdin=data, environ=environ)

    assert done.stdout == data
    status = reached.run("gearadmin", "-S", "--status", environ=environ)
    assert b"cat\t0\t0\t1\n" in status.stdout


def test_a_server_of_unknown_authority_is_not_trusted(
    secure: tuple[Tools, dict[str, str]],
) -> None:
    reached, _ = secure

    done = reached.run("gearman", "-S", "-f", "x", "y")

    assert done.status == 2
    assert b"certificate" in done.stderr.lower()


def test_a_certificate_that_cannot_be_read_is_named(tools: Tools) -> None:
    environ = {**ENVIRON, "GEARMAND_CA_CERTIFICATE": "/nonexistent/ca.pem"}

    done = subprocess.run(
        command("gearman", "-S", "-f", "x", "y"),
        capture_output=True,
        timeout=patient(30),
        env=environ,
    )

    assert done.returncode == 5
    assert b"/nonexistent/ca.pem" in done.stderr
