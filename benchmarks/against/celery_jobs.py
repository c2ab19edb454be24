"""Celery on Redis: ``celery_jobs.py WHAT HOST:PORT [COUNT]``; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from celery import Celery, group  # type: ignore[import-not-found]

what, server = sys.argv[1:3]
app: Any = Celery("jobs", broker=f"redis://{server}/0", backend=f"redis://{server}/1")
app.conf.update(
    worker_prefetch_multiplier=1000,
    task_send_sent_event=False,
    worker_send_task_events=False,
    task_serializer="json",
    result_serializer="json",
)


def nothing(body: str) -> str:
    """The job: give back what came."""
    return body


task: Any = app.task(name="jobs.nothing")(nothing)
BODY = "x" * 32

if what == "worker":
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
    # One process that does it all: for jobs that do nothing the fastest pool.
    app.worker_main(["worker", "--pool=solo", "--concurrency=1", *quiet])
else:
    count = int(sys.argv[3])
    began = time.perf_counter()
    results = group(task.s(BODY) for _ in range(count)).apply_async().join_native(timeout=600)
    took = time.perf_counter() - began
    assert results == [BODY] * count
    print(json.dumps({"rate": count / took}))
