"""Drives pygearman's worker (python-gearman for Python 3); see README.md."""

from __future__ import annotations

import os
import sys
from typing import Any

import gearman


class Worker(gearman.GearmanWorker):
    """Tells of an exception as such, where the library only fails."""

    def on_job_exception(self, current_job: Any, exc_info: Any) -> bool:
        if exc_info[0] is ValueError:
            self.send_job_exception(current_job, str(exc_info[1]).encode())
            return False
        return bool(super().on_job_exception(current_job, exc_info))


def data_of(job: Any) -> bytes:
    return job.data.encode() if isinstance(job.data, str) else bytes(job.data)


def reverse(_worker: Any, job: Any) -> bytes:
    return data_of(job)[::-1]


def chatty(worker: Any, job: Any) -> bytes:
    worker.send_job_data(job, b"one")
    worker.send_job_warning(job, b"careful")
    worker.send_job_status(job, 1, 2)
    worker.send_job_data(job, b"two")
    worker.send_job_status(job, 2, 2)
    return b"done"


def fail(_worker: Any, _job: Any) -> bytes:
    raise RuntimeError("a plain failure")


def throw(_worker: Any, _job: Any) -> bytes:
    raise ValueError("boom")


def note(_worker: Any, job: Any) -> bytes:
    with open(os.environ["NOTES"], "ab") as notes:
        notes.write(data_of(job) + b"\n")
    return b""


worker = Worker([f"{sys.argv[1]}:{sys.argv[2]}"])
worker.set_client_id("pygearman")
for name, function in {
    "pygearman-reverse": reverse,
    "pygearman-chatty": chatty,
    "pygearman-fail": fail,
    "pygearman-raise": throw,
    "pygearman-note": note,
}.items():
    # As bytes: it compares the name with what it reads.
    worker.register_task(name.encode(), function)
worker.work()
