"""Notice that code has changed, in a process of its own.

With ``watchfiles`` the system tells; without, we look at every file twice a second.
The manager cannot do either: the one brings threads, and a process with threads
should not fork; the other takes time that signals and children would wait for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

#: Not looked into: nobody edits code there.
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})
POLL_SECONDS: Final = 0.5
#: An editor, or a checkout, writes more than one file.
SETTLE_SECONDS: Final = 0.1


def watch(folders: Iterable[str], changed: Callable[[str], None]) -> None:
    """Call ``changed(path)`` after changes of Python files. Does not return."""
    listed = [folder for folder in dict.fromkeys(folders) if Path(folder).is_dir()]
    try:
        import watchfiles
    except ImportError:
        _poll(listed, changed)
        return
    for changes in watchfiles.watch(
        *listed, watch_filter=watchfiles.PythonFilter(), raise_interrupt=False, debounce=200
    ):
        changed(min(path for _, path in changes))


def _poll(folders: list[str], changed: Callable[[str], None]) -> None:
    before = stamps(folders)
    while True:
        time.sleep(POLL_SECONDS)
        now = stamps(folders)
        if now == before:
            continue
        while True:
            time.sleep(SETTLE_SECONDS)
            later = stamps(folders)
            if later == now:
                break
            now = later
        different = {path for path, _ in before.items() ^ now.items()}
        before = now
        changed(min(different))


def stamps(folders: Iterable[str]) -> dict[str, tuple[int, int]]:
    """``{path: (when changed, size)}`` of every Python file."""
    found: dict[str, tuple[int, int]] = {}
    pending = list(folders)
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name in SKIPPED:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
                            pending.append(entry.path)
                    elif entry.name.endswith(".py"):
                        stat = entry.stat()
                        found[entry.path] = stat.st_mtime_ns, stat.st_size
        except OSError:
            continue
    return found
