"""Does a job cost more when millions are queued? Server CPU, in and out, by queue length."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks import generator, process
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, at_most
from benchmarks.servers import Running, running

#: A short queue is filled and drained again and again, for at least so many jobs.
ENOUGH = 200_000


def spent(server: Running, jobs: int, times: int) -> tuple[float, float]:
    """Seconds of CPU to take ``jobs`` in, and to give them out, ``times`` times."""
    into = out = 0.0
    for _ in range(times):
        began = process.cpu_seconds(server.pid)
        generator.load(server, "submit", jobs=jobs, clients=8, depth=16)
        middle = process.cpu_seconds(server.pid)
        generator.load(server, "drain", jobs=jobs, workers=8)
        out += process.cpu_seconds(server.pid) - middle
        into += middle - began
    return into, out


def run(lengths: tuple[int, ...], contender: str) -> Mapping[str, float]:
    """Each length on a server of its own, less what connecting costs."""
    found: dict[str, float] = {}
    for length in lengths:
        times = max(1, ENOUGH // length)
        with running(contender) as server:
            spent(server, 1000, 5)
            least_in, least_out = spent(server, 1, 20)
            into, out = spent(server, length, times)
        found[f"in-{length}"] = (into / times - least_in / 20) / length * 1e6
        found[f"out-{length}"] = (out / times - least_out / 20) / length * 1e6
    first = found[f"in-{lengths[0]}"] + found[f"out-{lengths[0]}"]
    for length in lengths[1:]:
        found[f"flat-{length}"] = (found[f"in-{length}"] + found[f"out-{length}"]) / first
    return found


def cases(scale: Scale) -> list[Case]:
    """Ours alone: the C server's cost grows with its hash table's chains."""
    lengths: tuple[int, ...] = (1_000, 10_000, 100_000)
    if not scale.quick:
        lengths += (1_000_000,)
    if scale.full:
        lengths += (5_000_000,)
    measures = []
    for length in lengths:
        measures.append(Measure(f"in-{length}", f"CPU per submit, {length:,} queued", "µs"))
        measures.append(Measure(f"out-{length}", f"CPU per job drained, {length:,} queued", "µs"))
    for length in lengths[1:]:
        title = f"in and out, {length:,} queued by {lengths[0]:,} queued"
        measures.append(Measure(f"flat-{length}", title, "", (at_most(1.3),)))
    return [
        Case(
            f"up to {lengths[-1]:,} queued jobs",
            (OURS,),
            tuple(measures),
            partial(run, lengths),
            rounds=3,
        )
    ]


BENCH = Bench(
    "depth", "is the cost per job flat, however long the queue? (--full: 5,000,000)", cases
)
