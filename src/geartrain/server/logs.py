"""The server's log: stderr or a file that can be rotated, text or JSON, perhaps syslog too.

Loggers are ``geartrain.*`` of the standard library; a program that embeds the
server configures them itself, and nothing here runs.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys

from geartrain.errors import ConfigurationError
from geartrain.jsonlog import JsonFormatter
from geartrain.server.settings import Settings

NOTICE = 25
ALERT = 55

_LEVELS = {
    "FATAL": 60, "ALERT": ALERT, "CRITICAL": logging.CRITICAL, "ERROR": logging.ERROR,
    "WARNING": logging.WARNING, "NOTICE": NOTICE, "INFO": logging.INFO, "DEBUG": logging.DEBUG,
}  # fmt: skip

_PLAIN = "%(levelname)8s %(asctime)s %(message)s"


class _LogFile(logging.FileHandler):
    """A file that can be taken away while we write to it."""

    def reopen(self) -> OSError | None:
        """Go on in a new file of the same name; in the old one, if that cannot be had.

        A server that has become another user may not be allowed to make a file there.
        """
        try:
            fresh = self._open()
        except OSError as error:
            return error
        self.acquire()
        old, self.stream = self.stream, fresh
        self.release()
        if old is not None:
            old.close()
        return None


class ServerLog:
    """What ``gearmand`` set up; ``reopen`` follows a rotation."""

    def __init__(self, settings: Settings) -> None:
        logging.addLevelName(NOTICE, "NOTICE")
        logging.addLevelName(ALERT, "ALERT")
        logging.addLevelName(60, "FATAL")
        root = logging.getLogger("geartrain")
        root.setLevel(_LEVELS[settings.verbose])
        root.propagate = False
        self._file: _LogFile | None = None
        formatter = JsonFormatter() if settings.log_json else logging.Formatter(_PLAIN)
        handler: logging.Handler
        if settings.log_file == "none":
            handler = logging.NullHandler()
        elif settings.log_file == "stderr":
            handler = logging.StreamHandler(sys.stderr)
        else:
            try:
                self._file = _LogFile(settings.log_file)
            except OSError as error:
                raise ConfigurationError(
                    f"cannot write log file {settings.log_file}: {error.strerror}; "
                    f"choose another with --log-file, or `stderr`"
                ) from error
            handler = self._file
        handler.setFormatter(formatter)
        root.addHandler(handler)
        if settings.syslog:
            try:
                syslog = logging.handlers.SysLogHandler("/dev/log")
            except OSError as error:
                raise ConfigurationError(
                    f"cannot reach syslog at /dev/log: {error.strerror}; leave --syslog out"
                ) from error
            syslog.setFormatter(logging.Formatter("gearmand: %(message)s"))
            root.addHandler(syslog)

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        log = logging.getLogger("geartrain.server")
        error = self._file.reopen() if self._file is not None else None
        if error is None:
            log.log(NOTICE, "SIGHUP, reopening log file")
        else:
            log.error(
                "SIGHUP, cannot open the log file anew: %s: %s; going on in the old one",
                error.filename, error.strerror,
            )  # fmt: skip
