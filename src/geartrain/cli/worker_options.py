"""The command line of ``gearman-worker``: made from the table of settings.

Defaults, then the file, then the command line; HUP goes through it once more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from geartrain.cli.options import ANY, FILE, Option, Parsed, parse
from geartrain.errors import ConfigurationError
from geartrain.manager import settings as s

USAGE: Final = """\
usage: gearman-worker TARGET... [options]
       gearman-worker --dir DIR [options]
       gearman-worker --config FILE.toml [options]
       gearman-worker status [NAME] [--json]"""

LEAD: Final = """\
Does the jobs of Gearman job servers: loads your functions in a number of processes,
keeps them at that number, and replaces those that crash, grow or are too old.

A target is module:app (an App, or a Worker), a module, or a package, in which every
module called gearman_functions is found; they are looked for in the current directory
first."""

EXAMPLES: Final = """
Examples:
  gearman-worker images:app                   the App `app` of images.py, a process for each CPU
  gearman-worker images:app -n 1 --reload     ... while you work on it
  gearman-worker shop -n 8 --max-jobs 5000 --max-memory 512M
  gearman-worker shop -n 2 -t 16              32 jobs at once, in threads
  gearman-worker prices --prefetch 32         jobs of microseconds: the next are here already
  gearman-worker shop:app -c 500              `async def` functions: 500 jobs at once a process
  gearman-worker --dir workers/               workers/reverse.py has: def reverse(job): ...
  gearman-worker geartrain.executor --key-file /etc/gearman.key
  gearman-worker status                       what each process does now

Configuration: --config FILE.toml says the same things, and more about single functions:
  [worker]
  targets = ["shop"]
  processes = 8
  max-memory = "512M"
  [function.thumbnail]
  processes = 2          # at most two of the eight offer it
  [function.invoice]
  processes = 1
  dedicated = true       # one process more, which does nothing else

Signals: TERM, INT finish the jobs that run, and end; the second one does not wait.
  HUP loads configuration and code again, in one process first; if the new code cannot
  be loaded there, the old one works on. TTIN and TTOU: one process more, one less.
  USR1: take no more jobs, and stay.

Exit status: 0 stopped, 1 could not begin, 2 the command line makes no sense.
"""

_PROCESS: Final = "This command"

_EXTRA: Final = (
    Option(
        "--config", "FILE.toml", "read settings from a file; what is on the command line counts"
        " more", group=_PROCESS, takes=FILE,
    ),
    Option("--check", "", "load everything once, show what would be offered, and stop", group=_PROCESS),
    Option("-H --help", "", "show this", group=_PROCESS),
    Option("-V --version", "", "show the version", group=_PROCESS),
)  # fmt: skip


def _option(name: str) -> Option:
    meta = s.FIELDS[name].metadata
    short = f"-{meta['short']} " if meta["short"] else ""
    metavar = "" if meta["kind"] == s.FLAG else meta["metavar"]
    return Option(
        f"{short}--{s.option_name(name)}",
        metavar,
        meta["help"],
        group=meta["group"],
        takes=meta["takes"] or ANY,
    )


TABLE: Final = (*(_option(name) for name in s.FIELDS), *_EXTRA)

STATUS_TABLE: Final = (
    Option("--json", "", "print JSON", group="Options"),
    Option(
        "--status-socket", "PATH", "ask here (every manager of yours)", group="Options", takes=FILE
    ),
    Option("-H --help", "", "show this", group="Options"),
)

STATUS_USAGE: Final = "usage: gearman-worker status [NAME or PID] [--json]"

STATUS_LEAD: Final = """\
Shows what each process of your gearman-workers does: a table on a terminal, tab-separated
lines in a pipe. NAME is what --name said, or the first target."""


def read_settings(parsed: Parsed) -> s.Settings:
    """Everything that file and command line say.

    Raises:
        ConfigurationError: something is unknown, unreadable or out of range.
    """
    path = parsed.last("config")
    found = s.read_toml(path) if path else {}
    for name, field in s.FIELDS.items():
        key = s.option_name(name)
        if key not in parsed:
            continue
        kind = field.metadata["kind"]
        value: object = parsed.last(key)
        if kind == s.FLAG:
            value = True
        elif kind == s.TEXTS:
            value = parsed.every(key)
        found[name] = s.read_value(name, value, f"--{key}")
    if parsed.operands:
        found["targets"] = tuple(parsed.operands)
    settings = s.Settings(**found)  # type: ignore[arg-type]
    if not settings.targets and not settings.dir:
        raise ConfigurationError(
            "nothing to do: name a target, such as images:app, or a directory with --dir"
        )
    if not settings.name:
        first = settings.targets[0] if settings.targets else Path(settings.dir[0]).resolve().name
        settings = dataclasses.replace(settings, name="_".join(first.split()))
    return settings


def read_arguments(arguments: Sequence[str]) -> Parsed:
    """The command line as it was given.

    Raises:
        UsageError: it makes no sense.
    """
    return parse(TABLE, arguments)
