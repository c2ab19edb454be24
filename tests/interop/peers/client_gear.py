"""Drives gear's Client; see README.md."""

from __future__ import annotations

import sys
import threading
from importlib.metadata import version
from typing import Any

import gear
from speak import (
    Answer,
    Asked,
    speak,
)

PRECEDENCE = {
    "high": gear.PRECEDENCE_HIGH,
    "normal": gear.PRECEDENCE_NORMAL,
    "low": gear.PRECEDENCE_LOW,
}


class Client(gear.Client):
    """Notes what it hears of each job, and tells when it is over."""

    def __init__(self) -> None:
        super().__init__("gear")
        self.patience = 10.0

    def submit(self, asked: Asked, workload: bytes, background: bool = False) -> Any:
        job = gear.Job(asked["function"].encode(), workload, (asked.get("unique") or "").encode())
        job.events = []
        job.over = threading.Event()
        job.answered = threading.Event()
        self.submitJob(
            job, background=background, precedence=PRECEDENCE[asked.get("priority") or "normal"]
        )
        return job

    def run(self, asked: Asked, workload: bytes) -> Any:
        job = self.submit(asked, workload)
        if not job.over.wait(self.patience):
            raise TimeoutError("timeout")
        return job

    def _note(self, kind: str, job: Any, *data: bytes) -> Any:
        job.events.append([kind, *(one.hex() for one in data)])
        return job

    def handleJobCreated(self, packet: Any) -> Any:
        job = super().handleJobCreated(packet)
        return self._note("created", job, packet.getArgument(0))

    def handleWorkData(self, packet: Any) -> Any:
        return self._note("data", super().handleWorkData(packet), packet.getArgument(1, True))

    def handleWorkWarning(self, packet: Any) -> Any:
        return self._note("warning", super().handleWorkWarning(packet), packet.getArgument(1, True))

    def handleWorkStatus(self, packet: Any) -> Any:
        job = super().handleWorkStatus(packet)
        return self._note("status", job, job.numerator, job.denominator)

    def handleWorkComplete(self, packet: Any) -> Any:
        job = super().handleWorkComplete(packet)
        self._note("complete", job, packet.getArgument(1, True))
        job.over.set()
        return job

    def handleWorkFail(self, packet: Any) -> Any:
        job = self._note("fail", super().handleWorkFail(packet))
        job.over.set()
        return job

    def handleWorkException(self, packet: Any) -> Any:
        job = super().handleWorkException(packet)
        self._note("exception", job, packet.getArgument(1, True))
        job.over.set()
        return job

    def handleStatusRes(self, packet: Any) -> Any:
        job = super().handleStatusRes(packet)
        job.answered.set()
        return job


client = Client()
client.addServer(sys.argv[1], int(sys.argv[2]))
client.waitForServer()
background: dict[str, Any] = {}


def call(asked: Asked) -> Answer:
    job = client.run(asked, bytes.fromhex(asked["workload"]))
    if job.exception is not None:
        return {"exception": job.exception.hex()}
    if job.failure:
        return {"failed": True}
    return {"result": b"".join(job.data).hex()}


def task(asked: Asked) -> Answer:
    return {"events": client.run(asked, bytes.fromhex(asked["workload"])).events}


def in_background(asked: Asked) -> Answer:
    job = client.submit(asked, bytes.fromhex(asked["workload"]), background=True)
    background[job.handle.decode()] = job
    return {"handle": job.handle.decode()}


def many(asked: Asked) -> Answer:
    jobs = [client.submit(asked, bytes.fromhex(one)) for one in asked["workloads"]]
    for job in jobs:
        if not job.over.wait(client.patience):
            raise TimeoutError("timeout")
    return {"results": [b"".join(job.data).hex() for job in jobs]}


def status(asked: Asked) -> Answer:
    job = background[asked["handle"]]
    job.answered.clear()
    packet = gear.Packet(gear.constants.REQ, gear.constants.GET_STATUS, job.handle)
    # It files what it asks for under the connection, and foreground jobs only.
    job.connection.related_jobs[job.handle] = job
    client.sendPacket(packet, job.connection)
    if not job.answered.wait(client.patience):
        raise TimeoutError("timeout")
    return {
        "status": [int(job.known), int(job.running), int(job.numerator), int(job.denominator)],
    }


def exceptions(_asked: Asked) -> Answer:
    return {"ok": client.setOption("exceptions")}


def patience(asked: Asked) -> Answer:
    client.patience = float(asked["seconds"])
    return {"ok": True}


def admin(_asked: Asked) -> Answer:
    """What its own requests for the text protocol read."""
    connection = client.getConnection()
    answers = {}
    for name, request in (
        ("version", gear.VersionAdminRequest()),
        ("status", gear.StatusAdminRequest()),
        ("workers", gear.WorkersAdminRequest()),
        ("jobs", gear.ShowJobsAdminRequest()),
        ("unique jobs", gear.ShowUniqueJobsAdminRequest()),
        ("cancel", gear.CancelJobAdminRequest(b"H:nobody:1")),
    ):
        connection.sendAdminRequest(request, timeout=client.patience)
        answers[name] = request.response.decode()
    return {"admin": answers}


speak(
    {
        "call": call,
        "task": task,
        "background": in_background,
        "many": many,
        "status": status,
        "exceptions": exceptions,
        "patience": patience,
        "admin": admin,
        "version": lambda _asked: {"version": version("gear")},
    }
)
