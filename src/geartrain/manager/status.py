"""What a manager says of itself and its processes, and where one asks.

Each manager has a unix socket, by default in a directory that only its user can
enter. Who connects gets one JSON object, and the connection is closed.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from geartrain.errors import ConfigurationError

#: Seconds for an answer, which is a matter of milliseconds.
PATIENCE_SECONDS = 3.0


def home() -> Path:
    """The directory of the sockets of this user's managers; made if need be.

    Raises:
        ConfigurationError: it belongs to somebody else, or cannot be made.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        path = Path(runtime) / "gearman-worker"
    else:
        path = Path(tempfile.gettempdir()) / f"gearman-worker-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"cannot make {path} for the status socket: {error.strerror}; name another place with "
            f"--status-socket"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{path} is not a directory of ours alone; name another place with --status-socket"
        )
    return path


class StatusSocket:
    """The manager's end.

    Args:
        path: where; empty: in ``home()``, named for our process.

    Raises:
        ConfigurationError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path or str(home() / f"{os.getpid()}.sock")
        self._owner = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path and not _answers(path):
                with suppress(FileNotFoundError):
                    if stat.S_ISSOCK(os.lstat(path).st_mode):
                        os.unlink(path)  # left by a manager that was killed
            self._socket.bind(self.path)
        except OSError as error:
            self._socket.close()
            raise ConfigurationError(
                f"cannot open the status socket {self.path}: {error.strerror}; name another with "
                f"--status-socket"
            ) from None
        os.chmod(self.path, 0o600)
        self._socket.listen(16)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def answer(self, status: dict[str, Any]) -> None:
        """Tell whoever has connected."""
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        with connection:
            # One that does not read is not worth waiting for: children may be.
            connection.settimeout(0.2)
            with suppress(OSError):
                connection.sendall(json.dumps(status).encode() + b"\n")

    def close(self) -> None:
        """Close it; the process that opened it also removes it."""
        self._socket.close()
        if os.getpid() == self._owner:
            with suppress(OSError):
                os.unlink(self.path)


def _answers(path: str) -> bool:
    try:
        ask(path)
    except OSError:
        return False
    return True


def ask(path: str) -> dict[str, Any]:
    """The status of the manager behind a socket.

    Raises:
        OSError: nobody is there, or it does not answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(path)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    try:
        answer: dict[str, Any] = json.loads(data)
    except ValueError:
        raise ConnectionError(f"{path} does not speak for a gearman-worker") from None
    return answer


def ask_all() -> Iterator[dict[str, Any]]:
    """The status of every manager of this user; sockets of dead ones are removed."""
    for path in sorted(home().glob("*.sock")):
        try:
            yield ask(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            continue
