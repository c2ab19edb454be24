"""Instructions in user space for each job: no clock, so no noise. Under valgrind's callgrind.

The kernel's share is not in it, and most of a job is the kernel's. The server is some
fifty times as slow as usual, so it finds more waiting for it each turn than it does in
earnest; with many jobs in flight that favours a server that works in turns.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks import generator
from benchmarks.measures import OURS, Bench, Case, Measure, Scale
from benchmarks.servers import C_T0, cache, running, which

#: Two runs of different length, so that start-up and connecting cancel out.
FEW = 1_000
MANY = 11_000


def total(contender: str, mode: str, clients: int, depth: int, jobs: int) -> tuple[int, Path]:
    """All instructions of a server's life with so many jobs, and the profile."""
    valgrind = which("valgrind", "valgrind")
    profile = cache() / f"callgrind-{contender}-{mode}-{clients}x{depth}-{jobs}"
    under = [
        valgrind,
        "-q",
        "--tool=callgrind",
        "--compress-strings=no",
        f"--callgrind-out-file={profile}",
    ]
    with running(contender, under=under, patience=180) as server:
        generator.load(server, mode, jobs=jobs, clients=clients, workers=clients, depth=depth)
    for line in profile.read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1]), profile
    raise ValueError(f"{profile} has no totals")


def run(mode: str, clients: int, depth: int, contender: str) -> Mapping[str, float]:
    """The difference of two lives, for each job."""
    few, short = total(contender, mode, clients, depth, FEW)
    many, profile = total(contender, mode, clients, depth, MANY)
    short.unlink()
    shutil.move(profile, cache() / f"callgrind.out.{contender}-{mode}-{clients}x{depth}")
    return {"instructions": (many - few) / (MANY - FEW)}


def cases(scale: Scale) -> list[Case]:
    """The shapes of the foreground benchmark, and a queue."""
    which("valgrind", "valgrind")
    row = (Measure("instructions", "user-space instructions per job", ""),)
    return [
        Case(title, (OURS, C_T0), row, partial(run, mode, clients, depth), rounds=1)
        for title, mode, clients, depth in (
            ("fg, 8 clients, 8 workers, 16 in flight each", "fg", 8, 16),
            ("fg, 32 clients, 32 workers, 1 in flight each", "fg", 32, 1),
            ("fg, one client, one worker, one in flight", "fg", 1, 1),
            ("bg, queued, then drained", "bg", 8, 16),
        )
    ]


BENCH = Bench("instructions", "instructions per job under callgrind (only when asked for)", cases)
