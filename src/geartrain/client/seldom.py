"""What the engine needs where something fails alone, imported there.

A command that hands in one job has a start to be measured by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger


def why(error: BaseException) -> str:
    """What is wrong, in the system's own words if it has any."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def log() -> Logger:
    """Where the client library speaks to people."""
    from logging import getLogger

    return getLogger("geartrain.client")


def chance() -> float:
    """Uniform in [0, 1)."""
    from random import random

    return random()
