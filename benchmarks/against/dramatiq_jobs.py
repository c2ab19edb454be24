"""Dramatiq on Redis: ``dramatiq_jobs.py WHAT HOST:PORT [COUNT]``; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]
from dramatiq.results import Results  # type: ignore[import-not-found]
from dramatiq.results.backends import RedisBackend  # type: ignore[import-not-found]

what, server = sys.argv[1:3]
broker: Any = RedisBroker(url=f"redis://{server}/0", middleware=[])
broker.add_middleware(Results(backend=RedisBackend(url=f"redis://{server}/1")))
dramatiq.set_broker(broker)


def nothing(body: str) -> str:
    """The job: give back what came."""
    return body


actor: Any = dramatiq.actor(nothing, store_results=True)
BODY = "x" * 32

if what == "worker":
    # What its command runs in each process, without the command's master process.
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    worker.join()
    while True:
        time.sleep(60)
else:
    count = int(sys.argv[3])
    began = time.perf_counter()
    messages = [actor.send(BODY) for _ in range(count)]
    results = [message.get_result(block=True, timeout=600_000) for message in messages]
    took = time.perf_counter() - began
    assert results == [BODY] * count
    print(json.dumps({"rate": count / took}))
