"""Our client and worker: ``geartrain_jobs.py WHAT HOST:PORT [COUNT]``; prints JSON."""

from __future__ import annotations

import json
import sys
import time

from geartrain.client.sync import Client
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker

BODY = b"x" * 32


def nothing(job: Job) -> bytes:
    """The job: give back what came."""
    return job.workload


def work(server: str, prefetch: int) -> None:
    """A worker, for ever."""
    worker = Worker(server, prefetch=prefetch)
    worker.add_function("bench0", nothing)
    worker.work()


def all_at_once(client: Client, count: int) -> dict[str, float]:
    """Submit all, then wait for all."""
    began = time.perf_counter()
    with client.batch():
        tasks = [client.submit("bench0", BODY) for _ in range(count)]
    results = client.gather(tasks)
    took = time.perf_counter() - began
    assert results == [BODY] * count
    return {"rate": count / took}


def one_at_a_time(client: Client, count: int) -> dict[str, float]:
    """``do`` after ``do``."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        client.do("bench0", BODY)
        took.append(time.perf_counter() - began)
    took.sort()
    return {"p50": took[count // 2] * 1e6, "p99": took[count * 99 // 100] * 1e6}


def background(client: Client, count: int) -> dict[str, float]:
    """``do_background``, each answered before the next."""
    began = time.perf_counter()
    for _ in range(count):
        client.do_background("queue0", BODY)
    return {"rate": count / (time.perf_counter() - began)}


def pipelined(client: Client, count: int) -> dict[str, float]:
    """``submit_background``, and then wait until the server has all."""
    began = time.perf_counter()
    with client.batch():
        tasks = [client.submit_background("queue0", BODY) for _ in range(count)]
    client.gather(tasks)
    assert all(task.handle_bytes for task in tasks)
    return {"rate": count / (time.perf_counter() - began)}


def peak() -> int:
    """The most bytes this process had; ru_maxrss would begin with its parent's."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def mapped(client: Client, count: int) -> dict[str, float]:
    """``map`` over a generator, results dropped as they come."""
    began = time.process_time()
    start = time.perf_counter()
    seen = sum(1 for _ in client.map("bench0", (BODY for _ in range(count))))
    assert seen == count
    return {
        "cpu": (time.process_time() - began) / count * 1e6,
        "rate": count / (time.perf_counter() - start),
        "peak": peak(),
    }


def main() -> None:
    """Do what the command line says."""
    what, server = sys.argv[1:3]
    if what in ("worker", "worker-without-prefetch"):
        work(server, 32 if what == "worker" else 0)
        return
    count = int(sys.argv[3])
    kinds = {
        "all": all_at_once,
        "one": one_at_a_time,
        "background": background,
        "pipelined": pipelined,
        "map": mapped,
    }
    with Client(server) as client:
        print(json.dumps(kinds[what](client, count)))


if __name__ == "__main__":
    main()
