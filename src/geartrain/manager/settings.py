"""What ``gearman-worker`` may be told: one table for the command line, the TOML file and help.

Where a value came from (``--option``, or ``file: table.key``) is named when it is refused.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from geartrain.errors import ConfigurationError
from geartrain.manager.plan import FunctionPlan
from geartrain.units import SIZES, TIMES, whole, with_unit

TEXT: Final = "text"
TEXTS: Final = "texts"
COUNT: Final = "count"
SECONDS: Final = "seconds"
BYTES: Final = "bytes"
FRACTION: Final = "fraction"
FLAG: Final = "flag"
LEVEL: Final = "level"

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


def _setting(
    default: Any,
    kind: str,
    group: str,
    help: str,
    *,
    short: str = "",
    metavar: str = "",
    takes: str = "",
    least: float = 0,
) -> Any:
    return field(
        default=default,
        metadata={
            "kind": kind, "group": group, "help": help, "short": short, "metavar": metavar,
            "takes": takes, "least": least,
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything. Times in seconds, sizes in bytes; 0 is "no limit"."""

    targets: tuple[str, ...] = ()
    functions: Mapping[str, FunctionPlan] = field(default_factory=dict)

    # ── what to do ───────────────────────────────────────────────────────────
    dir: tuple[str, ...] = _setting(
        (), TEXTS, "What to do", "a directory of functions: in reverse.py, the function reverse(job)"
        " does the jobs of \"reverse\"; may be repeated", metavar="DIR", takes="folder",
    )  # fmt: skip
    only: tuple[str, ...] = _setting(
        (), TEXTS, "What to do", "offer these functions and no others", metavar="F,G"
    )
    exclude: tuple[str, ...] = _setting(
        (), TEXTS, "What to do", "do not offer these functions", metavar="F,G"
    )
    key_file: str = _setting(
        "", TEXT, "What to do", "file with the key of signed calls, for geartrain.executor",
        metavar="FILE", takes="file",
    )  # fmt: skip

    # ── for whom ─────────────────────────────────────────────────────────────
    servers: str = _setting(
        "", TEXT, "For which servers", "job servers, such as a,b:4731,unix:/run/gearmand.sock"
        " (what the target says, else $GEARMAN_SERVERS, else localhost)",
        short="s", metavar="LIST", takes="host",
    )  # fmt: skip
    ssl: bool = _setting(
        False, FLAG, "For which servers", "speak TLS, with the files that the environment names"
        " (GEARMAND_CA_CERTIFICATE, GEARMAN_CLIENT_PEM, GEARMAN_CLIENT_KEY)", short="S",
    )  # fmt: skip
    namespace: str = _setting(
        "", TEXT, "For which servers", "put before every function name on the wire",
        metavar="PREFIX",
    )  # fmt: skip
    name: str = _setting(
        "", TEXT, "For which servers", "what `gearadmin --workers` and `gearman-worker status` call"
        " us (the first target)", metavar="NAME",
    )  # fmt: skip

    # ── how many ─────────────────────────────────────────────────────────────
    processes: int = _setting(
        -1, COUNT, "How many at once", "processes (one for each CPU; 1 with --reload)", short="n",
        metavar="N", least=0,
    )  # fmt: skip
    threads: int = _setting(
        1, COUNT, "How many at once", "jobs at once in each process, in threads", short="t",
        metavar="M", least=1,
    )  # fmt: skip
    concurrency: int = _setting(
        0, COUNT, "How many at once", "jobs at once in each process, on an asyncio loop, for"
        " `async def` functions", short="c", metavar="K", least=1,
    )  # fmt: skip
    prefetch: int = _setting(
        0, COUNT, "How many at once", "jobs that each of them fetches ahead, for jobs of less than"
        " a millisecond (0)", metavar="N",
    )  # fmt: skip

    # ── for how long ─────────────────────────────────────────────────────────
    max_jobs: int = _setting(
        0, COUNT, "For how long", "replace a process after so many jobs", metavar="N"
    )
    max_lifetime: float = _setting(
        0.0, SECONDS, "For how long", "replace a process after so long, such as 90, 30m or 12h;"
        " the job that runs then is finished", metavar="TIME",
    )  # fmt: skip
    max_memory: int = _setting(
        0, BYTES, "For how long", "replace a process that has grown to so much, such as 512M, after"
        " its job", metavar="SIZE",
    )  # fmt: skip
    splay: float = _setting(
        0.1, FRACTION, "For how long", "lower these three by up to so much, differently for each"
        " process, so that not all are replaced at one moment (10%)", metavar="PART",
    )  # fmt: skip
    grace: float = _setting(
        30.0, SECONDS, "For how long", "time that jobs have to end when we stop; then they go to"
        " other workers (30)", metavar="TIME",
    )  # fmt: skip
    load_timeout: float = _setting(
        60.0, SECONDS, "For how long", "time that a process has to load its targets (60)",
        metavar="TIME", least=0.1,
    )  # fmt: skip

    # ── while developing ─────────────────────────────────────────────────────
    reload: bool = _setting(
        False, FLAG, "While developing", "load the code again when a file changes; what cannot be"
        " loaded is reported, and the old code works on", short="r",
    )  # fmt: skip
    reload_dir: tuple[str, ...] = _setting(
        (), TEXTS, "While developing", "watch this directory (the current one, and those of --dir);"
        " may be repeated", metavar="DIR", takes="folder",
    )  # fmt: skip

    # ── as a service ─────────────────────────────────────────────────────────
    pid_file: str = _setting(
        "", TEXT, "As a service", "write the process id here, and remove it at the end", short="P",
        metavar="FILE", takes="file",
    )  # fmt: skip
    user: str = _setting("", TEXT, "As a service", "user to become", short="u", metavar="USER")
    metrics: str = _setting(
        "", TEXT, "As a service", "answer http://127.0.0.1:PORT/metrics, in the form that Prometheus"
        " reads", metavar="[HOST:]PORT",
    )  # fmt: skip
    log_json: bool = _setting(False, FLAG, "As a service", "log JSON objects, one a line")
    log_level: str = _setting(
        "info", LEVEL, "As a service", "how much to log: " + ", ".join(LEVELS) + " (info)",
        metavar="LEVEL",
    )  # fmt: skip
    status_socket: str = _setting(
        "", TEXT, "As a service", "where `gearman-worker status` asks (a socket in a directory of"
        " the user's own)", metavar="PATH", takes="file",
    )  # fmt: skip


#: Everything that is an option: all but the targets and the functions.
FIELDS: Final = {f.name: f for f in dataclasses.fields(Settings) if f.metadata}


def option_name(name: str) -> str:
    """How a field is spelled on the command line and in TOML."""
    return name.replace("_", "-")


def read_value(name: str, value: object, source: str) -> object:
    """Turn what the user wrote into a field's value.

    Args:
        name: the field.
        value: text from the command line, or a TOML value.
        source: how to call the place it came from.

    Raises:
        ConfigurationError: naming source, value and what is allowed.
    """
    meta = FIELDS[name].metadata
    kind: str = meta["kind"]
    result: object = None
    if kind == FLAG:
        result, want = (value if isinstance(value, bool) else None), "true or false"
    elif kind == TEXTS:
        result, want = _texts(value, split=name in ("only", "exclude")), "a list of texts"
    elif kind == TEXT:
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            value = ",".join(value)  # servers = ["a", "b"]
        if name == "metrics" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # metrics = 9100
        result, want = (value if isinstance(value, str) else None), "a text"
    elif kind == LEVEL:
        result = value.lower() if isinstance(value, str) and value.lower() in LEVELS else None
        want = "one of " + ", ".join(LEVELS)
    else:
        least: float = meta["least"]
        number: float | None
        if kind == COUNT:
            number, want = whole(value), "a whole number"
        elif kind == BYTES:
            number, want = with_unit(value, SIZES), "a size such as 64k, 512M or 1GiB"
        elif kind == SECONDS:
            number, want = with_unit(value, TIMES), "a time such as 90, 500ms, 30m or 12h"
        else:
            number, want = _fraction(value), "a part of the whole, such as 0.1 or 10%"
        if number is not None and number >= least:
            result = number
        elif least:
            want += f", at least {least:g}"
    if result is None:
        raise ConfigurationError(f"{source}: {value!r} is not valid: want {want}")
    return int(result) if kind == BYTES and isinstance(result, float) else result


def _texts(value: object, split: bool) -> tuple[str, ...] | None:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(one, str) for one in values):
        return None
    if split:
        values = [part for one in values for part in one.replace(",", " ").split()]
    return tuple(values)


def _fraction(value: object) -> float | None:
    number: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(%?)", value.strip())
        if match is not None:
            number = float(match[1]) / (100 if match[2] else 1)
    return number if number is not None and 0 <= number < 1 else None


def read_toml(path: str) -> dict[str, object]:
    """What a TOML file sets: ``[worker]``, and ``[function.NAME]``.

    Raises:
        ConfigurationError: it cannot be read, or something in it is unknown or wrong.
    """
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    found: dict[str, object] = {}
    for table, content in tree.items():
        if table not in ("worker", "function"):
            raise ConfigurationError(
                f"{path}: unknown table [{table}]; there are [worker] and [function.NAME]"
            )
        if not isinstance(content, dict):
            raise ConfigurationError(f"{path}: {table} must be a table: [{table}]")
        if table == "function":
            found["functions"] = {
                name: _function(content[name], f"{path}: function.{name}") for name in content
            }
            continue
        for key, value in content.items():
            source = f"{path}: worker.{key}"
            if key in ("target", "targets"):
                found["targets"] = _texts(value, split=False)
                if found["targets"] is None:
                    raise ConfigurationError(f"{source}: {value!r}: want a list of texts")
                continue
            name = key.replace("-", "_")
            if name not in FIELDS:
                names = ["targets", *map(option_name, FIELDS)]
                raise ConfigurationError(f"{source} is unknown; {_nearest(key, names)}")
            found[name] = read_value(name, value, source)
    return found


def _function(content: object, source: str) -> FunctionPlan:
    if not isinstance(content, dict):
        raise ConfigurationError(f"{source} must be a table: [{source.rpartition(' ')[2]}]")
    for key, value in content.items():
        if key == "processes":
            if whole(value) is None or not isinstance(value, int) or value < 1:
                raise ConfigurationError(
                    f"{source}.processes: {value!r} is not valid: want a whole number, at least 1"
                )
        elif key == "dedicated":
            if not isinstance(value, bool):
                raise ConfigurationError(
                    f"{source}.dedicated: {value!r} is not valid: want true or false"
                )
        else:
            raise ConfigurationError(
                f"{source}.{key} is unknown; {_nearest(key, ['processes', 'dedicated'])}"
            )
    return FunctionPlan(content.get("processes", 0), content.get("dedicated", False))


def _nearest(word: str, known: list[str]) -> str:
    near = get_close_matches(word.replace("_", "-"), known, 1)
    return f"did you mean {near[0]}?" if near else "there are " + ", ".join(sorted(known))
