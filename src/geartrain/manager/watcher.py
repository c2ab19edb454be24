"""Watcher: a process that looks at files, and says when one has changed (``watching.py``)."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from geartrain.manager.titles import call_process
from geartrain.manager.watching import watch


class Watcher:
    """Forked where it is made.

    Args:
        folders: what to watch.
        let_go: called in the child, to drop what is the manager's.
    """

    def __init__(self, folders: Sequence[str], let_go: Callable[[], None]) -> None:
        self._socket, theirs = socket.socketpair()
        parent = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            try:
                let_go()
                self._socket.close()
                call_process("gearman-worker: watcher")
                # It tells of every change; so do we, by name.
                logging.getLogger("watchfiles").setLevel(logging.WARNING)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                if sys.platform == "linux":
                    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
                if os.getppid() == parent:
                    watch(folders, lambda path: theirs.sendall(path.encode() + b"\n"))
            finally:
                os._exit(1)
        theirs.close()

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def changed(self) -> str:
        """The file that has changed; empty: the watcher has gone."""
        data = self._socket.recv(65536)
        return os.path.relpath(data.splitlines()[-1].decode()) if data else ""

    def has_ended(self) -> bool:
        """Whether it has just gone; True once."""
        if not self._pid:
            return False
        pid, _ = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            self._pid = 0
        return bool(pid)

    def kill(self) -> None:
        """End it."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0

    def close(self) -> None:
        """Close our end."""
        self._socket.close()
