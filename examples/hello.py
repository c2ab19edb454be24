"""The first job: a worker that turns text round, and a client that asks for it.

    gearmand &                      # or any other Gearman server on localhost:4730
    python hello.py worker &
    python hello.py "Hello World!"

Servers come from GEARMAN_SERVERS, or it is localhost; so in all examples.
"""

from __future__ import annotations

import sys

import geartrain


def work() -> None:
    worker = geartrain.Worker()
    worker.add_function("reverse", lambda job: job.workload[::-1])
    worker.work()


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        work()
    else:
        print(geartrain.Client().do("reverse", " ".join(sys.argv[1:]) or "Hello World!").decode())
