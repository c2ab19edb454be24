"""Large workloads: how often does the server hold them, and what do the others feel?"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from functools import partial

from benchmarks import generator, process, wire
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, Unmeasured, at_most
from benchmarks.servers import C_DEFAULT, C_T0, Running, running

MIB = 2**20
SERVERS = (OURS, C_T0, C_DEFAULT)


def flow(clients: int, depth: int, size: int, jobs: int, contender: str) -> Mapping[str, float]:
    """Jobs of ``size`` bytes, there and back; bytes in flight are all clients' workloads."""
    with running(contender) as server:
        generator.load(server, "fg", jobs=100, clients=clients, workers=clients, depth=1)
        process.forget_peak(server.pid)
        before = process.peak(server.pid)
        found = generator.load(
            server, "fg", jobs=jobs, clients=clients, workers=clients, depth=depth, payload=size
        )
        held = process.peak(server.pid) - before
    in_flight = min(clients * depth, jobs) * size
    return {
        "copies": held / in_flight,
        "held": held,
        "rate": found["jobs_per_s"] * size / MIB,
        "cpu": found["server_cpu_us_per_job"] / (size / MIB),
    }


def others(size: int, seconds: float, contender: str) -> Mapping[str, float]:
    """A small client's round trips, alone and then beside a stream of large jobs."""
    with running(contender) as server:
        alone = probe(server, seconds)
        words = generator.command(
            server, "fg", jobs=100_000, clients=1, workers=1, depth=1, payload=size
        )
        beside = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            time.sleep(0.5)
            found = probe(server, seconds)
            if beside.poll() is not None:
                raise Unmeasured(f"the large jobs ended with {beside.returncode}")
        finally:
            beside.kill()
            beside.communicate()
    return {
        "alone": alone[len(alone) * 99 // 100],
        "p50": found[len(found) // 2],
        "p99": found[len(found) * 99 // 100],
        "worst": found[-1],
    }


def probe(server: Running, seconds: float) -> list[float]:
    """µs from when each echo was due, one a millisecond, until its answer; sorted.

    From when it was due, not from when it could be sent: an answer that takes 50 ms makes
    fifty wait, and a client that only counts its own would see one.
    """
    took = []
    with server.connect() as connection:
        packet = wire.request(wire.ECHO_REQ, b"x" * 32)
        began = time.perf_counter()
        for number in range(int(seconds * 1000)):
            due = began + number / 1000
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.sendall(packet)
            wire.receive(connection)
            took.append((time.perf_counter() - due) * 1e6)
    return sorted(took)


def cases(scale: Scale) -> list[Case]:
    """1 MiB in a stream, 64 MiB once, and a small client beside 64 MiB."""

    def rows(unit: str) -> tuple[Measure, ...]:
        return (
            Measure("copies", "peak memory by bytes in flight", "", (at_most(3.0),)),
            Measure("held", "peak memory", "B"),
            Measure("rate", "MiB/s, there and back", ""),
            Measure("cpu", f"server CPU per {unit}", "µs"),
        )

    return [
        Case(
            "workload 1 MiB, 32 in flight",
            SERVERS,
            rows("MiB"),
            partial(flow, 8, 4, MIB, scale.size(1000, 200)),
            rounds=3,
        ),
        Case(
            "workload 64 MiB, once",
            SERVERS,
            rows("MiB"),
            partial(flow, 1, 1, 64 * MIB, 1),
            rounds=3,
        ),
        Case(
            "a small client (an echo a millisecond) beside jobs of 64 MiB",
            SERVERS,
            (
                Measure("alone", "p99 alone", "µs"),
                Measure("p50", "median beside them", "µs"),
                Measure("p99", "p99 beside them", "µs", (at_most(1.5, C_T0),), sized=True),
                Measure("worst", "worst beside them", "µs"),
            ),
            partial(others, 64 * MIB, 1.0 if scale.quick else 5.0),
            rounds=3,
        ),
    ]


BENCH = Bench("workload", "1 MiB and 64 MiB: memory, speed, what others feel", cases)
