"""The manager's processes, as the system knows them: forked, told, heard, reaped.

Who shall live is decided in ``supervisor.py``, what a process does inside in ``child.py``.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from geartrain.manager import child as inside
from geartrain.manager.board import Board, Pen, Row


class Process:
    """One of them.

    Attributes:
        row: of the board.
        functions: that it said it offers.
        reason: why it could not load.
    """

    def __init__(self, pid: int, control: socket.socket, row: int) -> None:
        self.pid = pid
        self.control = control
        self.row = row
        self.began = time.monotonic()
        self.functions: list[str] = []
        self.reason = ""
        self.data = b""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process has gone.

    Attributes:
        number: the supervisor's name for it.
        code: exit status, or the negative number of the signal that ended it.
        reason: what it said, or was doing; empty: nothing special.
    """

    number: int
    code: int
    reason: str


class CannotFork(Exception):
    """There is no room for one more process; the text says why."""


class Processes:
    """All of them, by the supervisor's numbers.

    Args:
        selector: where their control sockets wait.
        loaded: called with the number of a process that has loaded its targets.
        let_go: called in a child, to drop what is the manager's.

    Attributes:
        jobs, failures: of the processes that have gone.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        loaded: Callable[[int], None],
        let_go: Callable[[], None],
    ) -> None:
        self._selector = selector
        self._loaded = loaded
        self._let_go = let_go
        self._found: dict[int, Process] = {}
        self._board = Board()
        self._rows = deque(range(self._board.rows))
        self.jobs = 0
        self.failures = 0

    def get(self, number: int) -> Process | None:
        """The one of this number, if it is alive."""
        return self._found.get(number)

    def row(self, process: Process) -> Row:
        """What it says of itself."""
        return self._board.read(process.row)

    def fork(self, number: int, run: Callable[[socket.socket, Pen, int], None]) -> None:
        """One process more.

        Args:
            run: called in it, with its end of the control socket, the pen for its row of
                the board and our process id; does not return.

        Raises:
            CannotFork: it cannot be.
        """
        if not self._rows:
            raise CannotFork("there are too many processes")
        ours, theirs = socket.socketpair()
        row = self._rows.popleft()
        self._board.clear(row)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, inside.BLOCKED)
        try:
            pid = os.fork()
            if not pid:
                self._let_go()
                ours.close()
                run(theirs, self._board.pen(row), parent)
        except OSError as error:
            ours.close()
            theirs.close()
            self._rows.append(row)
            raise CannotFork(f"cannot fork: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, inside.BLOCKED)
        theirs.close()
        ours.setblocking(False)
        process = self._found[number] = Process(pid, ours, row)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(number, process))

    def go(self, number: int) -> None:
        """Let it begin."""
        process = self._found.get(number)
        if process is not None:
            with suppress(OSError):
                process.control.send(b"g")

    def send(self, number: int, what: signal.Signals) -> None:
        """Send it a signal."""
        process = self._found.get(number)
        if process is not None:
            # Not reaped yet, so the number is still its own.
            with suppress(ProcessLookupError):
                os.kill(process.pid, what)

    def reap(self) -> Iterator[Ended]:
        """Those that have gone since the last time."""
        for number, process in list(self._found.items()):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if not pid:
                continue
            self._hear(number, process)
            with suppress(KeyError, ValueError):
                self._selector.unregister(process.control)
            process.control.close()
            del self._found[number]
            self._rows.append(process.row)
            row = self.row(process)
            self.jobs += row.jobs
            self.failures += row.failures
            code = os.waitstatus_to_exitcode(status)
            reason = process.reason
            if code < 0 and not reason:
                reason = _signal_name(-code)
                if row.function:
                    reason += f" while it did {row.function}"
            yield Ended(number, code, reason)

    def kill_all(self) -> None:
        """Leave nobody behind."""
        for number in self._found:
            self.send(number, signal.SIGKILL)

    def close(self) -> None:
        """Close our ends of the control sockets."""
        for process in self._found.values():
            process.control.close()

    def _hear(self, number: int, process: Process) -> None:
        """Read what a child has said."""
        try:
            while data := process.control.recv(65536):
                process.data += data
            self._selector.unregister(process.control)  # it has gone: see reap
        except BlockingIOError:
            pass
        except (OSError, KeyError, ValueError):
            pass
        while b"\n" in process.data:
            line, _, process.data = process.data.partition(b"\n")
            said = json.loads(line)
            if "error" in said:
                process.reason = str(said["error"])
            elif "functions" in said:
                process.functions = list(said["functions"])
                self._loaded(number)


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name
