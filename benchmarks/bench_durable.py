"""Submits that are on disk before they are answered.

Each job has a unique key of its own: the C server's queues keep one row for each key, so
without keys its SQLite would keep a single job, and its PostgreSQL refuse the second.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks import generator, postgres
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, Unmeasured, at_least, at_most
from benchmarks.servers import C_T0, Running, cache, own_command, own_environment, running

IN_MEMORY = "ours, in memory"
C_SQLITE = "C -q libsqlite3"
C_POSTGRES = "C -q Postgres"


@contextlib.contextmanager
def keeping(contender: str) -> Iterator[Running]:
    """A server that keeps its queue in SQLite on the disk of the checkout."""
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        if contender == OURS:
            started = running(OURS, "--queue", f"sqlite://{folder}/jobs.db")
        elif contender == C_SQLITE:
            started = running(C_T0, "-q", "libsqlite3", "--libsqlite3-db", f"{folder}/jobs.db")
        else:
            started = running(OURS)
        with started as server:
            yield server


def submits(jobs: int, few: int, contender: str) -> Mapping[str, float]:
    """Background jobs that nobody drains; the C server is given fewer."""
    jobs = few if contender == C_SQLITE else jobs
    with keeping(contender) as server:
        found = generator.load(server, "submit", jobs=jobs, clients=8, depth=64, uniques=jobs)
    return {"rate": found["jobs_per_s"], "cpu": found["server_cpu_us_per_job"]}


def on_postgres(jobs: int, few: int, contender: str) -> Mapping[str, float]:
    """The same, on a PostgreSQL of its own."""
    with postgres.running() as port:
        if contender == OURS:
            url = f"postgresql://bench@127.0.0.1:{port}/postgres"
            started = running(OURS, "--queue", url)
        else:
            jobs = few
            where = f"host=127.0.0.1 port={port} user=bench dbname=postgres"
            started = running(C_T0, "-q", "Postgres", "--libpq-conninfo", where)
        with started as server:
            found = generator.load(server, "submit", jobs=jobs, clients=8, depth=64, uniques=jobs)
    return {"rate": found["jobs_per_s"], "cpu": found["server_cpu_us_per_job"]}


def one_at_a_time(jobs: int, contender: str) -> Mapping[str, float]:
    """One client, one submit in flight, beside what the disk itself needs."""
    disk = fdatasync_ms(jobs // 5)
    first = 50
    every = first + jobs
    with keeping(contender) as server:
        generator.load(server, "submit", jobs=first, clients=1, depth=1, uniques=first)
        found = generator.load(server, "submit", jobs=every, clients=1, depth=1, uniques=every)
    disk = (disk + fdatasync_ms(jobs // 5)) / 2
    # The first of these are there already, and merged without the disk: they do not count.
    took = 1000 / found["jobs_per_s"] * every / jobs
    return {"disk": disk, "took": took, "over": took - 1.5 * disk}


def fdatasync_ms(times: int) -> float:
    """What the disk itself takes to keep 4 KiB that are appended: a mean, as that of the submits.

    Beside a mean, a median would leave out what a busy machine does to both.
    """
    took = []
    with tempfile.NamedTemporaryFile(dir=cache()) as file:
        for _ in range(times):
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.fmean(took) * 1000


def foreground(jobs: int, contender: str) -> Mapping[str, float]:
    """Jobs whose client waits are not kept; do they pay for those that are?"""
    with keeping(contender) as server:
        generator.load(server, "fg", jobs=2000, clients=8, workers=8, depth=16)
        found = generator.load(server, "fg", jobs=jobs, clients=8, workers=8, depth=16)
    return {"rate": found["jobs_per_s"], "cpu": found["server_cpu_us_per_job"]}


def cases(scale: Scale) -> list[Case]:
    """Rate and time of durable submits."""
    said = subprocess.run(
        [*own_command(), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=own_environment(),
    )
    if "--queue" not in said.stdout:
        raise Unmeasured("this gearmand has no --queue")
    return [
        Case(
            "durable submits, SQLite, 8 clients, 64 in flight each",
            (OURS, IN_MEMORY, C_SQLITE),
            (
                Measure(
                    "rate", "submits/s", "", (at_least(50, C_SQLITE), at_least(0.25, IN_MEMORY))
                ),
                Measure("cpu", "server CPU per submit", "µs"),
            ),
            partial(submits, scale.size(100_000, 20_000), scale.size(2_000, 500)),
            rounds=3,
        ),
        Case(
            "durable submits, PostgreSQL, 8 clients, 64 in flight each",
            (OURS, C_POSTGRES),
            (
                Measure("rate", "submits/s", "", (at_least(10, C_POSTGRES),)),
                Measure("cpu", "server CPU per submit", "µs"),
            ),
            partial(on_postgres, scale.size(50_000, 10_000), scale.size(2_000, 500)),
            rounds=3,
        ),
        Case(
            "durable submits, SQLite, one at a time",
            (OURS, C_SQLITE),
            (
                Measure("disk", "the disk's own fdatasync of 4 KiB", "ms"),
                Measure("took", "one submit, mean", "ms"),
                Measure("over", "... less 1.5 x fdatasync", "ms", (at_most(0.3),)),
            ),
            partial(one_at_a_time, scale.size(500, 100)),
        ),
        Case(
            "foreground jobs on a server that keeps a queue",
            (OURS, IN_MEMORY),
            (
                Measure("rate", "jobs/s", "", (at_least(0.97, IN_MEMORY),)),
                Measure("cpu", "server CPU per job", "µs"),
            ),
            partial(foreground, scale.size(100_000, 50_000)),
            # Rounds of two seconds differ by a quarter.
            rounds=13,
        ),
    ]


BENCH = Bench("durable", "submits that are on disk before they are answered", cases)
