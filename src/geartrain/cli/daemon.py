"""Into the background, and a note of the process's number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from geartrain.errors import ConfigurationError


def detach() -> None:
    """Go on in a child, in a session of its own, with nothing on its standard streams.

    The parent ends at once with status 0. The working directory stays, for the
    command of a worker may be a relative path.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    if nothing > 2:
        os.close(nothing)


@contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Write our number to ``path`` and take the file away in the end.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if not path:
        yield
        return
    try:
        with open(path, "w") as note:
            note.write(f"{os.getpid()}\n")
    except OSError as error:
        raise ConfigurationError(f"-i {path}: {error.strerror}") from None
    try:
        yield
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
