"""What the tools say to people: messages on stderr, and manners for pipes and terminals.

A pipe gets bytes and nothing else. Colour, tables and lines that rewrite themselves
are for terminals, and not for those that ask for none (``NO_COLOR``, ``TERM=dumb``).
"""

from __future__ import annotations

import os


def say(program: str, text: str) -> None:
    """One line on stderr, with the program's name before it."""
    write_all(2, f"{program}: {text}\n".encode("utf-8", "surrogateescape"))


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte, waiting as long as it takes (also for a pipe set non-blocking).

    Raises:
        OSError: the reader has gone (``BrokenPipeError``), the disk is full ...
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll(1000)


def is_terminal(fd: int) -> bool:
    """Whether a person looks at it."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def likes_colour(fd: int) -> bool:
    """Whether it is a terminal that wants colour."""
    return can_move(fd) and "NO_COLOR" not in os.environ


def can_move(fd: int) -> bool:
    """Whether it is a terminal whose lines can be written anew."""
    return is_terminal(fd) and os.environ.get("TERM", "") != "dumb"


def width(fd: int) -> int:
    """Columns of the terminal behind ``fd``, 80 where there is none."""
    try:
        return os.get_terminal_size(fd).columns or 80
    except OSError:
        return 80


def end_like_a_broken_pipe() -> int:
    """The reader of our output has gone: end as ``cat`` would, by SIGPIPE."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 141
