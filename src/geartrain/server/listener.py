"""Opening the doors: TCP, IPv6, unix sockets, and sockets that systemd hands over.

Every fault names the address and the way out. A unix socket file left behind by a
server that was killed is removed, one that still answers is not. What we made we take
away in the end, or say that we could not.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import re
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from geartrain.errors import ConfigurationError
from geartrain.server.settings import Settings

log = logging.getLogger("geartrain.server")

#: First descriptor that systemd passes (sd_listen_fds(3)).
_LISTEN_FDS_START = 3
#: A server that does not take a connection for so long is busy, not dead.
_PROBE_SECONDS = 1.0


class UnixListener(socket.socket):
    """A listening unix socket that knows the file it made, and removes no other."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = ""
        self._made = (0, 0)

    def make(self, path: str) -> None:
        """Bind to ``path``, which makes a file there.

        Raises:
            OSError: as ``bind``.
        """
        self.bind(path)
        found = os.stat(path)
        self._path, self._made = path, (found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Take the file away, if it is still ours; say so if that is not possible."""
        path, self._path = self._path, ""
        if not path:
            return
        try:
            found = os.stat(path)
            if (found.st_dev, found.st_ino) == self._made:
                os.unlink(path)
        except FileNotFoundError:
            log.debug("unix socket %s is gone already", path)
        except OSError as error:
            # Such as after becoming a user who may not write in that folder.
            log.warning(
                "cannot remove unix socket %s: %s; it is stale now, and the next server that is "
                "started there as root, or as the owner of the folder, takes it away",
                path, error.strerror,
            )  # fmt: skip


def close_listeners(listeners: list[socket.socket]) -> None:
    """Close the doors, and take away the files that they made."""
    for sock in listeners:
        sock.close()
        if isinstance(sock, UnixListener):
            sock.remove()


def split_address(text: str, default_port: str) -> tuple[str, str]:
    """``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or a bare IPv6 address -> host and port."""
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ConfigurationError(f"--listen {text}: want [IPV6]:PORT")
        return host, after[1:] or default_port
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port or default_port
    return text, default_port


def port_number(port: str) -> int:
    """A port as a number; service names are looked up. 0 lets the system choose.

    Raises:
        ConfigurationError: it is neither.
    """
    if port.isascii() and port.isdigit() and len(port) < 10 and int(port) < 65536:
        return int(port)
    try:
        return socket.getservbyname(port, "tcp")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"port {port!r} is neither a number from 0 to 65535 nor a known service"
        ) from error


def open_listeners(settings: Settings) -> list[socket.socket]:
    """Bind everything that the settings name; all or nothing.

    Raises:
        ConfigurationError: an address cannot be understood or bound.
    """
    opened: list[socket.socket] = []
    try:
        for text in settings.listen or ("",):
            if text.startswith("unix:"):
                opened.append(_open_unix(text[5:], settings))
            else:
                opened.extend(_open_tcp(text, settings))
    except BaseException:
        close_listeners(opened)
        raise
    return opened


def _open_tcp(text: str, settings: Settings) -> list[socket.socket]:
    host, port_text = split_address(text, settings.port)
    port = port_number(port_text)
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, ValueError) as error:
        # A name with an empty or an endless label is refused before it is looked up.
        cause = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigurationError(
            f"cannot listen on {text or 'all addresses'}: {cause}; "
            f"check the name, or give an address of this machine"
        ) from error
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if opened and port == 0:
                # Further addresses share the port that the system chose for the first.
                address = (address[0], opened[0].getsockname()[1], *address[2:])
            sock = _bind_tcp(family, kind, protocol, address, text, settings)
            if sock is not None:
                opened.append(sock)
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    if not opened:
        raise ConfigurationError(f"cannot listen on {text or 'all addresses'}: none is usable")
    return opened


def _bind_tcp(
    family: int, kind: int, protocol: int, address: tuple[object, ...], text: str,
    settings: Settings,
) -> socket.socket | None:  # fmt: skip
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:  # a kernel without IPv6
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One socket a family: an IPv6 socket that also takes IPv4 would
            # collide with the IPv4 one.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(settings.backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        where = f"{address[0]}:{address[1]}"
        if error.errno == errno.EADDRNOTAVAIL and not text and family == socket.AF_INET6:
            return None
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"cannot listen on {where}: the port is in use; stop the other server, "
                f"or choose another port with --port"
            ) from error
        if error.errno == errno.EACCES:
            raise ConfigurationError(
                f"cannot listen on {where}: permission denied; ports below 1024 need root, "
                f"choose another with --port"
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigurationError(
                f"cannot listen on {where}: this machine does not have that address; see "
                f"'ip address' for those it has, or leave --listen out for all of them"
            ) from error
        raise ConfigurationError(f"cannot listen on {where}: {error.strerror}") from error
    return sock


def _open_unix(path: str, settings: Settings) -> socket.socket:
    if not re.fullmatch(r"[0-7]{3,4}", settings.unix_mode):
        raise ConfigurationError(
            f"--unix-mode {settings.unix_mode!r}: want an octal number such as 660"
        )
    mode = int(settings.unix_mode, 8)
    sock = UnixListener()
    try:
        _remove_dead_socket(path)
        sock.make(path)
        _hand_over(path, settings.user)
        Path(path).chmod(mode)
        sock.listen(settings.backlog)
        sock.setblocking(False)
    except ConfigurationError:
        close_listeners([sock])
        raise
    except (OSError, ValueError) as error:
        close_listeners([sock])
        cause = (error.strerror if isinstance(error, OSError) else None) or error
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"cannot listen on unix:{path}: there is a file of that name that is no socket; "
                f"remove it, or choose another path"
            ) from error
        raise ConfigurationError(
            f"cannot listen on unix:{path}: {cause}; check that the folder exists and is writable"
        ) from error
    return sock


def _hand_over(path: str, user: str) -> None:
    """Give the socket to the user whom the server is about to become.

    Else its permissions (``--unix-mode``) would speak of root and root's group.
    An unknown user is refused where the server becomes one.
    """
    if not user or os.geteuid() != 0:
        return
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _remove_dead_socket(path: str) -> None:
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except (TimeoutError, BlockingIOError):
            log.debug("unix socket %s has a full backlog, so somebody listens", path)
    raise ConfigurationError(
        f"cannot listen on unix:{path}: a server answers there; stop it, or choose another path"
    )


def inherited_listeners(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """Sockets passed by systemd socket activation; empty when there are none."""
    if environ.get("LISTEN_PID") != str(pid):
        return []
    count = environ.get("LISTEN_FDS", "0")
    if not count.isdigit():
        raise ConfigurationError(f"LISTEN_FDS={count!r} is not a number; is systemd passing it?")
    listeners = []
    for number in range(_LISTEN_FDS_START, _LISTEN_FDS_START + int(count)):
        os.set_inheritable(number, False)
        sock = socket.socket(fileno=number)
        sock.setblocking(False)
        listeners.append(sock)
    return listeners


def tune(sock: socket.socket, settings: Settings) -> None:
    """Set up an accepted socket: no delay, and dead peers found without our writing."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", settings.keepalive_idle),
        ("TCP_KEEPINTVL", settings.keepalive_interval),
        ("TCP_KEEPCNT", settings.keepalive_count),
    ):
        if value > 0 and hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if settings.user_timeout > 0 and hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(settings.user_timeout * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
