"""Ten thousand workers asleep: how fast they connect, what they take, how many one job wakes."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks import generator, wire
from benchmarks.measures import OURS, Bench, Case, Measure, Scale, at_most
from benchmarks.servers import C_DEFAULT, C_T0, Running, idle_share, running

FUNCTIONS = 10

#: The C server's default, 32, makes 10,000 connections at once take minutes:
#: the kernel drops what does not fit, and tries again a second later, then two.
BACKLOG = ("--backlog", "1024")


def connect(workers: int, contender: str) -> Mapping[str, float]:
    """gearload connects them, and an echo tells that all have been heard."""
    with running(contender, *BACKLOG) as server:
        found = generator.load(server, "idle", clients=workers, functions=FUNCTIONS)
    return {"seconds": found["seconds"], "bytes": found["bytes_per_conn"]}


def sleep(workers: int, seconds: float, contender: str) -> Mapping[str, float]:
    """They stay; nothing happens for a while; then there is one job."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < workers + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(workers + 100, hard), hard))
    with running(contender, *BACKLOG) as server, ExitStack() as stack:
        asleep = [stack.enter_context(_sleeper(server, number)) for number in range(workers)]
        poll = select.epoll()
        for one in asleep:
            poll.register(one, select.EPOLLIN)
        client = stack.enter_context(server.connect())
        client.sendall(wire.request(wire.ECHO_REQ, b"all heard?"))
        wire.receive(client)
        time.sleep(0.5)
        share = idle_share(server, seconds)
        client.sendall(wire.request(wire.SUBMIT_JOB_BG, b"bench0", b"", b"x"))
        wire.receive(client)
        time.sleep(0.5)
        woken = len(poll.poll(0, workers))
        poll.close()
    return {"idle": share, "woken": woken}


def _sleeper(server: Running, number: int) -> socket.socket:
    made = server.connect()
    made.sendall(
        wire.request(wire.CAN_DO, b"bench%d" % (number % FUNCTIONS)) + wire.request(wire.PRE_SLEEP)
    )
    return made


def cases(scale: Scale) -> list[Case]:
    """Connecting, and being there."""
    workers = scale.size(10_000, 2_000)
    return [
        Case(
            f"{workers:,} workers connect and go to sleep",
            (OURS, C_T0, C_DEFAULT),
            (
                Measure("seconds", "until all are heard", "s", (at_most(5.0),)),
                Measure("bytes", "memory of the server, each", "B", (at_most(8192),)),
            ),
            partial(connect, workers),
            rounds=3,
        ),
        Case(
            f"{workers:,} workers sleep, {workers // FUNCTIONS:,} of them for the function",
            (OURS, C_T0, C_DEFAULT),
            (
                Measure("idle", "of a core when nothing happens", "%", (at_most(1.0),)),
                Measure("woken", "workers woken by one job in 0.5 s", "", (at_most(4),)),
            ),
            partial(sleep, workers, 3.0 if not scale.quick else 1.0),
            rounds=1,
        ),
    ]


BENCH = Bench("sleepers", "10,000 sleeping workers: time, memory, CPU, wake-ups", cases)
