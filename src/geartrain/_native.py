"""What mypyc must be told about a class, without needing mypy where we run.

``mypyc_attr`` and the native integers come from ``mypy_extensions``. The
compiler reads them there; at run time they say nothing, so what stands in for
them here says nothing either, and geartrain needs no such package.

    from geartrain._native import mypyc_attr

    @mypyc_attr(allow_interpreted_subclasses=True)
    class Reader: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["i32", "i64", "mypyc_attr", "take_signals", "trait", "u8"]

if TYPE_CHECKING:
    from mypy_extensions import i32, i64, mypyc_attr, trait, u8
else:
    u8 = i32 = i64 = int

    def mypyc_attr(*_names, **_settings):
        """Give the class back as it is."""
        return lambda cls: cls

    def trait(cls):
        """Give the class back as it is."""
        return cls


def take_signals() -> None:
    """Let the handlers of signals run that have come meanwhile.

    The interpreter runs them between its own instructions, which compiled code does
    not have: a loop of it that is interrupted while it computes, and not in a system
    call, would never hear of a signal. So a loop that waits calls this, which stays
    interpreted and does nothing else.
    """
