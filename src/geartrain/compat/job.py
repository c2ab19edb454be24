"""GearmanJob and GearmanJobRequest: a job on each side."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from geartrain.compat.names import (
    JOB_COMPLETE,
    JOB_CREATED,
    JOB_FAILED,
    JOB_PENDING,
    JOB_UNKNOWN,
)
from geartrain.errors import JobException, JobLost, ServerUnavailable


class GearmanJob:
    """A job.

    Attributes:
        connection: the server's address; None before it is known.
        handle: the server's name for it.
        task: name of the function.
        unique: the key.
        data: decoded by the encoder.
    """

    def __init__(self, connection: Any, handle: Any, task: str, unique: Any, data: Any) -> None:
        self.connection = connection
        self.handle = handle
        self.task = task
        self.unique = unique
        self.data = data
        #: Ours, in a worker.
        self._job: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""
        return {
            "task": self.task,
            "job_handle": self.handle,
            "unique": self.unique,
            "data": self.data,
        }

    def __repr__(self) -> str:
        return (
            f"<GearmanJob connection/handle={(self.connection, self.handle)!r}, task={self.task}, "
            f"unique={self.unique}, data={self.data!r}>"
        )


class GearmanJobRequest:
    """A job that a client has asked for.

    Attributes:
        job: what was asked for; ``gearman_job`` is the same.
        result: decoded; None unless complete.
        exception: decoded payload of WORK_EXCEPTION, or None.
        state: one of ``JOB_*``.
        timed_out: whether the last wait ended too early.
        warning_updates, data_updates: deques of decoded payloads.
        status: dict with ``handle``, ``known``, ``running``, ``numerator``,
            ``denominator`` and ``time_received``, as last heard.
    """

    def __init__(
        self,
        gearman_job: GearmanJob,
        initial_priority: str | None = None,
        background: bool = False,
        max_attempts: int = 1,
    ) -> None:
        self.gearman_job = gearman_job
        self.priority = initial_priority
        self.background = background
        self.connection_attempts = 0
        self.max_connection_attempts = max_attempts
        self.initialize_request()

    def initialize_request(self) -> None:
        """Forget what has come of it."""
        self.result: Any = None
        self.exception: Any = None
        self.state: str = JOB_UNKNOWN
        self.timed_out = False
        self.warning_updates: deque[Any] = deque()
        self.data_updates: deque[Any] = deque()
        self.status: dict[str, Any] = {}
        self._task: Any = None

    def reset(self) -> None:
        """As if it had never been submitted."""
        self.initialize_request()
        self.connection_attempts = 0
        self.gearman_job.connection = None
        self.gearman_job.handle = None

    @property
    def job(self) -> GearmanJob:
        """What was asked for."""
        return self.gearman_job

    @property
    def unique(self) -> Any:
        """The job's key."""
        return self.gearman_job.unique

    @property
    def server_status(self) -> dict[str, Any]:
        """The old name of ``status``."""
        return self.status

    @property
    def actual_complete(self) -> bool:
        """Whether there is nothing left to wait for."""
        if self.background:
            return self.state in (JOB_CREATED, JOB_FAILED, JOB_COMPLETE)
        return self.state in (JOB_FAILED, JOB_COMPLETE)

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.actual_complete

    # ── what its client tells it ─────────────────────────────────────────────

    def _submitted(self, task: Any) -> None:
        self._task = task
        self.connection_attempts += 1
        if self.state == JOB_UNKNOWN:
            self.state = JOB_PENDING

    def _look(self, encoder: Any) -> None:
        """Take over what has become of the task."""
        task = self._task
        if task is None:
            return
        if task.handle is not None:
            self.gearman_job.handle = str(task.handle)
            self.gearman_job.connection = task.server
            if self.state == JOB_PENDING:
                self.state = JOB_CREATED
        if not task.done():
            return
        error = task.error
        if error is None:
            if not self.background and self.state != JOB_COMPLETE:
                self.result = encoder.decode(task.outcome())
                self.state = JOB_COMPLETE
        elif isinstance(error, (JobLost, ServerUnavailable)):
            self.state = JOB_UNKNOWN
        else:
            if isinstance(error, JobException):
                self.exception = encoder.decode(error.data)
            self.state = JOB_FAILED

    def _heard_status(self, known: bool, running: bool, numerator: int, denominator: int) -> None:
        self.status = {
            "handle": self.gearman_job.handle,
            "known": known,
            "running": running,
            "numerator": numerator,
            "denominator": denominator,
            "time_received": time.time(),
        }

    def __repr__(self) -> str:
        return (
            f"<GearmanJobRequest task={self.job.task}, unique={self.job.unique}, "
            f"priority={self.priority}, background={self.background}, state={self.state}, "
            f"timed_out={self.timed_out}>"
        )
