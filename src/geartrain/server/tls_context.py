"""From settings to how the server speaks TLS.

A server that is to speak TLS and cannot does not start: it never falls back to plain.
"""

from __future__ import annotations

import ssl

from geartrain.errors import ConfigurationError
from geartrain.server.settings import DEFAULT_CA, DEFAULT_CERTIFICATE, DEFAULT_KEY, Settings
from geartrain.transport import tls


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The context for connections to come, from the files as they are now; None without TLS.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be; or there are
            settings for TLS, but it is not turned on.
    """
    if not settings.ssl:
        for name in ("ssl_ca_file", "ssl_certificate", "ssl_key", "ssl_verify"):
            if getattr(settings, name):
                option = name.replace("_", "-")
                raise ConfigurationError(
                    f"--{option} is given, but not --ssl: without it the server would speak "
                    f"plain; add --ssl, or leave --{option} out"
                )
        return None
    certificate, key = settings.ssl_certificate, settings.ssl_key
    if not certificate:
        certificate, key = DEFAULT_CERTIFICATE, key or DEFAULT_KEY
    verify = verification(settings)
    authorities = "" if verify == "none" else settings.ssl_ca_file or DEFAULT_CA
    try:
        context = tls.server_context(certificate, key or None, authorities or None, verify)
    except ConfigurationError as error:
        hint = ""
        if not settings.ssl_certificate:
            hint = "; --ssl needs --ssl-certificate FILE and --ssl-key FILE"
        raise ConfigurationError(f"{error}{hint}") from error
    return context


def verification(settings: Settings) -> tls.Verify:
    """Whether clients must show a certificate."""
    if settings.ssl_verify == "none":
        return "none"
    if settings.ssl_verify == "optional":
        return "optional"
    return "required" if settings.ssl_verify or settings.ssl_ca_file else "none"
