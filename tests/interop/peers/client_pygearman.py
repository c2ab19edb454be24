"""Drives pygearman's client (python-gearman for Python 3); see README.md."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import gearman
from speak import (
    Answer,
    Asked,
    speak,
)

SERVER = f"{sys.argv[1]}:{sys.argv[2]}"
PRIORITIES = {
    "high": gearman.PRIORITY_HIGH,
    "normal": gearman.PRIORITY_NONE,
    "low": gearman.PRIORITY_LOW,
}

patience = 10.0
client: Any = gearman.GearmanClient([SERVER])
background: dict[str, Any] = {}


def as_hex(data: Any) -> str:
    if data is None:
        return ""
    return (data.encode() if isinstance(data, str) else bytes(data)).hex()


def as_text(handle: Any) -> str:
    return handle.decode() if isinstance(handle, bytes) else str(handle)


def submit(asked: Asked, in_background: bool, workload: bytes) -> Any:
    return client.submit_job(
        asked["function"],
        workload,
        unique=asked.get("unique"),
        priority=PRIORITIES[asked.get("priority") or "normal"],
        background=in_background,
        wait_until_complete=True,
        poll_timeout=patience,
    )


def finished(request: Any) -> Answer:
    if request.timed_out:
        return {"error": "timeout"}
    if request.exception is not None:
        return {"exception": as_hex(request.exception)}
    if request.state == gearman.JOB_FAILED:
        return {"failed": True}
    data = "".join(as_hex(one) for one in request.data_updates)
    return {"result": data + as_hex(request.result)}


def call(asked: Asked) -> Answer:
    return finished(submit(asked, False, bytes.fromhex(asked["workload"])))


def in_background(asked: Asked) -> Answer:
    request = submit(asked, True, bytes.fromhex(asked["workload"]))
    handle = as_text(request.job.handle)
    background[handle] = request
    return {"handle": handle}


def many(asked: Asked) -> Answer:
    jobs = [{"task": asked["function"], "data": bytes.fromhex(one)} for one in asked["workloads"]]
    requests = client.submit_multiple_jobs(
        jobs, background=False, wait_until_complete=True, poll_timeout=patience
    )
    return {"results": [as_hex(request.result) for request in requests]}


def status(asked: Asked) -> Answer:
    request = client.get_job_status(background[asked["handle"]], poll_timeout=patience)
    told = request.status
    return {
        "status": [int(told[key]) for key in ("known", "running", "numerator", "denominator")],
    }


def patient(asked: Asked) -> Answer:
    global patience
    patience = float(asked["seconds"])
    return {"ok": True}


def admin(_asked: Asked) -> Answer:
    """What its administrator's client reads out of the text protocol."""
    administrator = gearman.GearmanAdminClient([SERVER])
    return {
        "ping": administrator.ping_server(),
        "version": administrator.get_version(),
        "pid": administrator.get_pid(),
        "status": [list(map(str, row.values())) for row in administrator.get_status()],
        "workers": [str(row) for row in administrator.get_workers()],
        "jobs": [str(row) for row in administrator.get_jobs()],
    }


speak(
    {
        "call": call,
        "background": in_background,
        "many": many,
        "status": status,
        "patience": patient,
        "admin": admin,
        "version": lambda _asked: {"version": version("pygearman")},
    }
)
