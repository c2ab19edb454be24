"""A queue far longer than memory, and bodies far larger: what the server keeps of them.

Jobs are numbered, so that what comes out can be told from what should.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import process, wire
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, Unmeasured, at_most
from benchmarks.servers import Running, cache, running

MEGABYTE: Final = 2**20
#: Submissions on their way at a time, while filling.
BATCH: Final = 500
#: Grabs on their way at a time, while draining.
GRABS: Final = 64
#: Submits whose time is taken while the queue is long.
TIMED: Final = 2000
#: Seconds within which memory has to be given back.
SETTLE_SECONDS: Final = 60.0


def workload(number: int, size: int) -> bytes:
    """The number, and as many bytes as make up the size."""
    return (b"%010d" % number).ljust(size, b"x")


def submit(connection: socket.socket, first: int, last: int, size: int) -> None:
    """Background jobs, answered for."""
    for start in range(first, last, BATCH):
        numbers = range(start, min(start + BATCH, last))
        connection.sendall(
            b"".join(
                wire.request(wire.SUBMIT_JOB_BG, b"f", b"", workload(n, size)) for n in numbers
            )
        )
        for _ in numbers:
            if wire.receive(connection)[0] != wire.JOB_CREATED:
                raise Unmeasured("a submission was refused")


def submit_times(connection: socket.socket, first: int, size: int) -> list[float]:
    """Milliseconds of single submits, shortest first."""
    took = []
    for number in range(first, first + TIMED):
        began = time.perf_counter()
        submit(connection, number, number + 1, size)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


def drain(server: Running, jobs: int) -> float:
    """Do so many jobs; how many came out of their order."""
    disorder, expected = 0, 0
    with server.connect() as worker:
        worker.sendall(wire.request(wire.CAN_DO, b"f") + wire.request(wire.GRAB_JOB) * GRABS)
        for _ in range(jobs):
            command, body = wire.receive(worker)
            if command != wire.JOB_ASSIGN:
                raise Unmeasured(f"a worker was told {command} before the queue was empty")
            handle, _, content = body.split(b"\0", 2)
            disorder += int(content[:10]) != expected
            expected = int(content[:10]) + 1
            worker.sendall(
                wire.request(wire.WORK_COMPLETE, handle, b"") + wire.request(wire.GRAB_JOB)
            )
    return float(disorder)


def depth(jobs: int, contender: str) -> Mapping[str, float]:
    """Fill, submit some more, end, start again, drain."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        options = ("--queue", f"sqlite://{folder}/jobs.db")
        with running(contender, *options) as server, server.connect() as client:
            began = time.monotonic()
            submit(client, 0, jobs, 200)
            found["fill"] = jobs / (time.monotonic() - began)
            times = submit_times(client, jobs, 200)
            found["p99"] = times[len(times) * 99 // 100]
            found["peak"] = process.peak(server.pid) / MEGABYTE
        began = time.monotonic()
        with running(contender, *options) as server:
            found["restart"] = time.monotonic() - began
            began = time.monotonic()
            found["disorder"] = drain(server, jobs + TIMED)
            found["drain"] = (jobs + TIMED) / (time.monotonic() - began)
            found["peak"] = max(found["peak"], process.peak(server.pid) / MEGABYTE)
        found["file"] = sum(one.stat().st_size for one in Path(folder).iterdir()) / MEGABYTE
    return found


def bodies(count: int, contender: str) -> Mapping[str, float]:
    """So many megabytes in and out, each a job; then nothing."""
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        options = ("--queue", f"sqlite://{folder}/jobs.db")
        with running(contender, *options) as server:
            with server.connect() as client:
                submit(client, 0, 1, 200)
            drain(server, 1)
            process.settled(server.pid)
            idle = process.resident(server.pid)
            with server.connect() as client:
                for number in range(count):
                    submit(client, number, number + 1, MEGABYTE)
            disorder = drain(server, count)
            peak = process.peak(server.pid)
            bound = 1.3 * idle + 50 * MEGABYTE
            began = time.monotonic()
            while process.resident(server.pid) > bound:
                if time.monotonic() - began > SETTLE_SECONDS:
                    break
                time.sleep(0.5)
            took = time.monotonic() - began
            after = process.resident(server.pid)
    return {
        "idle": idle / MEGABYTE,
        "peak": peak / MEGABYTE,
        "after": after / MEGABYTE,
        "over": (after - bound) / MEGABYTE,
        "took": took,
        "disorder": disorder,
    }


def cases(scale: Scale) -> list[Case]:
    """Depth, and bodies."""
    jobs = 10_000_000 if scale.full else scale.size(1_000_000, 200_000)
    megabytes = 2048 if scale.full else scale.size(1024, 256)
    return [
        Case(
            f"{jobs:,} queued jobs of 200 B, SQLite",
            (OURS,),
            (
                Measure("fill", "durable submits/s, one client", ""),
                Measure("p99", "one submit at that length, p99", "ms", (at_most(20.0),)),
                Measure("peak", "resident memory, at most", "MiB", (at_most(256.0),)),
                Measure("restart", "from the start to the first answer", "s", (at_most(2.0),)),
                Measure("drain", "jobs/s, one worker", ""),
                Measure("disorder", "jobs out of their order", "", (at_most(0.0),)),
                Measure("file", "files afterwards", "MiB"),
            ),
            partial(depth, jobs),
            rounds=1,
        ),
        Case(
            f"{megabytes:,} MiB of bodies in and out, 1 MiB each, SQLite",
            (OURS,),
            (
                Measure("idle", "resident memory before", "MiB"),
                Measure("peak", "... at most", "MiB"),
                Measure("after", "... afterwards", "MiB"),
                Measure("over", "... less 1.3 x before and 50 MiB", "MiB", (at_most(0.0),)),
                Measure("took", "until then", "s", (at_most(SETTLE_SECONDS),)),
                Measure("disorder", "bodies out of their order", "", (at_most(0.0),)),
            ),
            partial(bodies, megabytes),
            rounds=1,
        ),
    ]


BENCH = Bench(
    "backlog", "a queue longer than memory, bodies larger (--full: 10,000,000 jobs, 2 GiB)", cases
)
