"""Blame: where a handler failed, told without the frames that are ours.

Between a worker and a handler there may be middleware, a manager that counts and an event
loop. Nobody who looks for a fault in their own code wants to read those.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from geartrain.errors import GearmanError

_OURS: Final = tuple(
    f"geartrain.{package}."
    for package in ("worker", "typed", "manager", "executor", "django", "compat")
)
#: Dropped where they stand right below one of ours, which has called them.
_CARRIERS: Final = ("asyncio.", "concurrent.futures.", "contextlib", "geartrain.codecs")


def blame(error: BaseException) -> BaseException | None:
    """The error with a traceback that is the user's alone; None: it has none.

    What we refuse ourselves, such as a workload that cannot be decoded, never got to
    the user's code: where in ours that happened tells nobody anything. Any other error
    that is only ours is a fault of ours, and keeps its whole traceback.
    """
    kept: list[TracebackType] = []
    below_ours = True
    at = error.__traceback__
    while at is not None:
        module = str(at.tb_frame.f_globals.get("__name__", ""))
        if module.startswith(_OURS):
            below_ours = True
        elif not (below_ours and module.startswith(_CARRIERS)):
            below_ours = False
            kept.append(at)
        at = at.tb_next
    if not kept:
        return None if isinstance(error, GearmanError) else error
    rest: TracebackType | None = None
    for one in reversed(kept):
        rest = TracebackType(rest, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return error.with_traceback(rest)


def traceback_of(error: BaseException) -> str:
    """The traceback as text, empty where there is none that tells something."""
    import traceback

    blamed = blame(error)
    return "" if blamed is None else "".join(traceback.format_exception(blamed))
