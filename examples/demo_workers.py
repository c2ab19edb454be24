"""Three functions in Python: ``reverse``, ``resize`` (a thumbnail) and ``shout`` (with progress).

    python examples/demo_workers.py

Servers come from GEARMAN_SERVERS, or it is localhost.
"""

from __future__ import annotations

import io

from PIL import Image

import geartrain

worker = geartrain.Worker()


@worker.function("reverse")
def reverse(job: geartrain.Job) -> bytes:
    return job.workload[::-1]


@worker.function("resize")
def resize(job: geartrain.Job) -> bytes:
    """A picture in, a picture of 96 pixels out."""
    with Image.open(io.BytesIO(job.workload)) as picture:
        picture.thumbnail((96, 96))
        small = io.BytesIO()
        picture.save(small, "JPEG")
    return small.getvalue()


@worker.function("shout")
def shout(job: geartrain.Job) -> bytes:
    """A line at a time, and tells how far it is."""
    lines = job.workload.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        job.send_data(line.upper())
        job.send_status(number, len(lines))
    return b""


if __name__ == "__main__":
    worker.work()
