"""Where servers are, as people write it.

::

    localhost            db1:4731            [::1]:4730          ::1
    unix:/run/g.sock     gearman://host      gearmans://host     tcp://10.0.0.7:4730
    a,b:4731,[::1]       several, by commas or white space

``gearmans://`` is TLS; everything else is plain unless the client says otherwise.

Pure: the environment comes in as an argument (``transport/environment.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from geartrain.errors import ConfigurationError
from geartrain.terms import DEFAULT_PORT
from geartrain.values import Value

#: The schemes we know, and whether they mean TLS. Kubernetes writes ``tcp://``.
_SCHEMES = {"gearman": False, "gearmans": True, "tcp": False, "tls": True}

_WANT = "want host, host:port, [::1]:port, unix:/path or gearmans://host"


class Address(Value):
    """One server.

    Attributes:
        host: name or number, without brackets; empty for a Unix socket.
        port: 1 to 65535; 0 for a Unix socket.
        path: path of a Unix socket, else empty.
        tls: speak TLS to it.
    """

    __slots__ = ("host", "path", "port", "tls")
    __match_args__ = ("host", "port", "path", "tls")

    def __init__(
        self, host: str = "localhost", port: int = DEFAULT_PORT, path: str = "", tls: bool = False
    ) -> None:
        self.host: Final = host
        self.port: Final = port
        self.path: Final = path
        self.tls: Final = tls

    def __str__(self) -> str:
        if self.path:
            # "unix://x" is the path "x", so one that begins so needs the long form.
            return f"unix:{'//' if self.path.startswith('//') else ''}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.tls:
            return f"gearmans://{host}:{self.port}"
        # A host named "unix" reads as the beginning of a path where no scheme is before it.
        return f"{'gearman://' if host == 'unix' else ''}{host}:{self.port}"


#: What users may say wherever servers are asked for; None: the environment.
Servers: TypeAlias = "str | Address | Sequence[str | tuple[str, int] | Address] | None"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read one address.

    Raises:
        ConfigurationError: it is none of the forms above.
    """
    rest = text.strip()
    if rest.startswith("unix:"):
        path = rest[5:]
        path = path.removeprefix("//")
        if not path:
            raise ConfigurationError(f"server {text!r} has no path: {_WANT}")
        return Address("", 0, path)
    tls = False
    if "://" in rest:
        scheme, rest = rest.split("://", 1)
        if scheme.lower() not in _SCHEMES:
            raise ConfigurationError(f"server {text!r}: unknown scheme {scheme!r}; {_WANT}")
        tls = _SCHEMES[scheme.lower()]
        rest = rest.rstrip("/")
    port_text = ""
    if rest.startswith("["):
        host, bracket, after = rest[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ConfigurationError(f"server {text!r}: {_WANT}")
        port_text = after[1:]
    elif rest.count(":") == 1:
        host, port_text = rest.split(":")
    else:
        host = rest  # a bare IPv6 address has more than one colon, and no port
    if not host or any(ch.isspace() or ch in "/[]," for ch in host):
        raise ConfigurationError(f"server {text!r}: {_WANT}")
    return Address(host, _port(port_text, text) if port_text else default_port, "", tls)


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65536:
        raise ConfigurationError(f"server {whole!r}: port {text!r}, want 1 to 65535")
    return int(text)


def parse_servers(
    servers: Servers, environ: Mapping[str, str], default_port: int | None = None
) -> tuple[Address, ...]:
    """Read whatever a user may give for servers; never empty, no address twice.

    With None, the first that is set of ``GEARMAN_SERVERS`` (libgearman),
    ``GEARMAN_SERVER`` (the C tools) and a ``GEARMAND_PORT`` of the form
    ``tcp://host:port`` (Kubernetes, for a service named gearmand); else
    ``localhost``.

    Args:
        servers: see ``Servers``.
        environ: the environment; ``transport.environment`` gives the process's own.
        default_port: port of addresses that name none; None: ``GEARMAND_PORT``
            if that is a number, else 4730.

    Raises:
        ConfigurationError: an address cannot be read, or there is none.
    """
    port_setting = environ.get("GEARMAND_PORT", "").strip()
    if default_port is None:
        default_port = DEFAULT_PORT
        if port_setting.isascii() and port_setting.isdigit() and 0 < int(port_setting) < 65536:
            default_port = int(port_setting)
    if servers is None:
        servers = environ.get("GEARMAN_SERVERS", "") or environ.get("GEARMAN_SERVER", "")
        if not servers.strip(", \t"):
            servers = port_setting if "://" in port_setting else "localhost"
    found = dict.fromkeys(_each(servers, default_port))
    if not found:
        raise ConfigurationError(f"no servers in {servers!r}; {_WANT}")
    return tuple(found)


def _each(servers: Servers, default_port: int) -> Iterable[Address]:
    if isinstance(servers, Address):
        yield servers
    elif isinstance(servers, str):
        for text in servers.replace(",", " ").split():
            yield parse_address(text, default_port)
    else:
        if not isinstance(servers, Iterable):
            raise ConfigurationError(f"servers = {servers!r}; {_WANT}")
        for one in servers:
            if isinstance(one, tuple):
                yield Address(one[0], _port(str(one[1]), f"{one[0]}:{one[1]}"))
            else:
                yield from _each(one, default_port)
