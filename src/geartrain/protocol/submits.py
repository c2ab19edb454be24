"""Priority, background, epoch and reducer <-> the right SUBMIT_* packet.

There are nine ways to submit; what they mean is one small record, and this is the
only place that knows which number says what (protocol reference, 1.2 and 2.12).
"""

from __future__ import annotations

from typing import Final

from geartrain.protocol.commands import (
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
)
from geartrain.protocol.packets import encode_request
from geartrain.terms import HIGH, LOW, NORMAL

FOREGROUND: Final = (SUBMIT_JOB_HIGH, SUBMIT_JOB, SUBMIT_JOB_LOW)
BACKGROUND: Final = (SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG, SUBMIT_JOB_LOW_BG)


def encode_submit(
    function: bytes,
    unique: bytes,
    workload: bytes,
    *,
    priority: int = NORMAL,
    background: bool = False,
    when: int | None = None,
    reducer: bytes | None = None,
) -> bytes:
    """The packet that submits this job.

    Args:
        function: name of the function.
        unique: key for coalescing; empty for none.
        workload: opaque bytes.
        priority: ``HIGH``, ``NORMAL`` or ``LOW``; epoch and reduce jobs are always normal.
        background: nobody waits for the result.
        when: not before this second since 1970; such a job is always background.
        reducer: function that merges the results (SUBMIT_REDUCE_JOB).

    Raises:
        ValueError: the combination has no packet.
    """
    if priority not in (HIGH, NORMAL, LOW):
        raise ValueError(f"priority = {priority!r}: want HIGH (0), NORMAL (1) or LOW (2)")
    if when is not None and reducer is not None:
        raise ValueError("when and reducer cannot be combined: the protocol has no such packet")
    if (when is not None or reducer is not None) and priority != NORMAL:
        raise ValueError("epoch and reduce jobs have normal priority: leave priority out")
    if when is not None:
        return encode_request(SUBMIT_JOB_EPOCH, function, unique, b"%d" % when, workload)
    if reducer is not None:
        number = SUBMIT_REDUCE_JOB_BACKGROUND if background else SUBMIT_REDUCE_JOB
        # Five parts on the wire; the aggregator is always empty (reference, 2.12).
        return encode_request(number, function, unique, reducer, b"", workload)
    table = BACKGROUND if background else FOREGROUND
    return encode_request(table[priority], function, unique, workload)
