"""``gearmand``: the job server as a command.

The command line is the C server's, made from the table of ``server.settings``; a
file of options as the C server's, or a TOML file, may say the same things. The order
is: defaults, options file, TOML file, command line, and only then is anything opened.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from geartrain import __version__
from geartrain._build import describe
from geartrain.errors import ConfigurationError
from geartrain.server import settings as s
from geartrain.server.function_policies import read_policies
from geartrain.server.kinds import FLAG, SIZE, TEXTS, TIME, BadValue
from geartrain.server.lifecycle import (
    Allocator,
    become,
    go_to_background,
    may_become,
    notify,
    pid_file,
    raise_descriptor_limit,
    report_ready,
    watchdog_seconds,
)
from geartrain.server.logs import NOTICE, ServerLog
from geartrain.server.queues import foreign_option
from geartrain.server.settings_file import read_toml

if TYPE_CHECKING:
    from geartrain.server.jobserver import JobServer

log = logging.getLogger("geartrain.server")

_TITLES = {
    "listen": "where it listens",
    "tls": "TLS",
    "jobs": "jobs and workers",
    "queue": "where background jobs are kept",
    "limits": "limits that keep one peer from hurting the others",
    "process": "the process",
    "log": "log",
    "compatibility": "accepted for the C server's sake",
}

_EXAMPLES = """
examples:
  gearmand                                   listen on port 4730 of all addresses
  gearmand -d -l /var/log/gearmand.log -P /run/gearmand.pid
  gearmand -L 127.0.0.1 -L '[::1]' -L unix:/run/gearmand.sock
  gearmand --queue sqlite:///var/lib/geartrain/jobs.db
                                             background jobs survive anything
  gearmand --config /etc/gearmand.toml       the same settings in a file:
                                               [listen]
                                               port = 4731
                                               [limits]
                                               max-memory = "2GiB"
  gearmand --config FILE --check-args        say whether all is right, and stop

signals: TERM, INT stop at once; USR1 stops when all jobs are done; HUP reopens the log,
and reads the TLS files and the policies of functions anew
"""


#: As in the C server, these go before what is said elsewhere.
_TLS_VARIABLES = {
    "ssl_ca_file": "GEARMAND_CA_CERTIFICATE",
    "ssl_certificate": "GEARMAND_SERVER_PEM",
    "ssl_key": "GEARMAND_SERVER_KEY",
}


#: Where the C server looks for options when it is not told where.
DEFAULT_CONFIG_FILE = "/etc/gearmand.conf"

#: What the C server says of some values; ours follows it with what is allowed.
_C_TEXTS = {
    "verbose": "Invalid value for --verbose supplied",
    "hashtable_buckets": "hashtable-buckets has to be greater than 0",
}


class _Parser(argparse.ArgumentParser):
    #: The file that is being read, if it is not the command line.
    source = ""

    def error(self, message: str) -> NoReturn:
        option = re.match(r"argument (?:-\w/)?(--[\w-]+): (.*)", message)
        if message.startswith("unrecognized arguments: "):
            word = message.partition(": ")[2].split(" ")[0]
            refusal = foreign_option(word)
            if refusal:
                raise ConfigurationError(f"{self.source}{refusal}")
            message = f"unrecognised option '{word}'"
        elif option and option[2].startswith("expected"):
            message = f"the required argument for option '{option[1]}' is missing"
        elif option and option[2].startswith("ignored explicit argument"):
            message = f"option '{option[1]}' does not take any arguments"
        raise ConfigurationError(f"{self.source}{message}; see gearmand --help")


def build_parser() -> _Parser:
    """The command line, from the table of settings."""
    parser = _Parser(
        prog="gearmand",
        description="The geartrain job server: takes jobs from Gearman clients and gives them to"
        " workers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="help", help="show this help and stop")
    general.add_argument("-V", "--version", action="store_true", help="show the version and stop")
    general.add_argument("--config", metavar="FILE.toml", help="read settings from a TOML file")
    general.add_argument(
        "--config-file", metavar="FILE",
        help="read options from a file as the C server's: words as on the command line, without"
        f" quotes and comments (default: {DEFAULT_CONFIG_FILE}, if it is there and there is no"
        " --config); the command line goes before it",
    )  # fmt: skip
    general.add_argument("--check-args", action="store_true", help="check all settings and stop")
    groups: dict[str, Any] = {}
    for name, one in s.FIELDS.items():
        meta = one.metadata
        table = meta["table"]
        if table not in groups:
            groups[table] = parser.add_argument_group(_TITLES[table])
        flags = [f"-{meta['short']}"] if meta["short"] else []
        flags.append(f"--{s.option_name(name)}")
        extra: dict[str, Any] = {"dest": name, "default": None, "help": _help(meta, one.default)}
        if meta["kind"] == FLAG:
            extra["action"] = "store_true"
        else:
            extra["metavar"] = meta["metavar"] or {
                "seconds": "TIME",
                "bytes": "SIZE",
                "space": "SIZE",
            }.get(meta["kind"], "N")
            if meta["kind"] == TEXTS:
                extra["action"] = "append"
        groups[table].add_argument(*flags, **extra)
    missing = parser.add_argument_group("in the C server, and not here")
    missing.add_argument("-r", "--protocol", metavar="NAME", help="refused: there is no HTTP here")
    missing.add_argument("--http-port", metavar="PORT", help="refused, as --protocol http")
    return parser


def read_config_file(path: str, parser: _Parser) -> argparse.Namespace | None:
    """The options in a file; None when the default file is not there.

    Raises:
        ConfigurationError: the file cannot be read, or an option in it is unknown.
    """
    try:
        words = Path(path or DEFAULT_CONFIG_FILE).read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        if not path and isinstance(error, FileNotFoundError):
            return None
        cause = (error.strerror if isinstance(error, OSError) else None) or error
        hint = "" if path else "; name another with --config-file, such as /dev/null"
        raise ConfigurationError(
            f"Could not open configuration file. {path or DEFAULT_CONFIG_FILE}: {cause}{hint}"
        ) from error
    parser.source = f"{path or DEFAULT_CONFIG_FILE}: "
    found, others = parser.parse_known_args(words)
    for word in others:
        # As the C server: words that are no options are passed over.
        if word.startswith("-"):
            parser.error(f"unrecognized arguments: {word}")
    parser.source = ""
    return found


def _help(meta: Any, default: object) -> str:
    text = str(meta["help"]).replace("%", "%%")
    if meta["kind"] in (FLAG, TEXTS) or default == "":
        return text
    if meta["kind"] == SIZE and isinstance(default, int):
        return f"{text} (default: {_size(default)})"
    if meta["kind"] == TIME:
        return f"{text} (default: {default:g}s)"
    return f"{text} (default: {default})"


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)


def read_settings(arguments: argparse.Namespace) -> s.Settings:
    """Defaults, then the files, then the command line.

    Raises:
        ConfigurationError: something is unknown, unreadable or out of range.
    """
    found: dict[str, object] = {}
    path = arguments.config_file
    if path is not None or not arguments.config:
        options = read_config_file(path or "", build_parser())
        if options is not None:
            _take(options, found, f"{path or DEFAULT_CONFIG_FILE}: ")
    if arguments.config:
        in_file = read_toml(arguments.config)
        read_policies(in_file.get("policy", ()), f"{arguments.config}: policy")  # type: ignore[arg-type]
        found.update(in_file)
    _take(arguments, found, "")
    if found.get("ssl"):
        for name, variable in _TLS_VARIABLES.items():
            if value := os.environ.get(variable):
                found[name] = value
    settings = s.Settings(**found)  # type: ignore[arg-type]
    environment_port = os.environ.get("GEARMAND_PORT", "")
    if settings.port == "4730" and environment_port and "://" not in environment_port:
        settings = s.Settings(**{**found, "port": environment_port})  # type: ignore[arg-type]
    return settings


def _take(arguments: argparse.Namespace, found: dict[str, object], source: str) -> None:
    """Read what was given in words, in the C server's way of refusing it."""
    if arguments.protocol is not None and arguments.protocol != "http":
        raise ConfigurationError(f"{source}Unknown protocol module : {arguments.protocol}")
    if arguments.protocol is not None or arguments.http_port is not None:
        option = "--protocol http" if arguments.protocol is not None else "--http-port"
        raise ConfigurationError(
            f"{source}{option}: geartrain speaks no HTTP yet; leave {option} out, and submit with "
            f"gearman(1) or a client library, from a handler of your web server if it must be HTTP"
        )
    for name in s.FIELDS:
        value = getattr(arguments, name)
        if value is None:
            continue
        try:
            found[name] = s.read_value(name, value, s.option_name(name))
        except BadValue as error:
            text = f"the argument ({value!r}) for option '--{s.option_name(name)}' is invalid"
            if name in _C_TEXTS and not (name == "hashtable_buckets" and not _is_number(value)):
                text = f"{_C_TEXTS[name]}: {value!r}"
            raise ConfigurationError(f"{source}{text}: want {error.want}") from error


def _is_number(text: str) -> bool:
    return text.lstrip("+-").isdigit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    try:
        return _main(argv)
    except ConfigurationError as error:
        print(f"gearmand: {error}", file=sys.stderr)
        return 1


def _main(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.version:
        from geartrain.server.jobserver import PROTOCOL_VERSION

        print(f"\ngearmand {PROTOCOL_VERSION} - geartrain {__version__} ({describe()})")
        return 0
    settings = read_settings(arguments)
    if arguments.check_args:
        from geartrain.server.jobserver import JobServer
        from geartrain.server.listener import port_number
        from geartrain.server.tls_context import tls_context

        port_number(settings.port)
        tls_context(settings)
        if settings.user:
            may_become(settings.user)
        JobServer(settings)
        print("all settings are right")
        return 0
    return run(settings, lambda: read_settings(arguments))


def run(settings: s.Settings, reread: Callable[[], s.Settings]) -> int:
    """Serve until told to stop.

    Args:
        reread: gives the settings as they are now.

    Raises:
        ConfigurationError: something the settings ask for cannot be had.
    """
    from geartrain.server.loop import HostedLoop

    descriptor = go_to_background() if settings.daemon else -1
    raise_descriptor_limit(settings.file_descriptors)
    server_log = ServerLog(settings)
    with asyncio.Runner(loop_factory=HostedLoop) as runner, pid_file(settings.pid_file):
        return runner.run(_serve(settings, reread, server_log, descriptor))


async def _serve(
    settings: s.Settings, reread: Callable[[], s.Settings], server_log: ServerLog, descriptor: int
) -> int:
    from geartrain.server.jobserver import JobServer

    server = JobServer(
        settings,
        inherit=True,
        allocator=Allocator(),
        # Before the queue is opened: its files are the user's.
        settle=(lambda: become(settings.user)) if settings.user else None,
    )
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    # As soon as there is anything to put in order: a socket's file, the queue's lock.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, main.cancel)
    try:
        await _serve_on(server, settings, reread, server_log, descriptor)
    except asyncio.CancelledError:
        log.log(NOTICE, "stopping before it has begun")
    return 0


async def _serve_on(
    server: JobServer,
    settings: s.Settings,
    reread: Callable[[], s.Settings],
    server_log: ServerLog,
    descriptor: int,
) -> None:
    from geartrain.server.jobserver import addresses_text

    async with server:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.end)
        loop.add_signal_handler(signal.SIGUSR1, server.drain)

        def reload() -> None:
            server_log.reopen()
            server.reload()
            _decide_anew(server, settings, reread)

        loop.add_signal_handler(signal.SIGHUP, reload)
        # Jobs hold no cycles of objects, so the collector would find nothing
        # in millions of them, slowly. What exists now never goes away.
        gc.collect()
        gc.freeze()
        gc.disable()
        log.log(
            NOTICE, "geartrain %s (%s) listens on %s, pid %d", __version__, describe(),
            addresses_text(server.addresses), os.getpid(),
        )  # fmt: skip
        if descriptor >= 0:
            report_ready(descriptor)
        notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving")
        every = watchdog_seconds()
        if every:
            _feed_watchdog(loop, every)
        await server.serve_until_ended()
        notify("STOPPING=1")
        log.log(NOTICE, "stopping")


def _decide_anew(server: JobServer, settings: s.Settings, reread: Callable[[], s.Settings]) -> None:
    """SIGHUP: policies as the files say now; what else has changed there waits for a restart."""
    try:
        found = reread()
        server.decide_anew(found.policy)
    except ConfigurationError as error:
        log.error("SIGHUP, policies stay as they are: %s", error)
        return
    log.log(NOTICE, "SIGHUP, policies: %s", ", ".join(found.policy) or "none")
    late = [
        s.option_name(name)
        for name in s.FIELDS
        if name != "policy" and getattr(found, name) != getattr(settings, name)
    ]
    if late:
        log.warning("SIGHUP, changed settings that take a restart: %s", ", ".join(late))


def _feed_watchdog(loop: asyncio.AbstractEventLoop, every: float) -> None:
    notify("WATCHDOG=1")
    loop.call_later(every, _feed_watchdog, loop, every)


if __name__ == "__main__":
    sys.exit(main())
