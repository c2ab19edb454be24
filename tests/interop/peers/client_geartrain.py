"""Drives our own Client, in the same words as the others; see README.md."""

from __future__ import annotations

import sys
from typing import Any

from speak import (
    Answer,
    Asked,
    speak,
)

import geartrain
from geartrain.client import events
from geartrain.client.sync import Client
from geartrain.errors import GearmanTimeout, JobException, JobFailed

SERVER = f"{sys.argv[1]}:{sys.argv[2]}"

clients = {
    exceptions: Client(SERVER, exceptions=exceptions, timeout=10) for exceptions in (False, True)
}
client = clients[False]
patience: float | None = 10.0


def options(asked: Asked) -> dict[str, Any]:
    chosen: dict[str, Any] = {"priority": asked.get("priority") or "normal"}
    if asked.get("unique"):
        chosen["unique"] = asked["unique"]
    return chosen


def call(asked: Asked) -> Answer:
    workload = bytes.fromhex(asked["workload"])
    try:
        result = client.do(asked["function"], workload, timeout=patience, **options(asked))
    except JobException as error:
        return {"exception": error.data.hex()}
    except JobFailed:
        return {"failed": True}
    except GearmanTimeout as error:
        return {"error": f"timeout: {error}"}
    return {"result": result.hex()}


def as_list(event: object) -> list[str]:
    match event:
        case events.JobCreated(handle):
            return ["created", handle.hex()]
        case events.WorkData(data):
            return ["data", data.hex()]
        case events.WorkWarning(data):
            return ["warning", data.hex()]
        case events.WorkStatus(numerator, denominator):
            return ["status", (b"%d" % numerator).hex(), (b"%d" % denominator).hex()]
        case events.WorkComplete(data):
            return ["complete", data.hex()]
        case events.WorkFail():
            return ["fail"]
        case events.WorkException(data):
            return ["exception", data.hex()]
    raise TypeError(event)


def task(asked: Asked) -> Answer:
    submitted = client.submit(asked["function"], bytes.fromhex(asked["workload"]), **options(asked))
    return {"events": [as_list(event) for event in submitted.events(patience)]}


def background(asked: Asked) -> Answer:
    workload = bytes.fromhex(asked["workload"])
    return {"handle": str(client.do_background(asked["function"], workload, **options(asked)))}


def many(asked: Asked) -> Answer:
    tasks = [client.submit(asked["function"], bytes.fromhex(one)) for one in asked["workloads"]]
    return {"results": [result.hex() for result in client.gather(tasks, timeout=patience)]}


def status(asked: Asked) -> Answer:
    told = client.status(asked["handle"])
    return {"status": [int(told.known), int(told.running), told.numerator, told.denominator]}


def ping(_asked: Asked) -> Answer:
    return {"ok": client.ping(b"are you there?") >= 0}


def exceptions(_asked: Asked) -> Answer:
    global client
    client = clients[True]
    return {"ok": True}


def patient(asked: Asked) -> Answer:
    global patience
    patience = float(asked["seconds"])
    return {"ok": True}


speak(
    {
        "call": call,
        "task": task,
        "background": background,
        "many": many,
        "status": status,
        "ping": ping,
        "exceptions": exceptions,
        "patience": patient,
        "version": lambda _asked: {"version": geartrain.__version__},
    }
)
