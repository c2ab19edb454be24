"""python-gearman's names, for code that was written for it.

::

    import geartrain.compat as gearman

    client = gearman.GearmanClient(["localhost:4730"])
    request = client.submit_job("reverse", "Hello World!")
    print(request.result)

What is different, and why:

- Data is text, as it was in Python 2: UTF-8, with bytes that are none kept as
  surrogates, so nothing is lost. For binary data say ``data_encoder =
  BytesDataEncoder``. Encoders of your own are given bytes.
- A lost server is looked for again in the background; ``work`` does not raise.
- ``send_job_exception`` ends the job, as the protocol says; no WORK_FAIL follows.

New code is better off with ``geartrain.Client`` and ``geartrain.Worker``.
"""

from __future__ import annotations

from geartrain.compat.admin import GearmanAdminClient
from geartrain.compat.client import GearmanClient
from geartrain.compat.encoder import BytesDataEncoder, DataEncoder, NoopEncoder
from geartrain.compat.job import GearmanJob, GearmanJobRequest
from geartrain.compat.names import (
    DEFAULT_GEARMAN_PORT,
    JOB_COMPLETE,
    JOB_CREATED,
    JOB_FAILED,
    JOB_PENDING,
    JOB_UNKNOWN,
    PRIORITY_HIGH,
    PRIORITY_LOW,
    PRIORITY_NONE,
)
from geartrain.compat.worker import GearmanWorker
from geartrain.errors import GearmanError, ServerUnavailable

__all__ = [
    "DEFAULT_GEARMAN_PORT",
    "JOB_COMPLETE",
    "JOB_CREATED",
    "JOB_FAILED",
    "JOB_PENDING",
    "JOB_UNKNOWN",
    "PRIORITY_HIGH",
    "PRIORITY_LOW",
    "PRIORITY_NONE",
    "BytesDataEncoder",
    "DataEncoder",
    "GearmanAdminClient",
    "GearmanClient",
    "GearmanError",
    "GearmanJob",
    "GearmanJobRequest",
    "GearmanWorker",
    "NoopEncoder",
    "ServerUnavailable",
]
