"""``gearmand --ssl`` as a command, and the tools through it with ``-S``."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.tools import ENVIRON, command
from tests.support import free_port, patient, wait_until


class Secure:
    """A gearmand that speaks TLS and wants certificates, named in the environment."""

    def __init__(self, folder: Path, *words: str, **more: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._log = folder / "log"
        self.started: list[subprocess.Popen[bytes]] = []
        self.process = subprocess.Popen(
            command("gearmand", "-L", "127.0.0.1", "-p", str(self.port), "-l", str(self._log),
                    *words),
            env={**ENVIRON, **more}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(self._listens, within=20)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return self._log.read_text()

    def environ(self, who: str) -> dict[str, str]:
        return {
            **ENVIRON,
            "GEARMAND_CA_CERTIFICATE": str(self.folder / "ca.pem"),
            "GEARMAN_CLIENT_PEM": str(self.folder / f"{who}.pem"),
            "GEARMAN_CLIENT_KEY": str(self.folder / f"{who}.key"),
        }

    def words(self, tool: str, *words: str) -> list[str]:
        return command(tool, "-S", "-h", "127.0.0.1", "-p", str(self.port), *words)

    def run(self, who: str, tool: str, *words: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            self.words(tool, *words), input=data, capture_output=True, timeout=patient(30),
            env=self.environ(who),
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def certificate(self) -> str:
        """What the server shows."""
        return ssl.get_server_certificate(("127.0.0.1", self.port), timeout=patient(10))

    def close(self) -> None:
        for process in [*self.started, self.process]:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, one, identity in (
        ("server", authority, "127.0.0.1"), ("client", authority, "c@example.org"),
        ("stranger", stranger, "s@example.org"),
    ):  # fmt: skip
        write_papers(tmp_path, name, one, identity)
    return tmp_path


def write_papers(folder: Path, name: str, authority: trustme.CA, identity: str) -> None:
    certificate = authority.issue_cert(identity)
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))


@pytest.fixture
def server(papers: Path) -> Iterator[Secure]:
    one = Secure(
        papers, "--ssl", "--ssl-certificate", "/no/such/file",
        GEARMAND_CA_CERTIFICATE=str(papers / "ca.pem"),
        GEARMAND_SERVER_PEM=str(papers / "server.pem"),
        GEARMAND_SERVER_KEY=str(papers / "server.key"),
    )  # fmt: skip
    yield one
    one.close()


def test_tools_with_a_certificate_come_in_and_strangers_do_not(server: Secure) -> None:
    worker = subprocess.Popen(
        server.words("gearman", "-w", "-f", "cat", "cat"), env=server.environ("client"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server.started.append(worker)
    wait_until(
        lambda: b"cat\t0\t0\t1\n" in server.run("client", "gearadmin", "--status")[1], within=20
    )
    data = bytes(range(256)) * 20_000

    assert server.run("client", "gearman", "-f", "cat", data=data) == (0, data, b"")
    status, out, said = server.run("stranger", "gearman", "-f", "cat", "-t", "3000", data=data)

    assert status != 0
    assert (out, said.count(b"\n")) == (b"", 1)
    assert "its certificate is not trusted" in server.log()


def test_hup_reads_the_certificate_anew(server: Secure, papers: Path) -> None:
    other = trustme.CA()
    first = server.certificate()
    write_papers(papers, "server", other, "127.0.0.1")

    server.process.send_signal(signal.SIGHUP)

    wait_until(lambda: server.certificate() != first)
    assert server.process.poll() is None


def refusal(*words: str, **more: str) -> str:
    """The one line, with status 1."""
    done = subprocess.run(
        command("gearmand", *words, "--check-args"), capture_output=True, text=True,
        timeout=patient(20), env={**ENVIRON, **more},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gearmand: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_what_is_missing_is_named_before_anything_is_opened(papers: Path) -> None:
    pem, key = str(papers / "server.pem"), str(papers / "server.key")

    assert "'/no/such.pem': No such file" in refusal("--ssl", "--ssl-certificate", "/no/such.pem")
    assert "the key does not belong to the certificate" in refusal(
        "--ssl", "--ssl-certificate", pem, "--ssl-key", str(papers / "client.key")
    )
    assert "--ssl-key is given, but not --ssl" in refusal("--ssl-key", key)
    assert (
        "the argument ('maybe') for option '--ssl-verify' is invalid: "
        "want one of none optional required"
    ) in refusal("--ssl", "--ssl-verify", "maybe")
    assert "'/no/such-ca.pem'" in refusal(
        "--ssl", "--ssl-certificate", pem, "--ssl-key", key,
        GEARMAND_CA_CERTIFICATE="/no/such-ca.pem",
    )  # fmt: skip
