"""Numbers with units as people write them: ``64MiB``, ``1G``, ``500ms``, ``2h``.

The same in options, files and URLs. A size counts in powers of 1024 and a time in seconds,
with or without a unit; case does not matter. What is no such number is None: whoever asked
knows what to call it, and says what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

SIZES: Final[Mapping[str, float]] = {
    "": 1, "b": 1,
    "k": 2**10, "ki": 2**10, "kb": 2**10, "kib": 2**10,
    "m": 2**20, "mi": 2**20, "mb": 2**20, "mib": 2**20,
    "g": 2**30, "gi": 2**30, "gb": 2**30, "gib": 2**30,
    "t": 2**40, "ti": 2**40, "tb": 2**40, "tib": 2**40,
}  # fmt: skip
TIMES: Final[Mapping[str, float]] = {
    "": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0
}  # fmt: skip


def whole(value: object) -> int | None:
    """A whole number, or text that is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    return None


def with_unit(value: object, units: Mapping[str, float]) -> float | None:
    """A number, or text that is one with or without a unit; text is never negative."""
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
