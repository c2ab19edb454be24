"""What there is to read about ``gearmand``'s settings, made of their table.

    python -m geartrain.cli.server_manual FOLDER

writes ``docs/man/gearmand.8``, ``docs/reference/gearmand-settings.md`` and the shell
completion below FOLDER. They are kept in the repository, and a test holds them to the
table in ``server/settings.py``, as with ``manual.py`` and the other tools.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from geartrain.cli.gearmand import build_parser
from geartrain.cli.manual import (
    Tool,
    bash_completion,
    fish_completion,
    man_page,
    write,
    zsh_completion,
)
from geartrain.cli.options import ANY, FILE, HOST, Option
from geartrain.server import settings as s
from geartrain.server.function_policies import KEYS
from geartrain.server.kinds import COUNT, FLAG, SIZE, SPACE, TIME

SUMMARY: Final = "the Gearman job server of geartrain"

LEAD: Final = """\
Takes jobs from Gearman clients, keeps them until a worker that knows their function asks
for one, and brings what the worker says back to the client. Settings come from the
defaults, then from the TOML file, then from the command line. Sizes are bytes, or have a
unit: 64KiB, 1G. Times are seconds, or have one: 500ms, 2h."""

MORE: Final = """
Environment:
  GEARMAND_PORT     port instead of 4730; a --port of another number counts more
  LISTEN_FDS, LISTEN_PID   sockets from systemd, which replace --listen and --port
  NOTIFY_SOCKET, WATCHDOG_USEC   systemd is told when we are ready, and that we live

Exit status: 0 stopped by a signal or an admin, 1 a setting is wrong or cannot be had.
"""

_FILES: Final = ("config", "ssl_certificate", "ssl_key")


def _groups() -> list[tuple[str, list[argparse.Action]]]:
    """The options as the command line groups them."""
    return [
        (group.title or "", group._group_actions)
        for group in build_parser()._action_groups
        if group._group_actions
    ]


def _takes(name: str) -> str:
    if name in _FILES or name.endswith("_file"):
        return FILE
    return HOST if name == "listen" else ANY


def tool() -> Tool:
    """``gearmand`` in the terms of the other tools' table."""
    table = [
        Option(
            " ".join(action.option_strings),
            str(action.metavar or ""),
            str(action.help).replace("%%", "%"),
            group=title[:1].upper() + title[1:],
            takes=_takes(action.dest),
        )
        for title, actions in _groups()
        for action in actions
    ]
    examples = (build_parser().epilog or "").replace("examples:", "Examples:")
    examples = examples.replace("signals:", "Signals:").strip("\n")
    return Tool(
        "gearmand",
        SUMMARY,
        table,
        "usage: gearmand [options]",
        LEAD,
        examples + "\n" + MORE.rstrip("\n"),
        ("gearman(1)", "gearadmin(1)", "gearman-worker(1)"),
        "",
    )


#: By whom the files say that they are made.
_OF_TOOLS: Final = "geartrain.cli.manual"
_OURS: Final = "geartrain.cli.server_manual"


def page_of_section_8() -> str:
    """The man page: a daemon's stands in section 8."""
    first, rest = man_page(tool()).split("\n.SH", 1)
    first = first.replace("GEARMAND 1 ", "GEARMAND 8 ").replace(
        "User Commands", "System Administration"
    )
    first = first.replace(_OF_TOOLS, _OURS)
    return f"{first}\n.SH{rest}"


# ── the reference page ───────────────────────────────────────────────────────

_HEAD: Final = """\
<!-- Made by geartrain.cli.server_manual from src/geartrain/server/settings.py: change that. -->
# Settings of `gearmand`

Each setting has one name: `--max-memory 2GiB` on the command line is

```toml
[limits]
max-memory = "2GiB"
```

in the file that `--config` names. The command line counts more than that file, the file more than the
default; between file and default stands the C server's file of options (`--config-file`), if there is
one. What is unknown, of the wrong kind or out of range is refused with its place and what
is allowed; `gearmand --config FILE --check-args` says so without starting.

- A **size** is a number of bytes, or has a unit: `4096`, `"64KiB"`, `"1G"` (1 G = 1024 × 1024 × 1024).
- A **time** is a number of seconds, or has a unit: `90`, `"500ms"`, `"10s"`, `"5min"`, `"2h"`, `"1d"`.
- 0 is "no bound" where nothing else is said.
"""


_FUNCTIONS: Final = """
## `[function."NAME"]`: what is to be done with the jobs of one function

`NAME` is a function, or a pattern with `*` and `?`; an exact name goes before a pattern, an earlier
pattern before a later one. Without such a table a function is as in the C server: `job-retries`
counts lost workers, and a failure is final. The same in words is
`--policy 'resize attempts=5 backoff=1s dead=yes'`. HUP has these tables [read
anew](../howto/failed-jobs.md#changing-a-policy-while-the-server-runs); everything else in the file takes a restart.

```toml
[function."mail.*"]
attempts = 5
backoff = "1s"
dead = true
```

| setting | what it does |
|---|---|"""


def _default(default: object, kind: str) -> str:
    if kind == FLAG:
        return "yes" if default else "no"
    if kind == SIZE and isinstance(default, int) and default:
        for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if default % size == 0:
                return f"{default // size} {unit}"
    if kind == TIME and default:
        return f"{default:g} s"
    if kind == COUNT:
        return f"{default:,}"
    return str(default) if default not in ("", ()) else "–"


def _bounds(meta: Any) -> str:
    least, most = meta["least"], meta["most"]
    words = [f"at least {least:,}"] if least else []
    words += [f"at most {most:,}"] if most is not None else []
    return f" ({', '.join(words)})" if words else ""


def reference() -> str:
    """The page of all settings."""
    parts = [_HEAD]
    for title, actions in _groups():
        names = [action.dest for action in actions if action.dest in s.FIELDS]
        if not names:
            continue
        table = s.FIELDS[names[0]].metadata["table"]
        parts.append(f"\n## `[{table}]`: {title}\n")
        parts.append("| setting | kind | default | what it does |\n|---|---|---|---|")
        for action in actions:
            one = s.FIELDS[action.dest]
            meta = one.metadata
            short = f" `-{meta['short']}`" if meta["short"] else ""
            help = str(meta["help"]).replace("|", "\\|").replace("<", "&lt;")
            kind = {
                FLAG: "yes or no",
                COUNT: "number",
                SIZE: "size",
                TIME: "time",
                SPACE: "size or %",
            }.get(meta["kind"], meta["kind"])
            if meta["key"]:
                short += f", in the file `{meta['key']}`"
            parts.append(
                f"| `{s.option_name(one.name)}`{short} | {kind}{_bounds(meta)} "
                f"| {_default(one.default, meta['kind'])} | {help} |"
            )
    parts.append(_FUNCTIONS)
    parts += [f"| `{key}` | {help} |" for key, help in KEYS.items()]
    return "\n".join(parts) + "\n"


def files() -> dict[str, str]:
    """All that is made: path below the repository, and text."""
    made = tool()
    completion = {
        "completion/bash/gearmand": bash_completion(made),
        "completion/zsh/_gearmand": zsh_completion(made),
        "completion/fish/gearmand.fish": fish_completion(made),
    }
    return {
        "docs/man/gearmand.8": page_of_section_8(),
        "docs/reference/gearmand-settings.md": reference(),
        **{name: text.replace(_OF_TOOLS, _OURS) for name, text in completion.items()},
    }


if __name__ == "__main__":
    sys.exit(write("geartrain.cli.server_manual", files(), sys.argv[1:]))
