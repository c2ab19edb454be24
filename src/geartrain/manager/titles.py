"""Titles: what ``ps`` and ``top`` call our processes.

With setproctitle (``pip install 'geartrain[proctitle]'``) the whole title, where ``ps``
shows the command line. Without it Linux takes fifteen letters, which ``ps -o comm``,
``top`` and ``pstree`` show; other systems nothing.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_PR_SET_NAME: Final = 15
_LETTERS: Final = 15


def call_process(title: str) -> None:
    """Give this process a title, such as ``gearman-worker: images:app/2``."""
    try:
        import setproctitle
    except ImportError:
        if sys.platform == "linux":
            name = title.removeprefix("gearman-worker: ").encode("utf-8", "replace")
            # The end tells more than the beginning: which one of them it is.
            ctypes.CDLL(None).prctl(_PR_SET_NAME, name[-_LETTERS:])
    else:
        setproctitle.setproctitle(title)
