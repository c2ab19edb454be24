"""Arguments as peers really write them, and what they are taken to mean.

A NUL too many, numbers that are none, fractions: the reference's list of traps (section
10). What can be understood is; what cannot is told by a value that no argument has.
"""

from __future__ import annotations


def without_nul(argument: bytes) -> bytes:
    """A last argument without the one NUL that some clients end it with."""
    return argument[:-1] if argument[-1:] == b"\0" else argument


def limit_seconds(argument: bytes) -> float:
    """Milliseconds of CAN_DO_TIMEOUT in seconds; 0.0 (no limit) for what is none."""
    text = without_nul(argument).strip()
    if not text.isdigit() or len(text) > 15:
        return 0.0
    return int(text) / 1000.0


def epoch_seconds(argument: bytes) -> int:
    """Seconds of SUBMIT_JOB_EPOCH; 0 for now; -1 for what is no time."""
    text = argument.strip()
    if not text:
        return 0
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 18:
        return -1
    return 0 if text[:1] == b"-" else int(text)


def whole_part(argument: bytes) -> int:
    """The whole part of a number in WORK_STATUS; 0 for what is none."""
    digits = without_nul(argument).partition(b".")[0].strip()
    return min(int(digits), 4294967295) if digits.isdigit() and len(digits) < 19 else 0
