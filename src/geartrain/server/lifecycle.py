"""A process among others: background, pid file, user, descriptors, signals, systemd."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import pwd
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from geartrain.errors import ConfigurationError

log = logging.getLogger("geartrain.server")


def go_to_background() -> int:
    """Fork; only the child returns, with a descriptor to report on.

    The parent waits for the child's report and exits: with 0 when the child is
    ready, with 1 when it ended before. Like the C server's ``-d``, the working
    directory stays.
    """
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as report:
            ready = report.read()
        os._exit(0 if ready == b"ready" else 1)
    os.close(reading)
    os.setsid()
    return writing


def report_ready(descriptor: int) -> None:
    """Tell the waiting parent, and let go of its terminal."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    os.write(descriptor, b"ready")
    os.close(descriptor)


@contextlib.contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Keep our process id in a file while the block runs.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    if not path:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write pid file {path}: {error.strerror}; choose another with --pid-file"
        ) from error
    try:
        yield
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:
            log.debug("pid file %s is gone already", path)
        except OSError as error:
            # Such as after becoming a user who may not write in that folder.
            log.warning("cannot remove pid file %s: %s; it is stale now", path, error.strerror)


def may_become(user: str) -> pwd.struct_passwd | None:
    """The user to become; None if that is who we are.

    Raises:
        ConfigurationError: not root, or no such user.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(f"Could not find user : {user}") from None
    if os.getuid() == entry.pw_uid and os.geteuid() == entry.pw_uid:
        return None
    if os.geteuid() != 0:
        raise ConfigurationError("Must be root to switch users.")
    return entry


def become(user: str) -> None:
    """Give up root for another user.

    Raises:
        ConfigurationError: not root, or no such user.
    """
    entry = may_become(user)
    if entry is None:
        return
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def raise_descriptor_limit(wanted: int) -> int:
    """Ask for more open files.

    Args:
        wanted: the limit to set; 0 for the most the system allows us.

    Returns:
        The limit that holds now.

    Raises:
        ConfigurationError: the system refuses what was wanted.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not wanted:
        # An unlimited hard limit would make every fork walk through it.
        wanted = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, OSError):
        raise ConfigurationError(
            f"cannot set file-descriptors to {wanted}: the system's hard limit is {hard}; "
            f"raise it (ulimit -Hn, LimitNOFILE=), or ask for less"
        ) from None
    return wanted


class Allocator:
    """The C library's heap, told not to give memory back at every turn.

    By default glibc returns the top of the heap to the system as soon as 128 KiB
    are free there, and fetches fresh, zeroed pages for the next large packet: page
    faults then cost more than the copying. Here it keeps what it has, and ``trim``
    returns it when somebody knows that it will not be needed soon.

    Without glibc nothing is changed.
    """

    _M_TRIM_THRESHOLD = -1
    _M_TOP_PAD = -2
    _M_MMAP_THRESHOLD = -3

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._trim = getattr(libc, "malloc_trim", None)
        if self._trim is None:
            return
        libc.mallopt(self._M_TRIM_THRESHOLD, 64 * 2**20)
        libc.mallopt(self._M_TOP_PAD, 2**20)
        # Larger blocks are mapped one by one and go back as soon as they are freed.
        libc.mallopt(self._M_MMAP_THRESHOLD, 8 * 2**20)

    def trim(self) -> None:
        """Give back what is free."""
        if self._trim is not None:
            self._trim(0)


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); does nothing when systemd does not listen."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    if path.startswith("@"):
        path = "\0" + path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(message.encode(), path)
        except OSError as error:
            sys.stderr.write(f"gearmand: cannot notify systemd at {path!r}: {error}\n")


def watchdog_seconds() -> float:
    """How often systemd wants to hear from us; 0.0 for never."""
    value = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not value.isdigit() or (owner and owner != str(os.getpid())):
        return 0.0
    return int(value) / 1_000_000 / 2
