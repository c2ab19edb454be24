"""Log records as JSON, one object a line: what the server and the workers' manager share.

The time is that of UTC, with milliseconds and a ``Z``: logs of several machines are read
together, and an hour that comes twice in autumn is none to search in.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, who, logger, message, and what ``extra`` gave.

    Args:
        who: asked for each line, which process it is of.
    """

    def __init__(self, who: Callable[[], Mapping[str, object]] = dict) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        moment = datetime.fromtimestamp(record.created, UTC)
        row: dict[str, object] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{moment.microsecond // 1000:03d}Z",
            "level": record.levelname,
            **self._who(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        row.update({k: v for k, v in vars(record).items() if k not in _USUAL})
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)
