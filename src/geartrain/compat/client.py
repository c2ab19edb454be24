"""GearmanClient: submits jobs, and waits for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from geartrain.client.options import BY_WORKLOAD
from geartrain.client.sync import Client
from geartrain.compat.encoder import DataEncoder, NoopEncoder, to_bytes
from geartrain.compat.job import GearmanJob, GearmanJobRequest
from geartrain.compat.names import PRIORITY_NONE, priority_of, servers_of
from geartrain.errors import GearmanError, JobLost
from geartrain.retry import Retry

if TYPE_CHECKING:
    from typing import Self

#: Bytes of a key that is made up.
RANDOM_UNIQUE_BYTES = 16


class GearmanClient:
    """Asks servers for work.

    Args:
        host_list: ``["host:port", ("host", port), ...]``; None: ``$GEARMAN_SERVERS``,
            else localhost.
        random_unique_bytes: length of a key that is made up, before it is hexadecimal.

    Attributes:
        data_encoder: a ``DataEncoder``; name another in a subclass.
    """

    data_encoder: type[DataEncoder] = NoopEncoder

    def __init__(
        self,
        host_list: Iterable[Any] | None = None,
        random_unique_bytes: int = RANDOM_UNIQUE_BYTES,
    ) -> None:
        self._client = Client(servers_of(host_list))
        self._random_unique_bytes = random_unique_bytes

    # ── submitting ───────────────────────────────────────────────────────────

    def submit_job(
        self,
        task: str,
        data: Any,
        unique: str | None = None,
        priority: str | None = PRIORITY_NONE,
        background: bool = False,
        wait_until_complete: bool = True,
        max_retries: int = 0,
        poll_timeout: float | None = None,
    ) -> GearmanJobRequest:
        """Submit one job, and wait for its end (or, in the background, for its handle).

        Args:
            wait_until_complete: False: wait for its handle only.
            max_retries: submit it again so often if its connection is lost.
            poll_timeout: seconds to wait; None: for ever. ``timed_out`` tells.

        Raises:
            ServerUnavailable: no server can be reached.
        """
        job = {"task": task, "data": data, "unique": unique, "priority": priority}
        return self.submit_multiple_jobs(
            [job], background, wait_until_complete, max_retries, poll_timeout
        )[0]

    def submit_multiple_jobs(
        self,
        jobs_to_submit: Iterable[Mapping[str, Any]],
        background: bool = False,
        wait_until_complete: bool = True,
        max_retries: int = 0,
        poll_timeout: float | None = None,
    ) -> list[GearmanJobRequest]:
        """Submit jobs; each is ``{"task": ..., "data": ..., "unique": ..., "priority": ...}``."""
        requests = [self._request(job, background, max_retries) for job in jobs_to_submit]
        return self.submit_multiple_requests(requests, wait_until_complete, poll_timeout)

    def submit_multiple_requests(
        self,
        job_requests: Sequence[GearmanJobRequest],
        wait_until_complete: bool = True,
        poll_timeout: float | None = None,
    ) -> list[GearmanJobRequest]:
        """Submit requests, again if they are not complete (those that timed out are waited for)."""
        deadline = _deadline(poll_timeout)
        for request in job_requests:
            if request._task is None or (request._task.done() and not request.complete):
                self._submit(request)
        self.wait_until_jobs_accepted(job_requests, _left(deadline))
        if wait_until_complete:
            self.wait_until_jobs_completed(job_requests, _left(deadline))
        return list(job_requests)

    def _request(
        self, job: Mapping[str, Any], background: bool, max_retries: int
    ) -> GearmanJobRequest:
        unique = job.get("unique")
        if not unique:
            unique = os.urandom(self._random_unique_bytes).hex()[:63]
        gearman_job = GearmanJob(None, None, job["task"], unique, job["data"])
        priority = job.get("priority", PRIORITY_NONE)
        return GearmanJobRequest(gearman_job, priority, background, max_retries + 1)

    def _submit(self, request: GearmanJobRequest) -> None:
        request.initialize_request()
        job = request.job
        encoder = self.data_encoder
        data = to_bytes(encoder.encode(job.data))
        common: dict[str, Any] = {
            "unique": BY_WORKLOAD if job.unique == "-" else job.unique,
            "priority": priority_of(request.priority),
            "retry": Retry(request.max_connection_attempts, backoff=0.0, on=JobLost),
        }
        if request.background:
            request._submitted(self._client.submit_background(job.task, data, **common))
            return
        task = self._client.submit(
            job.task,
            data,
            on_data=lambda task, piece: request.data_updates.append(encoder.decode(piece)),
            on_warning=lambda task, piece: request.warning_updates.append(encoder.decode(piece)),
            on_status=lambda task, status: request._heard_status(
                True, True, status.numerator, status.denominator
            ),
            **common,
        )
        request._submitted(task)

    # ── waiting ──────────────────────────────────────────────────────────────

    def wait_until_jobs_accepted(
        self, job_requests: Sequence[GearmanJobRequest], poll_timeout: float | None = None
    ) -> Sequence[GearmanJobRequest]:
        """Wait until the servers have them; ``timed_out`` tells which they do not."""
        deadline = _deadline(poll_timeout)
        for request in job_requests:
            request.timed_out = False
            try:
                if request._task is not None:
                    request._task.wait_created(_left(deadline))
            except TimeoutError:
                request.timed_out = True
            except GearmanError:
                pass  # its state tells
            request._look(self.data_encoder)
        return job_requests

    def wait_until_jobs_completed(
        self, job_requests: Sequence[GearmanJobRequest], poll_timeout: float | None = None
    ) -> Sequence[GearmanJobRequest]:
        """Wait for their ends; ``timed_out`` tells which have not ended."""
        tasks = [request._task for request in job_requests if request._task is not None]
        self._client.wait(tasks, timeout=poll_timeout)
        for request in job_requests:
            request.timed_out = request._task is not None and not request._task.done()
            request._look(self.data_encoder)
        return job_requests

    # ── asking ───────────────────────────────────────────────────────────────

    def get_job_status(
        self, current_request: GearmanJobRequest, poll_timeout: float | None = None
    ) -> GearmanJobRequest:
        """Ask the server how far a job is; the answer is the request's ``status``."""
        return self.get_job_statuses([current_request], poll_timeout)[0]

    def get_job_statuses(
        self, job_requests: Sequence[GearmanJobRequest], poll_timeout: float | None = None
    ) -> Sequence[GearmanJobRequest]:
        """Ask the servers how far jobs are."""
        for request in job_requests:
            request.timed_out = False
            try:
                handle = request._task.wait_created(poll_timeout)
                found = self._client.status(handle)
            except TimeoutError:
                request.timed_out = True
                continue
            request._look(self.data_encoder)
            request._heard_status(found.known, found.running, found.numerator, found.denominator)
        return job_requests

    def shutdown(self) -> None:
        """Hang up."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
