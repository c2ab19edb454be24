"""Jobs whose client waits for them: many in flight, one in flight each, one in flight at all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks import generator
from benchmarks.measures import OURS, Bar, Bench, Case, Measure, Scale, at_least, at_most
from benchmarks.servers import C_DEFAULT, C_T0, running

SERVERS = (OURS, C_T0, C_DEFAULT)


def run(clients: int, depth: int, jobs: int, contender: str) -> Mapping[str, float]:
    """As many workers as clients, each client with ``depth`` jobs in flight."""
    with running(contender) as server:
        generator.load(server, "fg", jobs=2000, clients=clients, workers=clients, depth=depth)
        found = generator.load(
            server, "fg", jobs=jobs, clients=clients, workers=clients, depth=depth
        )
    return {
        "cpu": found["server_cpu_us_per_job"],
        "user": found["server_user_us"],
        "rate": found["jobs_per_s"],
        "p50": found["p50_us"],
        "p99": found["p99_us"],
    }


def measures(
    cpu: tuple[Bar, ...] = (), rate: tuple[Bar, ...] = (), p50: tuple[Bar, ...] = ()
) -> tuple[Measure, ...]:
    """The same rows for each case, with that case's bars."""
    return (
        Measure("cpu", "server CPU per job", "µs", cpu),
        Measure("user", "... in user space", "µs"),
        Measure("rate", "jobs/s", "", rate),
        Measure("p50", "latency, median", "µs", p50),
        Measure("p99", "latency, p99", "µs"),
    )


def cases(scale: Scale) -> list[Case]:
    """Three shapes of load."""
    return [
        Case(
            "fg, 8 clients, 8 workers, 16 in flight each",
            SERVERS,
            measures(
                cpu=(at_most(1.15, C_T0), at_most(0.55, C_DEFAULT)),
                rate=(at_least(1.5, C_DEFAULT),),
            ),
            partial(run, 8, 16, scale.size(200_000, 50_000)),
        ),
        Case(
            "fg, 32 clients, 32 workers, 1 in flight each",
            SERVERS,
            measures(
                cpu=(at_most(1.25, C_T0), at_most(0.75, C_DEFAULT)),
                rate=(at_least(0.8, C_T0), at_least(1.1, C_DEFAULT)),
            ),
            partial(run, 32, 1, scale.size(150_000, 50_000)),
        ),
        Case(
            "fg, one client, one worker, one in flight",
            SERVERS,
            measures(p50=(at_most(1.15, C_T0),)),
            partial(run, 1, 1, scale.size(20_000, 5_000)),
        ),
    ]


BENCH = Bench("foreground", "jobs whose client waits: CPU per job, jobs/s, latency", cases)
