"""How a worker runs one Django task."""

from __future__ import annotations

import json
from traceback import format_exception
from typing import Any

from django import db
from django.utils import timezone

from geartrain.django.backend import GearmanBackend
from geartrain.django.message import from_record
from geartrain.django.tasks import (
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)
from geartrain.errors import Fail
from geartrain.worker.job import Job


class Runner:
    """The handler of a queue's function.

    Args:
        backend: whose tasks these are.
        queue: name of the queue.
        worker_id: name of this worker, in results.
    """

    def __init__(self, backend: GearmanBackend, queue: str, worker_id: str) -> None:
        self._backend = backend
        self._queue = queue
        self._worker_id = worker_id

    def __call__(self, job: Job) -> bytes:
        """Do one job.

        Raises:
            Fail: the workload is no task of ours, or the task has raised; the result
                has the traceback, and Django's ``task_finished`` has logged it.
        """
        try:
            record = json.loads(job.workload)
            result = from_record(record, self._backend.alias, self._queue)
        except (ImportError, AttributeError, TypeError, ValueError, KeyError) as error:
            raise Fail(f"not a task of this project: {type(error).__name__}: {error}") from error
        db.reset_queries()
        db.close_old_connections()
        try:
            failure = self._run(result)
        finally:
            db.close_old_connections()
        if failure is not None:
            raise Fail(f"{type(failure).__name__}: {failure}") from failure
        return b""

    def _run(self, result: TaskResult) -> Exception | None:
        kind = type(self._backend)
        now = timezone.now()
        _set(result, status=TaskResultStatus.RUNNING, started_at=now, last_attempted_at=now)
        result.worker_ids.append(self._worker_id)
        self._backend.keep(result)
        task_started.send(sender=kind, task_result=result)
        failure: Exception | None = None
        try:
            context = [TaskContext(task_result=result)] if result.task.takes_context else []
            value = result.task.call(*context, *result.args, **result.kwargs)
            _set(result, _return_value=normalize_json(value))
        except Exception as error:
            failure = error
            path = f"{type(error).__module__}.{type(error).__qualname__}"
            text = "".join(format_exception(error))
            result.errors.append(TaskError(exception_class_path=path, traceback=text))
            _set(result, finished_at=timezone.now(), status=TaskResultStatus.FAILED)
            self._backend.keep(result)
            # Inside the handler: its receivers log sys.exc_info().
            task_finished.send(sender=kind, task_result=result)
        else:
            _set(result, finished_at=timezone.now(), status=TaskResultStatus.SUCCESSFUL)
            self._backend.keep(result)
            task_finished.send(sender=kind, task_result=result)
        return failure


def _set(result: TaskResult, **fields: Any) -> None:
    """Results are frozen for those who asked for them, not for those who make them."""
    for name, value in fields.items():
        object.__setattr__(result, name, value)
