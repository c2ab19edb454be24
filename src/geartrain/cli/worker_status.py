"""What ``gearman-worker status`` prints: a table, tab-separated lines, or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from geartrain.cli import terminal
from geartrain.cli.table import GAP, LEAST, cells, fit, pad
from geartrain.errors import ConfigurationError
from geartrain.manager.status import ask, ask_all

_COLUMNS: Final = (
    "process", "pid", "state", "jobs", "failed", "running", "function", "for", "age", "memory",
)  # fmt: skip
_TEXTS: Final = ("process", "state", "function")
#: These are cut where the terminal is narrow ...
_SUPPLE: Final = ("process", "function")
#: ... and if that does not do, these go, the first one first.
_LEAVE: Final = ("memory", "failed", "age", "for", "jobs")


def show(names: Sequence[str], socket: str, as_json: bool) -> str:
    """The text to print.

    Args:
        names: names or process ids of managers; none: all of them.
        socket: ask only there; empty: everywhere.

    Raises:
        ConfigurationError: nobody is there to ask.
    """
    if socket:
        try:
            found = [ask(socket)]
        except OSError as error:
            raise ConfigurationError(
                f"no gearman-worker answers at {socket}: {error.strerror or error}"
            ) from None
    else:
        found = list(ask_all())
    if names:
        found = [one for one in found if one["name"] in names or str(one["pid"]) in names]
    if not found:
        raise ConfigurationError(
            f"no gearman-worker {' '.join(names)} of yours is running here".replace("  ", " ")
            + "; one that runs as another user, or with --status-socket, is asked with "
            "--status-socket PATH"
        )
    if as_json:
        import json

        live = terminal.is_terminal(1)
        return json.dumps(found, indent=2 if live else None, ensure_ascii=False) + "\n"
    if terminal.is_terminal(1):
        bold, room = terminal.likes_colour(1), terminal.width(1)
        return "\n".join(table(one, bold, room) for one in found)
    return "".join("\t".join(row) + "\n" for one in found for row in map(_plain, one["processes"]))


def _plain(process: Mapping[str, Any]) -> list[str]:
    """Bare numbers, in the order of the columns: for cut and awk."""
    keys = (
        "name", "pid", "state", "jobs", "failures", "running", "function", "job_seconds",
        "age_seconds", "memory_bytes",
    )  # fmt: skip
    return [str(process[key]) for key in keys]


def table(manager: Mapping[str, Any], bold: bool, room: int) -> str:
    """For people: a line about the manager, and its processes in columns that fit ``room``."""
    rows = [
        [
            str(p["name"]), str(p["pid"]), str(p["state"]), str(p["jobs"]), str(p["failures"]),
            str(p["running"]), str(p["function"]) or "-",
            _time(p["job_seconds"]) if p["running"] else "-", _time(p["age_seconds"]),
            _size(p["memory_bytes"]),
        ]
        for p in manager["processes"]
    ]  # fmt: skip
    wishes = {
        name: max(cells(row[at]) for row in [_COLUMNS, *rows]) for at, name in enumerate(_COLUMNS)
    }
    least = {name: min(wish, LEAST) if name in _SUPPLE else wish for name, wish in wishes.items()}
    for name in _LEAVE:
        if sum(least.values()) + GAP * (len(least) - 1) <= room:
            break
        del wishes[name], least[name]
    fitted = fit(list(wishes.values()), list(least.values()), room)
    widths = dict(zip(wishes, fitted, strict=True))
    jobs = manager["ended"]["jobs"] + sum(p["jobs"] for p in manager["processes"])
    crashes = manager["crashes"]
    running = sum(p["running"] for p in manager["processes"])
    lines = [
        f"{manager['name']} (pid {manager['pid']}): {manager['state']}, "
        f"{_count(len(rows), 'process', 'es')}, {running} running, {_count(jobs, 'job')} done"
        + (f", {_count(crashes, 'crash', 'es')}" if crashes else "")
    ]
    for row in [list(_COLUMNS), *rows]:
        made = [
            pad(cell, widths[name], name not in _TEXTS)
            for name, cell in zip(_COLUMNS, row, strict=True)
            if name in widths
        ]
        lines.append((" " * GAP).join(made).rstrip())
    if bold:
        lines[1] = f"\x1b[1m{lines[1]}\x1b[0m"
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def _time(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f}G" if count >= 2**30 else f"{count / 2**20:.0f}M"
