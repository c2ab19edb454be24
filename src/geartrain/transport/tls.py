"""TLS contexts from plain settings, with errors that name the file and the cause.

``ssl`` is imported on first use: most clients speak plain TCP, and a cron job
that submits one job should not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

from geartrain.errors import ConfigurationError
from geartrain.values import Value

if TYPE_CHECKING:
    import ssl

Verify: TypeAlias = Literal["none", "optional", "required"]


class TLS(Value):
    """How to speak TLS.

    Attributes:
        ca_file: PEM of the authorities to trust; None: the system's.
        cert_file: PEM of our own certificate, where the other side asks for one.
        key_file: its key; None: in ``cert_file``.
        verify: check the other side's certificate. Off is for fleets made with
            libgearman, which never checks (protocol reference, 7).
        check_hostname: the certificate must be for the host we asked for.

    Raises:
        ConfigurationError: ``verify`` or ``check_hostname`` is neither on nor off.
    """

    __slots__ = ("ca_file", "cert_file", "check_hostname", "key_file", "verify")
    __match_args__: ClassVar = ("ca_file", "cert_file", "key_file", "verify", "check_hostname")

    def __init__(
        self,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        verify: bool = True,
        check_hostname: bool = True,
    ) -> None:
        for name, value in (("verify", verify), ("check_hostname", check_hostname)):
            if not isinstance(value, bool):
                raise ConfigurationError(f"TLS({name}={value!r}): want True or False")
        self.ca_file: Final = ca_file
        self.cert_file: Final = cert_file
        self.key_file: Final = key_file
        self.verify: Final = verify
        self.check_hostname: Final = check_hostname

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> TLS:
        """``GEARMAND_CA_CERTIFICATE``, ``GEARMAN_CLIENT_PEM`` and ``GEARMAN_CLIENT_KEY``."""
        environ = os.environ if environ is None else environ
        return cls(
            ca_file=environ.get("GEARMAND_CA_CERTIFICATE") or None,
            cert_file=environ.get("GEARMAN_CLIENT_PEM") or None,
            key_file=environ.get("GEARMAN_CLIENT_KEY") or None,
        )


#: True: settings from the environment; a context is taken as it is.
TLSLike: TypeAlias = "TLS | ssl.SSLContext | bool | None"


def client_context(tls: TLSLike, environ: Mapping[str, str] | None = None) -> ssl.SSLContext | None:
    """The context of a client or worker; None where ``tls`` is None or False.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """
    if tls is None or tls is False:
        return None
    import ssl

    if isinstance(tls, ssl.SSLContext):
        return tls
    settings = TLS.from_environment(environ) if tls is True else tls
    if not isinstance(settings, TLS):
        raise ConfigurationError(f"tls = {settings!r}: want TLS(...), an ssl.SSLContext, or True")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.verify and settings.check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
    if settings.ca_file is not None:
        _load_ca(context, settings.ca_file)
    elif settings.verify:
        context.load_default_certs()
    if settings.cert_file is not None:
        _load_certificate(context, settings.cert_file, settings.key_file)
    return context


def server_context(
    cert_file: str | os.PathLike[str],
    key_file: str | os.PathLike[str] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    verify: Verify = "none",
) -> ssl.SSLContext:
    """The context of a server.

    Args:
        cert_file: PEM of the server's certificate and its chain.
        key_file: its key; None: in ``cert_file``.
        ca_file: PEM of the authorities that clients' certificates are checked against.
        verify: whether clients must show a certificate.

    Raises:
        ConfigurationError: a file cannot be read, or ``verify`` needs a ``ca_file``.
    """
    import ssl

    modes = {
        "none": ssl.CERT_NONE,
        "optional": ssl.CERT_OPTIONAL,
        "required": ssl.CERT_REQUIRED,
    }
    if verify not in modes:
        raise ConfigurationError(f"verify = {verify!r}: want none, optional or required")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A peer that asks for new keys over and over would have us work for it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_certificate(context, cert_file, key_file)
    if ca_file is not None:
        _load_ca(context, ca_file)
    elif verify != "none":
        raise ConfigurationError(f"verify = {verify!r} needs a CA file to check against")
    context.verify_mode = modes[verify]
    return context


def _load_ca(context: ssl.SSLContext, path: str | os.PathLike[str]) -> None:
    try:
        context.load_verify_locations(cafile=os.fspath(path))
    except OSError as error:
        raise ConfigurationError(f"CA file {os.fspath(path)!r}: {_why(error)}") from error


def _load_certificate(
    context: ssl.SSLContext, cert: str | os.PathLike[str], key: str | os.PathLike[str] | None
) -> None:
    # OpenSSL does not say which of the two it could not open.
    for path in (cert, key):
        if path is not None:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ConfigurationError(f"TLS file {os.fspath(path)!r}: {_why(error)}") from error
    names = os.fspath(cert) if key is None else f"{os.fspath(cert)}, {os.fspath(key)}"

    def no_password() -> str:
        # OpenSSL would ask on the terminal, and wait.
        raise ConfigurationError(
            f"certificate and key ({names}): the key is encrypted; give one that is not "
            f"(openssl pkey -in FILE -out PLAIN), and keep it readable for its owner alone"
        )

    try:
        context.load_cert_chain(cert, key, no_password)
    except OSError as error:
        raise ConfigurationError(f"certificate and key ({names}): {_why(error)}") from error


#: What OpenSSL calls the faults that people meet.
_FAULTS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "NO_START_LINE": "there is no certificate (or no key) in PEM in it",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in PEM in it",
}


def no_handshake(error: OSError) -> str:
    """Why there is no connection, for people; and the way out where the other side is plain."""
    if getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS: leave TLS out here, or start the server with --ssl"
    return error.strerror or str(error) or type(error).__name__


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None) or ""
    if not reason and "PEM lib" in str(error):
        reason = "NO_START_LINE"
    return _FAULTS.get(reason, reason) or error.strerror or str(error)
