"""Drives gear's Worker; see README.md."""

from __future__ import annotations

import os
import sys
from typing import Any

import gear


def reverse(job: Any) -> None:
    job.sendWorkComplete(bytes(job.arguments)[::-1])


def chatty(job: Any) -> None:
    job.sendWorkData(b"one")
    job.sendWorkWarning(b"careful")
    job.sendWorkStatus(1, 2)
    job.sendWorkData(b"two")
    job.sendWorkStatus(2, 2)
    job.sendWorkComplete(b"done")


def fail(job: Any) -> None:
    job.sendWorkFail()


def throw(job: Any) -> None:
    job.sendWorkException(b"boom")


def note(job: Any) -> None:
    with open(os.environ["NOTES"], "ab") as notes:
        notes.write(bytes(job.arguments) + b"\n")
    job.sendWorkComplete()


FUNCTIONS = {
    "gear-reverse": reverse,
    "gear-chatty": chatty,
    "gear-fail": fail,
    "gear-raise": throw,
    "gear-note": note,
}

worker = gear.Worker("gear")
worker.addServer(sys.argv[1], int(sys.argv[2]))
worker.waitForServer()
for name in FUNCTIONS:
    worker.registerFunction(name)
while True:
    job = worker.getJob()
    FUNCTIONS[job.name](job)
