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

__all__ = ["i32", "i64", "mypyc_attr", "trait", "u8"]

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
