"""``gearman-worker``: processes that do jobs, as a command.

(``gearman -w``, the C tool's worker that runs a command for each job, is in
``gearman_worker.py``.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from geartrain.cli import terminal
from geartrain.cli import worker_options as options
from geartrain.cli.options import Parsed, UsageError, help_text, parse
from geartrain.errors import ConfigurationError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["status"]:
        return _status(words[1:])
    try:
        parsed = options.read_arguments(words)
    except UsageError as error:
        return _misused(str(error))
    if "help" in parsed:
        return _show(
            help_text(
                options.TABLE, options.USAGE, options.LEAD, options.EXAMPLES,
                bold=terminal.likes_colour(1), width=terminal.width(1),
            )
        )  # fmt: skip
    if "version" in parsed:
        from geartrain import __version__
        from geartrain._build import describe

        return _show(f"gearman-worker {__version__} (geartrain, {describe()})\n")
    try:
        return _run(parsed)
    except ConfigurationError as error:
        terminal.say("gearman-worker", str(error))
        return 1


def _run(parsed: Parsed) -> int:
    from geartrain.manager import logs
    from geartrain.manager.manager import Manager, groups_of
    from geartrain.server.lifecycle import become, notify, pid_file, watchdog_seconds

    settings = options.read_settings(parsed)
    groups_of(settings)
    # Where people keep their modules; python -m would have done the same.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if "check" in parsed:
        from geartrain.manager.checking import check

        return _show(check(settings))
    logs.set_up(settings.log_level, settings.log_json)
    with pid_file(settings.pid_file):
        if settings.user:
            become(settings.user)
        manager = Manager(
            settings,
            reread=lambda: options.read_settings(parsed),
            notify=notify,
            watchdog=watchdog_seconds(),
        )
        return manager.run()


def _status(words: Sequence[str]) -> int:
    try:
        parsed = parse(options.STATUS_TABLE, words)
    except UsageError as error:
        return _misused(str(error))
    if "help" in parsed:
        return _show(
            help_text(
                options.STATUS_TABLE, options.STATUS_USAGE, options.STATUS_LEAD, "",
                bold=terminal.likes_colour(1), width=terminal.width(1),
            )
        )  # fmt: skip
    from geartrain.cli.worker_status import show

    try:
        text = show(parsed.operands, parsed.last("status-socket"), "json" in parsed)
    except ConfigurationError as error:
        terminal.say("gearman-worker", str(error))
        return 1
    return _show(text)


def _misused(text: str) -> int:
    terminal.say("gearman-worker", text)
    terminal.write_all(2, b"Try 'gearman-worker --help'.\n")
    return 2


def _show(text: str) -> int:
    try:
        terminal.write_all(1, text.encode("utf-8", "surrogateescape"))
    except BrokenPipeError:
        return terminal.end_like_a_broken_pipe()
    return 0


if __name__ == "__main__":
    sys.exit(main())
