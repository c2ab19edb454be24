"""One job of a worker: from its assignment to its last report.

Decides what the client hears. Without ``-n`` the output is kept and becomes the
result. What is larger than ``KEEP_BYTES`` goes out in pieces of that size, so that a
result of any size fits: large pieces, because a server disconnects a client for which
many packets wait, and a worker has no way to know how fast its client reads. A command
that fails has its output sent first, then how it ended.
"""

from __future__ import annotations

from typing import Final

from geartrain.cli.child import Child, how_it_ended
from geartrain.cli.lines import Lines
from geartrain.worker.connection import WorkerConnection
from geartrain.worker.events import JobAssigned

#: Output kept to be sent as one result: half of what a packet may hold by default.
KEEP_BYTES: Final = 128 * 2**20

#: A warning is no longer than this: ERROR texts and warnings are for people.
_WARNING_BYTES: Final = 64 * 1024


class Run:
    """A job in progress.

    Args:
        job: what was assigned.
        connection: where to report; None in the end if it got lost.
        lines: send each line of output as a packet of its own (``-n``).
        strip: without its newline (``-N``).
        explain: the server passes exceptions on as it should. The C server turns
            one into a WORK_FAIL that hangs old clients (protocol reference, 2.9):
            there the reason goes into a warning.
    """

    def __init__(
        self,
        job: JobAssigned,
        connection: WorkerConnection,
        *,
        lines: bool,
        strip: bool,
        explain: bool,
    ) -> None:
        self.job = job
        self.connection: WorkerConnection | None = connection
        self.child: Child | None = None
        self._lines = Lines() if lines else None
        self._strip = strip
        self._explain = explain
        self._kept: list[bytes] = []
        self._size = 0

    def output(self, data: bytes) -> None:
        """The command has written to its standard output."""
        if self._lines is not None:
            self._send_lines(self._lines.feed(data))
            return
        self._kept.append(data)
        self._size += len(data)
        if self._size >= KEEP_BYTES:
            self._data(self._take_kept())

    def complaint(self, data: bytes) -> None:
        """The command has written to its standard error."""
        if self.connection is not None:
            self.connection.send_warning(self.job.handle, data[:_WARNING_BYTES])

    def end(self, command: str) -> str:
        """The command has ended; report, and return what there is to tell the operator."""
        assert self.child is not None
        status = self.child.status
        assert status is not None
        if self._lines is not None:
            self._send_lines(self._lines.end())
        if status == 0:
            self._complete(self._take_kept())
            return ""
        if self._kept:
            self._data(self._take_kept())
        return self.fail(how_it_ended(command, status))

    def fail(self, reason: str) -> str:
        """Report that the job has failed; return what to tell the operator."""
        connection, handle = self.connection, self.job.handle
        name = handle.decode("utf-8", "backslashreplace")
        if connection is None:
            return f"{name}: {reason} (and the server is gone)"
        words = f"{reason}\n".encode("utf-8", "backslashreplace")
        if self._explain:
            connection.exception(handle, b"Job failed: " + words)
        else:
            connection.send_warning(handle, words)
            connection.fail(handle)
        self.connection = None
        return f"{name}: {reason}"

    def done(self) -> None:
        """Report success without a result (a worker without a command)."""
        self._complete(b"")

    def _take_kept(self) -> bytes:
        kept = b"".join(self._kept)
        self._kept = []
        self._size = 0
        return kept

    def _complete(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.complete(self.job.handle, data)
            self.connection = None

    def _data(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.send_data(self.job.handle, data)

    def _send_lines(self, lines: list[bytes]) -> None:
        for line in lines:
            self._data(line[:-1] if self._strip and line.endswith(b"\n") else line)
