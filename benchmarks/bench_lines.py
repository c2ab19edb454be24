"""``gearman -n``: a job for each line, beside Debian's ``gearman`` on the same server.

gearload is the worker, since a worker that runs a command for each line would be all that
one measures.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks import generator
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, Unmeasured, at_least, at_most
from benchmarks.servers import Running, own_environment, own_tool, running

DEBIAN = "/usr/bin/gearman"
DEBIANS = "Debian's gearman"
MIB = 2**20


def tool(contender: str) -> str:
    """The ``gearman`` of a contender."""
    if contender == OURS:
        return own_tool("gearman")
    if not os.access(DEBIAN, os.X_OK):
        raise Unmeasured(f"{DEBIAN} is absent; `apt-get install gearman-tools` brings it")
    return DEBIAN


def send(contender: str, server: Running, options: list[str], lines: bytes) -> tuple[float, bytes]:
    """Seconds that it took, and what it printed."""
    words = [tool(contender), "-h", "127.0.0.1", "-p", str(server.port), "-f", "bench0", *options]
    with tempfile.TemporaryFile() as source:
        source.write(lines)
        source.seek(0)
        began = time.perf_counter()
        done = subprocess.run(
            words,
            stdin=source,
            capture_output=True,
            check=False,
            env=own_environment(),
            timeout=600,
        )
        took = time.perf_counter() - began
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        raise Unmeasured(f"{words[0]} ended with {done.returncode}: {said[-300:]}")
    return took, done.stdout


@contextlib.contextmanager
def drain(server: Running, jobs: int) -> Iterator[None]:
    """A worker that ends when it has done so many jobs."""
    words = generator.command(server, "drain", jobs=jobs, workers=1)
    worker = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.1)
        yield
    finally:
        worker.kill()
        worker.wait()


def text(count: int) -> bytes:
    """That many lines of some 60 bytes, no two the same."""
    return b"".join(
        b'10.0.0.%d - - "GET /page/%d HTTP/1.1" 200 %d\n' % (n % 251, n, n * 7919 % 65536)
        for n in range(count)
    )


def foreground(count: int, contender: str) -> Mapping[str, float]:
    """Results come back, all of them, whatever their order."""
    lines = text(count)
    with running(OURS) as server, drain(server, count):
        took, said = send(contender, server, ["-n"], lines)
    if sorted(said.splitlines()) != sorted(lines.splitlines()):
        raise Unmeasured(f"{count} lines sent, {len(said.splitlines())} came back, or others")
    return {"seconds": took, "rate": count / took}


def background(count: int, few: int, contender: str) -> Mapping[str, float]:
    """Nobody drains them meanwhile; Debian's is given fewer."""
    count = count if contender == OURS else few
    with running(OURS) as server:
        took, _ = send(contender, server, ["-b", "-n"], text(count))
    return {"rate": count / took}


def through_cat(size: int, contender: str) -> Mapping[str, float]:
    """A large workload through ``gearman -w -- cat``."""
    sent = os.urandom(MIB) * (size // MIB)
    with running(OURS) as server:
        words = ["-h", "127.0.0.1", "-p", str(server.port), "-w", "-f", "bench0", "--", "cat"]
        worker = subprocess.Popen([tool(contender), *words], env=own_environment())
        try:
            took, got = send(contender, server, [], sent)
        finally:
            worker.terminate()
            worker.wait()
    return {"rate": size / took / MIB, "same": float(got == sent)}


def start(times: int, contender: str) -> Mapping[str, float]:
    """Time to a first answer, less that of an interpreter that does nothing."""
    with running(OURS) as server, drain(server, 10 * times):
        words = [tool(contender), "-h", "127.0.0.1", "-p", str(server.port), "-f", "bench0", "x"]
        commands = {"job": words}
        if contender == OURS:
            commands["empty"] = [sys.executable, "-c", "pass"]
            commands["version"] = [tool(contender), "--version"]
        took = {key: [time_of(one)] for key, one in commands.items()}
        for _ in range(times - 1):
            for key, one in commands.items():
                took[key].append(time_of(one))
    values = {}
    for key, found in took.items():
        wall, cpu = (sorted(kind)[times // 2] * 1000 for kind in zip(*found, strict=True))
        values[key], values[f"{key}-cpu"] = wall, cpu
    if contender == OURS:
        for key in ("job", "job-cpu", "version", "version-cpu"):
            values[key] -= values["empty-cpu" if key.endswith("cpu") else "empty"]
    return values


def time_of(words: list[str]) -> tuple[float, float]:
    """Seconds from start to end of a command, and of processor time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=own_environment()
    )
    took = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def cases(scale: Scale) -> list[Case]:
    """Lines with and without results, one large workload, start-up."""
    if not Path(own_tool("gearman")).exists():
        raise Unmeasured("gearman is not installed; `make setup` installs it")
    both = (OURS, DEBIANS) if os.access(DEBIAN, os.X_OK) else (OURS,)
    count = scale.size(20_000, 5_000)
    size = scale.size(100, 20)
    return [
        Case(
            f"gearman -n, {count:,} lines",
            both,
            (
                Measure(
                    "seconds", "all of it", "s", (at_most(round(1 / 7, 3), DEBIANS),), sized=True
                ),
                Measure("rate", "lines/s", ""),
            ),
            partial(foreground, count),
            rounds=3,
        ),
        Case(
            "gearman -b -n",
            both,
            (Measure("rate", "lines/s", "", (at_least(60_000),), sized=True),),
            partial(background, scale.size(300_000, 50_000), count),
            rounds=3,
        ),
        Case(
            f"{size} MB through gearman -w -- cat",
            (OURS,),
            (
                Measure("rate", "MiB/s", ""),
                Measure("same", "comes back identical (1: yes)", "", (at_least(1),)),
            ),
            partial(through_cat, size * MIB),
            rounds=2,
        ),
        Case(
            "gearman starts",
            both,
            (
                Measure("empty", "python -c pass", "ms"),
                Measure("version", "gearman --version, less that", "ms", (at_most(60),)),
                Measure("job", "one job and its result, less that", "ms", (at_most(60),)),
                Measure("empty-cpu", "processor time: python -c pass", "ms"),
                Measure("version-cpu", "... gearman --version, less that", "ms"),
                Measure("job-cpu", "... one job, less that", "ms"),
            ),
            partial(start, scale.size(15, 5)),
            rounds=3,
        ),
    ]


BENCH = Bench("lines", "the gearman command: lines/s, large workloads, start-up", cases)
