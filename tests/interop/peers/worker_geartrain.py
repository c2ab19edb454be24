"""Drives our own Worker, in the same words as the others; see README.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from geartrain.errors import Fail
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker

worker = Worker(f"{sys.argv[1]}:{sys.argv[2]}", worker_id="geartrain")


@worker.function("geartrain-reverse")
def reverse(job: Job) -> bytes:
    return bytes(job.workload)[::-1]


@worker.function("geartrain-chatty")
def chatty(job: Job) -> bytes:
    job.send_data(b"one")
    job.send_warning(b"careful")
    job.send_status(1, 2)
    job.send_data(b"two")
    job.send_status(2, 2)
    return b"done"


@worker.function("geartrain-fail")
def fail(_job: Job) -> bytes:
    raise Fail


@worker.function("geartrain-raise")
def throw(_job: Job) -> bytes:
    raise ValueError("boom")


@worker.function("geartrain-note")
def note(job: Job) -> bytes:
    with Path(os.environ["NOTES"]).open("ab") as notes:
        notes.write(bytes(job.workload) + b"\n")
    return b""


worker.work()
