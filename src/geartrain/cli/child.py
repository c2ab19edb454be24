"""A command that does a job: the workload goes in, the result comes out, both at once.

The C tool writes all of the workload before it reads a byte of the result; a filter
such as ``cat`` then fills its output pipe, stops reading, and both wait for ever
(protocol reference, 4.2). Here every pipe is served when it is ready.

``posix_spawn`` starts the command: it neither copies our memory nor costs the import
of ``subprocess``, and it reports a command that cannot be run.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Mapping
from typing import Final

#: Bytes moved through a pipe at once.
PIPE_BYTES: Final = 256 * 1024

#: Pipes of jobs from this size on are made larger than the usual 64 KiB.
LARGE_WORKLOAD: Final = 256 * 1024
_LARGE_PIPE: Final = 1024 * 1024

#: Signals that Python ignores, and that a command expects to work.
_RESET: Final = (signal.SIGPIPE, signal.SIGXFSZ)


class Child:
    """One run of the command.

    Attributes:
        pid: its process; 0 once it has been waited for.
        stdin: descriptor to write the workload to; -1 when that is done.
        stdout, stderr: descriptors to read from; -1 at their end.
        status: exit status, or minus the number of the signal; None while it runs.

    Raises:
        OSError: the command cannot be run.
    """

    def __init__(self, command: list[str], environ: Mapping[bytes, bytes], workload: bytes) -> None:
        self._rest = memoryview(workload)
        self.status: int | None = None
        theirs_in, self.stdin = os.pipe()
        self.stdout, theirs_out = os.pipe()
        self.stderr, theirs_err = os.pipe()
        if len(workload) >= LARGE_WORKLOAD:
            for fd in (theirs_in, self.stdout):
                _enlarge(fd)
        try:
            self.pid = _spawn(command, environ, (theirs_in, theirs_out, theirs_err))
        except OSError:
            for fd in (self.stdin, self.stdout, self.stderr):
                os.close(fd)
            raise
        finally:
            for fd in (theirs_in, theirs_out, theirs_err):
                os.close(fd)
        for fd in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(fd, False)

    def feed(self) -> bool:
        """Write what the command takes of its workload; False when there is no more to write."""
        try:
            while self._rest:
                self._rest = self._rest[os.write(self.stdin, self._rest[:PIPE_BYTES]) :]
        except BlockingIOError:
            return True
        except OSError:  # it does not want to read: its good right
            pass
        self._rest = memoryview(b"")
        os.close(self.stdin)
        self.stdin = -1
        return False

    def wait(self) -> bool:
        """Whether it has ended; its ``status`` is known then."""
        if self.pid:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                return False
            self.pid = 0
            self.status = os.waitstatus_to_exitcode(status)
        return True

    def end_of_output(self) -> None:
        """Standard output is at its end."""
        os.close(self.stdout)
        self.stdout = -1


def read_pipe(fd: int) -> bytes | None:
    """What is in the pipe now; None if nothing, ``b""`` at its end."""
    try:
        return os.read(fd, PIPE_BYTES)
    except BlockingIOError:
        return None


def how_it_ended(command: str, status: int) -> str:
    """``wc exited with status 2``, ``wc was killed by signal 9 (SIGKILL)``."""
    if status >= 0:
        return f"{command} exited with status {status}"
    try:
        name = f" ({signal.Signals(-status).name})"
    except ValueError:
        name = ""
    return f"{command} was killed by signal {-status}{name}"


def can_run(command: str) -> str:
    """Why a command cannot be run, or an empty text; looks where the system would look."""
    if "/" in command:
        candidates = [command]
    else:
        folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
        candidates = [os.path.join(folder or ".", command) for folder in folders]
    seen = [path for path in candidates if os.path.isfile(path)]
    if any(os.access(path, os.X_OK) for path in seen):
        return ""
    return f"{seen[0]} is not executable" if seen else os.strerror(errno.ENOENT)


def _spawn(command: list[str], environ: Mapping[bytes, bytes], pipes: tuple[int, int, int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(pipes)]
    try:
        return os.posix_spawnp(command[0], command, environ, file_actions=actions, setsigdef=_RESET)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without #! is the shell's, as execvp has it.
    words = ["/bin/sh", *command]
    return os.posix_spawn(words[0], words, environ, file_actions=actions, setsigdef=_RESET)


def _enlarge(fd: int) -> None:
    number = getattr(fcntl, "F_SETPIPE_SZ", None)
    if number is not None:
        try:
            fcntl.fcntl(fd, number, _LARGE_PIPE)
        except OSError:  # the user's share of pipe memory is used up: smaller ones do
            pass
