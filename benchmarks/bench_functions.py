"""Does a job cost more when there are 20,000 functions than when there is one?

Workers must register all functions first, which is not what is asked; so each
cost is the difference of a long run and a short one, both with the same
registrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks import generator, process
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, at_most
from benchmarks.servers import C_T0, running

FUNCTIONS = 20_000


def cost(contender: str, mode: str, functions: int, jobs: int) -> float:
    """µs of server CPU for each of ``jobs``, with the registrations taken out."""
    few = 20_000

    def spent(count: int) -> float:
        with running(contender) as server:
            before = process.cpu_seconds(server.pid)
            generator.load(
                server, mode, jobs=count, clients=8, workers=2, depth=16, functions=functions
            )
            return process.cpu_seconds(server.pid) - before

    return (spent(few + jobs) - spent(few)) / jobs * 1e6


def run(mode: str, functions: int, jobs: int, contender: str) -> Mapping[str, float]:
    """One function, then many; one job of each in turn."""
    one = cost(contender, mode, 1, jobs)
    many = cost(contender, mode, functions, jobs)
    return {"one": one, "many": many, "ratio": many / one}


def cases(scale: Scale) -> list[Case]:
    """Jobs that are waited for, and jobs that queue."""
    functions = scale.size(FUNCTIONS, 2_000)
    jobs = scale.size(150_000, 50_000)
    return [
        Case(
            f"{name}, jobs over {functions:,} functions in turn",
            (OURS, C_T0),
            (
                Measure("one", "server CPU per job, one function", "µs"),
                Measure("many", f"server CPU per job, {functions:,} functions", "µs"),
                Measure("ratio", "the one by the other", "", (at_most(1.3),)),
            ),
            partial(run, mode, functions, jobs),
            rounds=3,
            once=(C_T0,),
        )
        for name, mode in (("fg", "fg"), ("bg, queued and drained", "bg"))
    ]


BENCH = Bench("functions", "20,000 functions against one: CPU per job", cases)
