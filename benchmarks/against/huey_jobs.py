"""Huey on Redis: ``huey_jobs.py WHAT HOST:PORT [COUNT]``; prints JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from huey import RedisHuey  # type: ignore[import-not-found]

what, server = sys.argv[1:3]
huey: Any = RedisHuey("jobs", url=f"redis://{server}/0")
logging.getLogger("huey").setLevel(logging.ERROR)


def nothing(body: str) -> str:
    """The job: give back what came."""
    return body


task: Any = huey.task()(nothing)
BODY = "x" * 32

if what == "worker":
    huey.create_consumer(workers=4, periodic=False, worker_type="thread").run()
else:
    count = int(sys.argv[3])
    began = time.perf_counter()
    waiting = [task(BODY) for _ in range(count)]
    # It polls; the default pause begins with 0.1 s.
    results = [one.get(blocking=True, timeout=600, max_delay=0.002) for one in waiting]
    took = time.perf_counter() - began
    assert results == [BODY] * count
    print(json.dumps({"rate": count / took}))
