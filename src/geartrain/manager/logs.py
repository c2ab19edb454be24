"""The log of manager and workers: stderr, text or JSON, each line with its process.

The handler is on the root logger, so that what the user's functions log is there too.
"""

from __future__ import annotations

import logging
import os
import sys

from geartrain.jsonlog import JsonFormatter

#: Who we are, for every line; a process sets it once it knows.
_who = "manager"


def call_me(name: str) -> None:
    """Every line from now on carries this name."""
    global _who
    _who = name


class TextFormatter(logging.Formatter):
    """``12:00:01 images/2 [4711] WARNING text``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = self.formatTime(record, "%Y-%m-%d %H:%M:%S")
        text = f"{time} {_who} [{os.getpid()}] {record.levelname.lower()}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _process() -> dict[str, object]:
    return {"process": _who, "pid": os.getpid()}


def set_up(level: str, as_json: bool) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(_process) if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
