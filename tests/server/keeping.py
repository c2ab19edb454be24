"""A server of its own process that keeps its jobs in a file, and what a worker asks of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, Wire


class Keeping(Server):
    """A server with a queue, and the connections to it."""

    def __init__(self, *options: str) -> None:
        self.wires: list[Wire] = []
        super().__init__(OURS, *options)

    def connect(self, receive_buffer: int | None = None) -> Wire:
        wire = super().connect(receive_buffer)
        self.wires.append(wire)
        return wire

    def end(self) -> None:
        super().end()
        for wire in self.wires:
            wire.close()


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    server = Keeping("--queue", f"sqlite://{folder}/jobs.db", *options)
    try:
        yield server
    finally:
        server.end()


def crash(server: Server) -> None:
    server.kill()
    server.restart()


def grab(worker: Wire) -> list[bytes]:
    """Handle, function, unique, reducer and workload of the next job."""
    worker.send(T.GRAB_JOB_ALL)
    heard = worker.receive()
    if heard.number == T.NO_JOB:
        return []
    parts = heard.body.split(b"\0", 4 if heard.number == T.JOB_ASSIGN_ALL else 3)
    return parts if len(parts) == 5 else [*parts[:3], b"", parts[3]]


def totals(server: Server) -> dict[bytes, int]:
    wire = server.connect()
    wire.send_bytes(b"status\n")
    lines = [line.split(b"\t") for line in wire.read_list()]
    wire.close()
    return {name: int(total) for name, total, *_ in lines}
