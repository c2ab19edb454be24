"""GearmanBackend: ``enqueue`` submits a background job.

A job server keeps no results. Where ``OPTIONS["results"]`` names a cache, the backend
keeps them there, and ``get_result`` works from every process; else it does not.
"""

from __future__ import annotations

import threading
from typing import Any

from django.core.cache import caches
from django.utils import timezone
from django.utils.crypto import get_random_string

from geartrain.client.options import PriorityLike
from geartrain.client.sync import Client
from geartrain.django.message import from_record, to_record, to_workload
from geartrain.django.tasks import (
    BaseTaskBackend,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from geartrain.errors import ConfigurationError, ServerUnavailable

_OPTIONS = ("servers", "namespace", "results", "result_seconds", "tls")
_DAY = 86_400
_clients: dict[str, Client] = {}
_lock = threading.Lock()


class GearmanBackend(BaseTaskBackend):  # type: ignore[misc]
    """Django's tasks as background jobs.

    A priority above 0 is Gearman's high, below 0 low. A task with ``run_after`` waits at
    the server, and then at normal priority: the protocol has no other for those.

    Raises:
        ConfigurationError: an option that is none.
    """

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        if unknown := sorted(self.options.keys() - set(_OPTIONS)):
            raise ConfigurationError(
                f"TASKS[{alias!r}]['OPTIONS'] has {unknown[0]!r}; there are {', '.join(_OPTIONS)}"
            )
        self.servers = self.options.get("servers")
        self.namespace: str = self.options.get("namespace", "")
        self.tls = self.options.get("tls")
        self._results: str | None = self.options.get("results")
        self._result_seconds = self.options.get("result_seconds", _DAY)
        self.supports_get_result = self._results is not None

    @property
    def client(self) -> Client:
        """What submits; connects on first use.

        Django makes a backend for each thread, and for each asynchronous request.
        Connections are not as cheap, so all of a process share one client.
        """
        key = repr((self.servers, self.namespace, self.tls))
        with _lock:
            client = _clients.get(key)
            if client is None:
                client = Client(self.servers, namespace=self.namespace, tls=self.tls)
                _clients[key] = client
        return client

    def function(self, queue: str) -> str:
        """Name of a queue's function, without the namespace."""
        return f"django.{queue}"

    # ── the interface of a backend ───────────────────────────────────────────

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Submit it; returns once the server has it.

        Raises:
            InvalidTask: it cannot be run so.
            ServerUnavailable: no server has it. ``OutcomeUnknown``, which is one of
                these, cannot happen: the job's key makes sending it again safe.
        """
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id=get_random_string(32),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        # Before the job: a worker may be done with it at once.
        self.keep(result)
        try:
            self.client.do_background(
                self.function(task.queue_name),
                to_workload(result),
                unique=result.id,
                priority=_priority(task),
                when=_when(task),
            )
        except ServerUnavailable:
            self.forget(result.id)
            raise
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """What has become of a task, from the cache of results.

        Raises:
            TaskResultDoesNotExist: it was never here, or has been there too long.
            NotImplementedError: ``OPTIONS["results"]`` names no cache.
        """
        if self._results is None:
            return super().get_result(result_id)
        record = caches[self._results].get(self._key(result_id))
        if record is None:
            raise TaskResultDoesNotExist(result_id)
        try:
            return from_record(record, self.alias, "default")
        except (ImportError, AttributeError, TypeError) as error:
            raise TaskResultDoesNotExist(result_id) from error

    # ── results ──────────────────────────────────────────────────────────────

    def keep(self, result: TaskResult) -> None:
        """Put a result into the cache, where there is one."""
        if self._results is not None:
            caches[self._results].set(
                self._key(result.id), to_record(result), timeout=self._result_seconds
            )

    def forget(self, result_id: str) -> None:
        """Take a result from the cache."""
        if self._results is not None:
            caches[self._results].delete(self._key(result_id))

    def _key(self, result_id: str) -> str:
        return f"geartrain.task.{self.alias}.{result_id}"


def _priority(task: Task) -> PriorityLike:
    return "high" if task.priority > 0 else "low" if task.priority < 0 else "normal"


def _when(task: Task) -> Any:
    after = task.run_after
    if after is None or not timezone.is_naive(after):
        return after
    return timezone.make_aware(after)
