"""A million jobs queued that nobody waits for, then drained; and what each takes in memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks import generator
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, at_least, at_most
from benchmarks.servers import C_BUCKETS, C_DEFAULT, C_T0, running


def run(jobs: int, contender: str) -> Mapping[str, float]:
    """Submit all, measure, then let workers drain them."""
    # C -t 0 is there for its submits: draining through 991 buckets, it takes
    # as many minutes as the default, and nothing is compared with it.
    mode = "submit" if contender == C_T0 else "bg"
    with running(contender) as server:
        found = generator.load(server, mode, jobs=jobs, clients=8, workers=8, depth=16, payload=32)
    values = {
        "submit": found["jobs_per_s"],
        "bytes": (found["rss_kb_peak"] - found["rss_kb_before"]) * 1024 / jobs,
    }
    if mode == "bg":
        values["drain"] = found["drain_per_s"]
        values["cpu"] = found["server_cpu_us_per_job"]
    return values


def cases(scale: Scale) -> list[Case]:
    """One case; what depends on the length of the queue is not judged when it is short."""
    jobs = scale.size(1_000_000, 100_000)
    return [
        Case(
            f"bg, {jobs:,} jobs queued, then drained",
            (OURS, C_T0, C_DEFAULT, C_BUCKETS),
            (
                Measure("submit", "submits/s", "", (at_least(0.6, C_T0),)),
                Measure(
                    "drain",
                    "drained/s",
                    "",
                    (at_least(5, C_DEFAULT), at_least(1.0, C_BUCKETS)),
                    sized=True,
                ),
                Measure(
                    "bytes",
                    "memory per queued job (32-byte workload)",
                    "B",
                    (at_most(0.5, C_T0),),
                ),
                Measure("cpu", "server CPU per job, in and out", "µs"),
            ),
            partial(run, jobs),
            rounds=3,
            once=(C_DEFAULT,),
        )
    ]


BENCH = Bench("background", "a million queued jobs: submit, drain, memory", cases)
