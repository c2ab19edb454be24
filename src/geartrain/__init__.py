"""Gearman: a job server, and libraries for its clients and workers.

The names below are found on first use, so that ``import geartrain`` costs next
to nothing: a cron job that submits one job should not load what it does not
need. Type checkers see ordinary imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geartrain import errors as errors

__version__ = "0.1.0"

#: Public name -> the module that has it. A module of ours that is public as a
#: whole is written with an empty home.
_HOMES: dict[str, str] = {
    "errors": "",
}

__all__ = ["__version__", "errors"]


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'geartrain' has no attribute {name!r}") from None
    value: object
    if home:
        value = getattr(import_module(home), name)
    else:
        value = import_module(f"geartrain.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
