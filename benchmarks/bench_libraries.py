"""The Python client and worker, beside Celery, Dramatiq, Huey and the PHP extension."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks import peers
from benchmarks.bench_lines import drain, time_of
from benchmarks.measures import (
    OURS,
    Bench,
    Case,
    Measure,
    Scale,
    Unmeasured,
    at_least,
    at_most,
)
from benchmarks.peers import CELERY, DRAMATIQ, HUEY, PHP
from benchmarks.servers import own_python, running

WARM_UP = 200


def end_to_end(count: int, contender: str) -> Mapping[str, float]:
    """One client process, one worker process, all jobs in flight, all results back."""
    if why := peers.absent(contender):
        raise Unmeasured(why)
    # Those that take long get fewer; it is the rate that counts.
    count = count if contender in (OURS, PHP) else count // 5
    if contender in peers.ON_REDIS:
        with peers.redis() as address, peers.worker(contender, address):
            peers.client(contender, "all", address, WARM_UP)
            return peers.client(contender, "all", address, count)
    rates = {}
    kinds = {"rate": "worker", "plain": "worker-without-prefetch"}
    for measure, kind in kinds.items() if contender == OURS else [("rate", "worker")]:
        with running(OURS) as server, peers.worker(contender, server.address, kind):
            peers.client(contender, "all", server.address, WARM_UP)
            rates[measure] = peers.client(contender, "all", server.address, count)["rate"]
    return rates


def with_worker(what: str, count: int, contender: str) -> Mapping[str, float]:
    """The client alone: gearload is the worker, the server is ours."""
    if why := peers.absent(contender):
        raise Unmeasured(why)
    with running(OURS) as server, drain(server, count):
        return peers.client(contender, what, server.address, count)


def queueing(count: int, contender: str) -> Mapping[str, float]:
    """Jobs that nobody waits for, one at a time and many at a time."""
    if why := peers.absent(contender):
        raise Unmeasured(why)
    with running(OURS) as server:
        one = peers.client(contender, "background", server.address, count)
        many = peers.client(contender, "pipelined", server.address, count * 4)
    if contender == OURS:
        return {"one": one["rate"], "many": many["rate"]}
    # The bar for many at a time is PHP's way of one at a time.
    return {"one": one["rate"], "many": one["rate"], "tasks": many["rate"]}


def cold(times: int, contender: str) -> Mapping[str, float]:
    """A process that imports us and does one job, less one that does nothing."""
    code = (
        "import geartrain; from geartrain.client.sync import Client;"
        " Client({!r}).do('bench0', b'x')"
    )
    with running(OURS) as server, drain(server, 10 * times):
        jobs, nothing = [], []
        for _ in range(times):
            jobs.append(time_of([own_python(), "-c", code.format(server.address)]))
            nothing.append(time_of([own_python(), "-c", "pass"]))
    wall, cpu = (sorted(kind)[times // 2] * 1000 for kind in zip(*jobs, strict=True))
    no_wall, no_cpu = (sorted(kind)[times // 2] * 1000 for kind in zip(*nothing, strict=True))
    return {"wall": wall - no_wall, "cpu": cpu - no_cpu}


def mapping(few: int, many: int, contender: str) -> Mapping[str, float]:
    """``map`` over few and over many: does a task cost more, does it all take more memory?"""
    with running(OURS) as server, drain(server, few + many):
        small = peers.client(contender, "map", server.address, few)
        large = peers.client(contender, "map", server.address, many)
    return {
        "cpu": large["cpu"],
        "rate": large["rate"],
        "peak": large["peak"],
        "memory": large["peak"] / small["peak"],
        "cost": large["cpu"] / small["cpu"],
    }


def cases(scale: Scale) -> list[Case]:
    """The rows of the libraries."""
    peers.library()
    few, many = scale.size(10_000, 2_000), scale.size(100_000, 20_000)
    return [
        Case(
            "jobs that do nothing, all in flight, one client process, one worker process",
            (OURS, CELERY, DRAMATIQ, HUEY, PHP),
            (
                Measure(
                    "rate",
                    "jobs/s, results back",
                    "",
                    (
                        at_least(10, CELERY),
                        at_least(4, DRAMATIQ),
                        at_least(4, HUEY),
                        at_least(1.5, PHP),
                    ),
                ),
                Measure("plain", "jobs/s, our worker without prefetch", ""),
            ),
            partial(end_to_end, scale.size(20_000, 5_000)),
            rounds=3,
        ),
        Case(
            "all in flight, the client alone (gearload works)",
            (OURS, PHP),
            (Measure("rate", "jobs/s", ""),),
            partial(with_worker, "all", scale.size(20_000, 5_000)),
            rounds=3,
        ),
        Case(
            "one do at a time (gearload works)",
            (OURS, PHP),
            (
                Measure("p50", "round trip, median", "µs", (at_most(1.3, PHP),)),
                Measure("p99", "round trip, p99", "µs"),
            ),
            partial(with_worker, "one", scale.size(5_000, 2_000)),
        ),
        Case(
            "do_background",
            (OURS, PHP),
            (
                Measure("one", "jobs/s, one at a time", "", (at_least(0.8, PHP),)),
                Measure("many", "jobs/s, pipelined (PHP: doBackground)", "", (at_least(5, PHP),)),
                Measure("tasks", "jobs/s, PHP's addTaskBackground", ""),
            ),
            partial(queueing, scale.size(10_000, 2_000)),
        ),
        Case(
            "from a cold process: import geartrain, one do, less python -c pass",
            (OURS,),
            (
                Measure("wall", "time", "ms", (at_most(60),)),
                Measure("cpu", "processor time", "ms"),
            ),
            partial(cold, scale.size(15, 5)),
            rounds=3,
        ),
        Case(
            f"map over {many:,}, and over {few:,}",
            (OURS,),
            (
                Measure("rate", "tasks/s", ""),
                Measure("cpu", "client CPU per task", "µs"),
                Measure("peak", "peak memory of the client", "B"),
                Measure("memory", "peak memory, many by few", "", (at_most(1.1),)),
                Measure("cost", "CPU per task, many by few", "", (at_most(1.3),)),
            ),
            partial(mapping, few, many),
            rounds=3,
        ),
    ]


BENCH = Bench("libraries", "the client and worker, beside Celery, Dramatiq, Huey, PHP", cases)
