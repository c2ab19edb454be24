"""The kinds of value that settings have, and how text of each is read.

What is refused is named with its place and value, and with what is allowed.
"""

from __future__ import annotations

import re
from typing import Final

from geartrain.errors import ConfigurationError
from geartrain.units import SIZES, TIMES, whole, with_unit

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
        result = whole(value)
    elif kind == SIZE:
        want = "a size such as 4096, 64KiB or 1G"
        result = with_unit(value, SIZES)
        result = None if result is None else int(result)
    else:
        want = "a time such as 90, 500ms, 10s or 2h"
        result = with_unit(value, TIMES)
    if result is not None:
        if (least is None or result >= least) and (most is None or result <= most):
            return result
        bounds = [f"at least {least:g}"] if least is not None else []
        bounds += [f"at most {most:g}"] if most is not None else []
        want += ", " + " and ".join(bounds)
    raise BadValue(source, value, want)


def is_space(value: object) -> bool:
    """Whether this is a part of a disk, or a size."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?\s*%", value.strip()):
        return True
    size = with_unit(value, SIZES)
    return size is not None and size >= 0
