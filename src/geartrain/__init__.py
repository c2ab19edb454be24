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
    from geartrain import errors
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

__version__ = "0.1.0"

#: Module -> the public names that it has. Modules that are public as a whole
#: belong to the package itself.
_HOMES: dict[str, tuple[str, ...]] = {
    "geartrain": ("errors",),
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
}

__all__ = [
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
    "__version__",
    "errors",
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
