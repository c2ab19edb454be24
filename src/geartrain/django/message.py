"""Message: a Django task as the workload of a job, and as what is kept of it.

The workload is plain JSON::

    {
        "id": "...",
        "task": "shop.tasks.send_mail",
        "args": [1],
        "kwargs": {},
        "priority": 0,
        "enqueued_at": "2026-01-31T12:00:00+00:00",
    }

What a results cache keeps is the same with the outcome. Both are read by later
releases: fields are added, never renamed.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.utils.module_loading import import_string

from geartrain.django.tasks import Task, TaskError, TaskResult, TaskResultStatus

_TIMES = ("enqueued_at", "started_at", "finished_at", "last_attempted_at")


def to_workload(result: TaskResult) -> bytes:
    """The workload of a result that is to be."""
    return json.dumps(
        {
            "id": result.id,
            "task": result.task.module_path,
            "args": result.args,
            "kwargs": result.kwargs,
            "priority": result.task.priority,
            "enqueued_at": _text(result.enqueued_at),
        }
    ).encode()


def to_record(result: TaskResult) -> dict[str, Any]:
    """A result as plain values, for a cache."""
    return {
        "id": result.id,
        "task": result.task.module_path,
        "args": result.args,
        "kwargs": result.kwargs,
        "priority": result.task.priority,
        "queue": result.task.queue_name,
        "run_after": _text(result.task.run_after),
        "status": str(result.status),
        "errors": [[error.exception_class_path, error.traceback] for error in result.errors],
        "worker_ids": result.worker_ids,
        "return_value": result._return_value,
        **{name: _text(getattr(result, name)) for name in _TIMES},
    }


def from_record(record: dict[str, Any], backend: str, queue: str) -> TaskResult:
    """A result from a workload or from a cache.

    Raises:
        ImportError, AttributeError, TypeError, ValueError: there is no such task here.
    """
    task = import_string(record["task"])
    if not isinstance(task, Task):
        # Whoever can submit names the task: nothing else may be called.
        raise TypeError(f"{record['task']!r} is no task")
    task = task.using(
        priority=record.get("priority", 0),
        queue_name=record.get("queue", queue),
        run_after=_time(record.get("run_after")),
        backend=backend,
    )
    result = TaskResult(
        task=task,
        id=record["id"],
        status=TaskResultStatus(record.get("status", TaskResultStatus.READY)),
        args=record.get("args", []),
        kwargs=record.get("kwargs", {}),
        backend=backend,
        errors=[
            TaskError(exception_class_path=path, traceback=text)
            for path, text in record.get("errors", [])
        ],
        worker_ids=list(record.get("worker_ids", [])),
        **{name: _time(record.get(name)) for name in _TIMES},
    )
    object.__setattr__(result, "_return_value", record.get("return_value"))
    return result


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
