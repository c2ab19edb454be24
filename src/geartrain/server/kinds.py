"""The kinds of value that settings have, and how text of each is read.

What is refused is named with its place and value, and with what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from geartrain.errors import ConfigurationError

#: Kinds of value. They decide how text is read and how the default is shown.
TEXT: Final = "text"
COUNT: Final = "count"
SIZE: Final = "bytes"
TIME: Final = "seconds"
FLAG: Final = "flag"
TEXTS: Final = "texts"
LEVEL: Final = "level"
CHOICE: Final = "choice"
#: Room on a disk: a size, or a part of it such as ``5%``; kept as text.
SPACE: Final = "space"

LEVELS: Final = ("FATAL", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")

_SIZE_UNITS: Final = {
    "": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 2**20, "mb": 2**20, "mib": 2**20,
    "g": 2**30, "gb": 2**30, "gib": 2**30, "t": 2**40, "tb": 2**40, "tib": 2**40,
}  # fmt: skip
_TIME_UNITS: Final = {
    "": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0
}  # fmt: skip


class BadValue(ConfigurationError):
    """A value that a setting cannot have.

    Attributes:
        value: what it was.
        want: what is allowed.
    """

    def __init__(self, source: str, value: object, want: str) -> None:
        super().__init__(f"{source}: {value!r} is not valid: want {want}")
        self.value = value
        self.want = want


def read_kind(
    source: str, value: object, kind: str, least: float | None, most: float | None
) -> float:
    """A number of one of the kinds ``COUNT``, ``SIZE`` or ``TIME``, within bounds.

    Raises:
        BadValue: naming source, value and what is allowed.
    """
    result: float | None
    if kind == COUNT:
        want = "a whole number"
        result = _whole(value)
    elif kind == SIZE:
        want = "a size such as 4096, 64KiB or 1G"
        result = _with_unit(value, _SIZE_UNITS)
        result = None if result is None else int(result)
    else:
        want = "a time such as 90, 500ms, 10s or 2h"
        result = _with_unit(value, _TIME_UNITS)
    if result is not None:
        if (least is None or result >= least) and (most is None or result <= most):
            return result
        bounds = [f"at least {least:g}"] if least is not None else []
        bounds += [f"at most {most:g}"] if most is not None else []
        want += ", " + " and ".join(bounds)
    raise BadValue(source, value, want)


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    return None


def _with_unit(value: object, units: Mapping[str, float]) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        # TOML knows inf, nan and numbers of any length; no clock and no memory does.
        return value if -(2.0**63) < value < 2.0**63 else None
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]*)", value.strip())
    if match is None or match[2].lower() not in units:
        return None
    return float(match[1]) * units[match[2].lower()]


def is_space(value: object) -> bool:
    """Whether this is a part of a disk, or a size."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?\s*%", value.strip()):
        return True
    size = _with_unit(value, _SIZE_UNITS)
    return size is not None and size >= 0
