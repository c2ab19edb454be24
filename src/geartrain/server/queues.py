"""Which queue the settings mean: our URL, or the C server's way of saying it."""

from __future__ import annotations

import logging
import re
import shlex
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from geartrain.errors import ConfigurationError
from geartrain.server.settings import Settings
from geartrain.stores.url import StoreUrl

log = logging.getLogger("geartrain.server")

#: Jobs are in memory, and nowhere else.
MEMORY: Final = "memory://"
MEMORY_SCHEME: Final = "memory"

#: What the C server has and we do not: its options begin so, and this is why.
_FOREIGN: Final = {
    "mysql": "MySQL",
    "redis": "Redis",
    "libdrizzle": "Drizzle",
    "libmemcached": "memcached",
    "libtokyocabinet": "Tokyo Cabinet",
}
_REASONS: Final = {
    "mysql": "it writes one row for each commit, and reads all of them back at the start",
    "redis": "it cuts workloads at the first NUL byte",
    "libdrizzle": "the database is no longer made",
    "libmemcached": "memcached drops what it has no room for, and everything when it ends",
    "libtokyocabinet": "the library is no longer made",
}
_INSTEAD: Final = (
    "use --queue sqlite:///PATH for one server, or --queue postgresql://HOST/DATABASE for several"
)


class Queue(NamedTuple):
    """Where background jobs are kept."""

    #: For ``stores.registry``; ``memory://`` for nowhere.
    url: str
    #: What people should know, if anything.
    notice: str = ""


def choose(settings: Settings) -> Queue:
    """The queue that is meant.

    Raises:
        ConfigurationError: we have no such queue, or something is missing.
    """
    kind = settings.queue_type.lower()
    if not kind:
        for name in ("libsqlite3_db", "libpq_conninfo"):
            if getattr(settings, name):
                kind = "libsqlite3" if name == "libsqlite3_db" else "postgres"
    if kind and kind != "builtin" and settings.queue != MEMORY:
        raise ConfigurationError(
            f"--queue {StoreUrl.parse(settings.queue).text} and -q {settings.queue_type or kind} contradict each other;"
            " leave one of them out"
        )
    if not kind or kind == "builtin":
        return Queue(settings.queue)
    if kind == "libsqlite3":
        return _sqlite(settings)
    if kind == "postgres":
        return _postgres(settings)
    for prefix, name in _FOREIGN.items():
        if kind.startswith(prefix) or prefix.removeprefix("lib") == kind:
            raise ConfigurationError(f"-q {settings.queue_type}: {_why_not(prefix, name)}")
    raise ConfigurationError(
        f"-q {settings.queue_type} is unknown; there are builtin, libsqlite3 and Postgres"
    )


def foreign_option(option: str) -> str:
    """Why this option of the C server is not ours; empty if it is none of its queues'."""
    for prefix, name in _FOREIGN.items():
        if option.startswith(f"--{prefix}"):
            return f"{option.partition('=')[0]}: {_why_not(prefix, name)}"
    return ""


def _why_not(prefix: str, name: str) -> str:
    return f"there is no {name} queue here, because in the C server {_REASONS[prefix]}; {_INSTEAD}"


def _sqlite(settings: Settings) -> Queue:
    if not settings.libsqlite3_db:
        raise ConfigurationError("-q libsqlite3 needs --libsqlite3-db=FILE")
    old = Path(settings.libsqlite3_db).absolute()
    url = f"sqlite://{quote(str(old))}.geartrain"
    if not old.exists():
        return Queue(url)
    source = f"sqlite://{quote(str(old))}"
    if settings.libsqlite3_table != "gearman_queue":
        source += "?" + urlencode({"table": settings.libsqlite3_table})
    return Queue(
        url,
        f"{old} is the C server's queue; ours is {old}.geartrain. Jobs that the C server left"
        f" there stay there until you say: gearadmin import {shlex.quote(source)}"
        f" {shlex.quote(url)} (with gearmand stopped)",
    )


def _postgres(settings: Settings) -> Queue:
    info = settings.libpq_conninfo
    if not info:
        raise ConfigurationError("-q Postgres needs --libpq-conninfo='host=... dbname=...'")
    url = info if "://" in info else _url_of(info)
    shown = StoreUrl.parse(url).text
    source = f"{shown}{'&' if '?' in shown else '?'}{urlencode({'table': settings.libpq_table})}"
    return Queue(
        url,
        f"our jobs are in tables of their own in that database; what the C server left in table"
        f" {settings.libpq_table!r} stays there until you say: gearadmin import"
        f" {shlex.quote(source)} {shlex.quote(shown)}",
    )


_PAIR: Final = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)")


def _url_of(info: str) -> str:
    """``host=db user=gearman`` as a URL, with all it says as options."""
    options: dict[str, str] = {}
    at = 0
    while at < len(info.rstrip()):
        match = _PAIR.match(info, at)
        if match is None:
            raise ConfigurationError(
                f"--libpq-conninfo: {info[at:].strip()!r} is no name=value; want such as"
                " 'host=db dbname=gearman user=gearman'"
            )
        at = match.end()
        value = match[2] if match[2] is not None else match[3]
        options[match[1]] = re.sub(r"\\(.)", r"\1", value)
    user = quote(options.pop("user", ""), safe="")
    password = quote(options.pop("password", ""), safe="")
    host = options.pop("host", "")
    port = options.pop("port", "")
    name = quote(options.pop("dbname", ""), safe="")
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    where = host
    if host.startswith("/"):
        options["host"] = host
        where = ""
    where += f":{port}" if port else ""
    rest = f"?{urlencode(options, quote_via=quote)}" if options else ""
    return f"postgresql://{who}{where}/{name}{rest}"
