"""Gearman: a job server, and libraries for its clients and workers.

The names below are found on first use, so that ``import geartrain`` costs next
to nothing: a cron job that submits one job should not load what it does not
need. Type checkers see ordinary imports.

A public name is written three times here: for type checkers, for first use and
in ``__all__``. A test compares the three.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geartrain import (
        codecs,
        compat,
        errors,
        executor,
        progress,
        testing,
    )
    from geartrain.client.admin import (
        AdminClient,
    )
    from geartrain.client.aio import (
        AsyncClient,
    )
    from geartrain.client.aio_admin import (
        AsyncAdminClient,
    )
    from geartrain.client.aio_waiting import (
        AsyncTask,
    )
    from geartrain.client.events import (
        JobCreated,
        WorkComplete,
        WorkData,
        WorkException,
        WorkFail,
        WorkStatus,
        WorkWarning,
    )
    from geartrain.client.handle import (
        Handle,
    )
    from geartrain.client.options import (
        BY_WORKLOAD,
        Priority,
    )
    from geartrain.client.status import (
        JobStatus,
    )
    from geartrain.client.sync import (
        Client,
    )
    from geartrain.client.waiting import (
        Task,
    )
    from geartrain.errors import (
        BadMagic,
        CodecError,
        ConfigurationError,
        ConnectTimeout,
        DecodeError,
        EncodeError,
        Fail,
        GearmanError,
        GearmanTimeout,
        JobException,
        JobFailed,
        JobFinished,
        JobLost,
        JobNotFound,
        LineTooLong,
        NoWorkers,
        OutcomeUnknown,
        PacketTooLarge,
        ProtocolError,
        QueueFull,
        Requeue,
        ResultTimeout,
        ServerError,
        ServerUnavailable,
        StopWorker,
        SubmitTimeout,
        UnknownOption,
    )
    from geartrain.retry import (
        Retry,
    )
    from geartrain.transport.tls import (
        TLS,
    )
    from geartrain.typed.app import (
        App,
    )
    from geartrain.typed.function import (
        Function,
    )
    from geartrain.worker.aio import (
        AsyncWorker,
    )
    from geartrain.worker.job import (
        Job,
        Status,
        current_job,
    )
    from geartrain.worker.sync import (
        Worker,
    )

__version__ = "0.1.0"

#: Module -> the public names that it has. Modules that are public as a whole
#: belong to the package itself.
_HOMES: dict[str, tuple[str, ...]] = {
    "geartrain": (
        "codecs",
        "compat",
        "errors",
        "executor",
        "progress",
        "testing",
    ),
    "geartrain.client.admin": ("AdminClient",),
    "geartrain.client.aio": ("AsyncClient",),
    "geartrain.client.aio_admin": ("AsyncAdminClient",),
    "geartrain.client.aio_waiting": ("AsyncTask",),
    "geartrain.client.events": (
        "JobCreated",
        "WorkComplete",
        "WorkData",
        "WorkException",
        "WorkFail",
        "WorkStatus",
        "WorkWarning",
    ),
    "geartrain.client.handle": ("Handle",),
    "geartrain.client.options": (
        "BY_WORKLOAD",
        "Priority",
    ),
    "geartrain.client.status": ("JobStatus",),
    "geartrain.client.sync": ("Client",),
    "geartrain.client.waiting": ("Task",),
    "geartrain.errors": (
        "BadMagic",
        "CodecError",
        "ConfigurationError",
        "ConnectTimeout",
        "DecodeError",
        "EncodeError",
        "Fail",
        "GearmanError",
        "GearmanTimeout",
        "JobException",
        "JobFailed",
        "JobFinished",
        "JobLost",
        "JobNotFound",
        "LineTooLong",
        "NoWorkers",
        "OutcomeUnknown",
        "PacketTooLarge",
        "ProtocolError",
        "QueueFull",
        "Requeue",
        "ResultTimeout",
        "ServerError",
        "ServerUnavailable",
        "StopWorker",
        "SubmitTimeout",
        "UnknownOption",
    ),
    "geartrain.retry": ("Retry",),
    "geartrain.transport.tls": ("TLS",),
    "geartrain.typed.app": ("App",),
    "geartrain.typed.function": ("Function",),
    "geartrain.worker.aio": ("AsyncWorker",),
    "geartrain.worker.job": (
        "Job",
        "Status",
        "current_job",
    ),
    "geartrain.worker.sync": ("Worker",),
}

__all__ = [
    "BY_WORKLOAD",
    "TLS",
    "AdminClient",
    "App",
    "AsyncAdminClient",
    "AsyncClient",
    "AsyncTask",
    "AsyncWorker",
    "BadMagic",
    "Client",
    "CodecError",
    "ConfigurationError",
    "ConnectTimeout",
    "DecodeError",
    "EncodeError",
    "Fail",
    "Function",
    "GearmanError",
    "GearmanTimeout",
    "Handle",
    "Job",
    "JobCreated",
    "JobException",
    "JobFailed",
    "JobFinished",
    "JobLost",
    "JobNotFound",
    "JobStatus",
    "LineTooLong",
    "NoWorkers",
    "OutcomeUnknown",
    "PacketTooLarge",
    "Priority",
    "ProtocolError",
    "QueueFull",
    "Requeue",
    "ResultTimeout",
    "Retry",
    "ServerError",
    "ServerUnavailable",
    "Status",
    "StopWorker",
    "SubmitTimeout",
    "Task",
    "UnknownOption",
    "WorkComplete",
    "WorkData",
    "WorkException",
    "WorkFail",
    "WorkStatus",
    "WorkWarning",
    "Worker",
    "__version__",
    "codecs",
    "compat",
    "current_job",
    "errors",
    "executor",
    "progress",
    "testing",
]

_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'geartrain' has no attribute {name!r}") from None
    value: object
    if home == "geartrain":
        value = import_module(f"geartrain.{name}")
    else:
        value = getattr(import_module(home), name)
    # Found once: the next use is an ordinary attribute.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
