"""The files of TLS: wrong ones, and new ones."""

from __future__ import annotations

import os
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from geartrain.errors import ConfigurationError
from geartrain.testing import EmbeddedServer
from tests.server.tls import (
    Papers,
    Secure,
    SecureWire,
)


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
