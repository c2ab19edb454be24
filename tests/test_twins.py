"""The classes for asyncio have the names of their plain twins, and take the same arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import geartrain
from geartrain.client.aio_waiting import AsyncTaskSet
from geartrain.client.remote import AsyncRemoteFunction, RemoteFunction
from geartrain.client.waiting import TaskSet
from geartrain.typed.aio import AsyncFunction
from geartrain.worker.options import WorkerOptions

#: What one of the two has for itself, and why.
OWN = {
    # On a loop one awaits: nobody has to wait for all.
    "Client": {"wait_until"},
    # One loop needs neither processes nor an answer to "inline or thread?".
    "Worker": {"grace", "in_child", "is_stopping", "is_stopping_now"},
    # The declaration is one; only the verbs have twins.
    "Function": {"aio", "declaration", "is_async", "name", "timeout"},
}
# A loop has jobs on their way as soon as its concurrency is more than one.
OWN_ARGUMENTS = {("Worker", "__init__"): {"pool", "multiplex", "prefetch"}}

TWINS: list[tuple[type[Any], type[Any]]] = [
    (geartrain.Client, geartrain.AsyncClient),
    (geartrain.Task, geartrain.AsyncTask),
    (TaskSet, AsyncTaskSet),
    (RemoteFunction, AsyncRemoteFunction),
    (geartrain.Worker, geartrain.AsyncWorker),
    (geartrain.AdminClient, geartrain.AsyncAdminClient),
    (geartrain.Function, AsyncFunction),
]


def face(kind: type[Any]) -> set[str]:
    """What users may write behind the dot, and the protocols of Python that they use unawares."""
    names = {
        name
        for part in kind.__mro__
        if part.__module__.startswith("geartrain")
        for name in vars(part)
    }
    spoken = {"__iter__", "__len__", "__contains__", "__call__"}
    return {name for name in names if name[0] != "_" or name in spoken}


def arguments(kind: type[Any], name: str) -> dict[str, Any]:
    value = inspect.getattr_static(kind, name)
    if not callable(value):
        return {}
    return {p.name: p.default for p in inspect.signature(getattr(kind, name)).parameters.values()}


def test_options_of_an_app_s_worker_are_the_arguments_of_a_worker() -> None:
    assert set(WorkerOptions.__annotations__) == set(arguments(geartrain.Worker, "__init__")) - {
        "self"
    }


@pytest.mark.parametrize(("plain", "twin"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_have_the_same_names(plain: type[Any], twin: type[Any]) -> None:
    missing = face(plain) - face(twin) - OWN.get(plain.__name__, set()) - {"__call__"}

    assert not missing


@pytest.mark.parametrize(("plain", "twin"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_take_the_same_arguments(plain: type[Any], twin: type[Any]) -> None:
    different = {}
    for name in (face(plain) & face(twin)) | (
        {"__init__"} if plain.__name__ != "Function" else set()
    ):
        ours, theirs = arguments(plain, name), arguments(twin, name)
        own = OWN_ARGUMENTS.get((plain.__name__, name), set())
        if {k: v for k, v in ours.items() if k not in own} != {
            k: v for k, v in theirs.items() if k not in own
        }:
            different[name] = (ours, theirs)

    assert not different
