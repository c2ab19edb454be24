"""``gearman``: send jobs to a job server, or do them by running a command."""

from __future__ import annotations

import os
import sys

from geartrain.cli import terminal
from geartrain.cli.gearman_options import EXAMPLES, LEAD, TABLE, USAGE, Settings, settings
from geartrain.cli.options import UsageError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        asked = settings(sys.argv[1:] if arguments is None else arguments, os.environ)
    except UsageError as error:
        terminal.say("gearman", str(error))
        terminal.write_all(2, b"Try 'gearman --help'.\n")
        return 1
    if isinstance(asked, str):
        return _tell(asked)
    from geartrain.errors import GearmanError

    try:
        return _run(asked)
    except GearmanError as error:
        terminal.say("gearman", str(error))
        return 5


def _run(asked: Settings) -> int:
    if asked.daemon or asked.pid_file:
        from geartrain.cli.daemon import detach, pid_file

        if asked.daemon:
            detach()
        with pid_file(asked.pid_file):
            return _mode(asked)
    return _mode(asked)


def _mode(asked: Settings) -> int:
    if asked.worker:
        from geartrain.cli.gearman_worker import run as work

        return work(asked)
    from geartrain.cli.gearman_client import run as send

    return send(asked)


def _tell(what: str) -> int:
    if what == "version":
        from geartrain import __version__

        text = f"gearman {__version__} (geartrain)\n"
    else:
        from geartrain.cli.options import help_text

        text = help_text(
            TABLE, USAGE, LEAD, EXAMPLES, bold=terminal.likes_colour(1), width=terminal.width(1)
        )
    try:
        terminal.write_all(1, text.encode())
    except BrokenPipeError:
        return terminal.end_like_a_broken_pipe()
    return 0


if __name__ == "__main__":
    sys.exit(main())
