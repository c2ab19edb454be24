"""GearmanWorker: does jobs, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from logging import getLogger
from types import TracebackType
from typing import TYPE_CHECKING, Any

from geartrain.compat.encoder import DataEncoder, NoopEncoder, to_bytes
from geartrain.compat.job import GearmanJob
from geartrain.compat.names import servers_of
from geartrain.worker.job import Job
from geartrain.worker.sync import Worker

if TYPE_CHECKING:
    from typing import Self

log = getLogger("geartrain.compat")

POLL_TIMEOUT_IN_SECONDS = 60.0

#: Takes the worker and the job; what it returns is the result.
Callback = Callable[[Any, GearmanJob], Any]


class GearmanWorker:
    """Does jobs for servers.

    Args:
        host_list: as for ``GearmanClient``.

    Attributes:
        data_encoder: a ``DataEncoder``; name another in a subclass.
        worker_abilities: ``{task: callback}``.
    """

    data_encoder: type[DataEncoder] = NoopEncoder

    def __init__(self, host_list: Iterable[Any] | None = None) -> None:
        self._servers = servers_of(host_list)
        self._client_id: str | None = None
        self._worker: Worker | None = None
        self.worker_abilities: dict[str, Callback] = {}

    # ── what it can do ───────────────────────────────────────────────────────

    def set_client_id(self, client_id: str) -> str:
        """Name that ``gearadmin --workers`` shows; to be set before ``work``."""
        self._client_id = client_id
        return client_id

    def register_task(self, task: str, callback_function: Callback) -> str:
        """Offer a function: ``callback_function(worker, job)`` returns the result."""
        self.worker_abilities[task] = callback_function
        if self._worker is not None:
            self._worker.add_function(task, _never)
        return task

    def unregister_task(self, task: str) -> str:
        """Offer it no more."""
        self.worker_abilities.pop(task, None)
        if self._worker is not None:
            self._worker.remove_function(task)
        return task

    # ── doing it ─────────────────────────────────────────────────────────────

    def work(self, poll_timeout: float = POLL_TIMEOUT_IN_SECONDS) -> None:
        """Do jobs until ``after_poll`` says no.

        Args:
            poll_timeout: seconds without a job after which ``after_poll`` is called too.
        """
        self._worker = Worker(self._servers, worker_id=self._client_id)
        for task in self.worker_abilities:
            self._worker.add_function(task, _never)
        try:
            going_on = True
            while going_on:
                job = self._worker.grab(poll_timeout)
                if job is not None:
                    self._execute(job)
                going_on = self.after_poll(job is not None)
        finally:
            worker, self._worker = self._worker, None
            worker.close()

    def _execute(self, job: Job) -> None:
        unique = job.unique.decode("utf-8", "surrogateescape")
        current = GearmanJob(job.server, str(job.handle), job.function, unique, None)
        current._job = job
        try:
            current.data = self.data_encoder.decode(job.workload)
        except Exception:
            self.on_job_exception(current, sys.exc_info())
        else:
            self.on_job_execute(current)
        if not job.ended:
            job.send_fail()

    def on_job_execute(self, current_job: GearmanJob) -> bool:
        """Do one job; override for other ways with errors."""
        try:
            callback = self.worker_abilities[current_job.task]
            result = callback(self, current_job)
        except Exception:
            return self.on_job_exception(current_job, sys.exc_info())
        return self.on_job_complete(current_job, result)

    def on_job_exception(self, current_job: GearmanJob, exc_info: Any) -> bool:
        """A callback has raised: log it, and end the job as failed."""
        log.error("%s %s failed", current_job.task, current_job.handle, exc_info=exc_info)
        self.send_job_failure(current_job)
        return False

    def on_job_complete(self, current_job: GearmanJob, job_result: Any) -> bool:
        """A callback has returned: send its result."""
        self.send_job_complete(current_job, job_result)
        return True

    def after_poll(self, any_activity: bool) -> bool:
        """Called after each job and each ``poll_timeout``; override it, return False to stop."""
        return True

    # ── reports ──────────────────────────────────────────────────────────────

    def send_job_status(
        self,
        current_job: GearmanJob,
        numerator: float,
        denominator: float,
        poll_timeout: float | None = None,
    ) -> None:
        """So much of so much is done; fractions are sent in hundredths, as the protocol has none."""
        if int(numerator) != numerator or int(denominator) != denominator:
            numerator, denominator = 100 * numerator, 100 * denominator
        current_job._job.send_status(round(numerator), round(denominator))

    def send_job_complete(
        self, current_job: GearmanJob, data: Any, poll_timeout: float | None = None
    ) -> None:
        """End the job well."""
        if not current_job._job.ended:
            current_job._job.send_complete(self._encode(data))

    def send_job_failure(self, current_job: GearmanJob, poll_timeout: float | None = None) -> None:
        """End the job as failed."""
        if not current_job._job.ended:
            current_job._job.send_fail()

    def send_job_exception(
        self, current_job: GearmanJob, data: Any, poll_timeout: float | None = None
    ) -> None:
        """End the job as failed, and say why."""
        current_job._job.send_exception(self._encode(data))

    def send_job_data(
        self, current_job: GearmanJob, data: Any, poll_timeout: float | None = None
    ) -> None:
        """A piece of the result."""
        current_job._job.send_data(self._encode(data))

    def send_job_warning(
        self, current_job: GearmanJob, data: Any, poll_timeout: float | None = None
    ) -> None:
        """Something the client should know."""
        current_job._job.send_warning(self._encode(data))

    def _encode(self, data: Any) -> bytes:
        if data is None and issubclass(self.data_encoder, NoopEncoder):
            return b""
        return to_bytes(self.data_encoder.encode(data))

    def shutdown(self) -> None:
        """Hang up; ``work`` ends."""
        if self._worker is not None:
            self._worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


def _never(job: Job) -> None:
    """Stands for a function in what is told to servers; jobs come by ``grab``."""
    raise AssertionError("jobs of a GearmanWorker are grabbed")
