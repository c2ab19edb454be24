"""The command line of ``gearman``: its options as a table, and what they add up to.

Short options are the C tool's. Everything it does not have is a long option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from geartrain.cli.options import (
    FILE,
    FOLDER,
    HOST,
    Option,
    Parsed,
    UsageError,
    parse,
    seconds,
    size,
    whole,
)
from geartrain.errors import ConfigurationError
from geartrain.terms import HIGH, LOW, NORMAL
from geartrain.transport.address import parse_servers

_BOTH: Final = "Client and worker"
_CLIENT: Final = "Client"
_FLOW: Final = "Client, many lines"
_WORKER: Final = "Worker"

TABLE: Final = (
    Option(
        "-f --function",
        "NAME",
        "function to send jobs to, or to work on; may be given several times",
        group=_BOTH,
    ),
    Option("-h --host", "HOST", "job server's host (localhost)", group=_BOTH, takes=HOST),
    Option("-p --port", "PORT", "job server's port (4730)", group=_BOTH),
    Option(
        "--servers",
        "LIST",
        "job servers, such as a,b:4731,[::1]:4730,unix:/run/gearmand.sock; a client uses "
        "the first that answers, a worker works for all",
        group=_BOTH,
        takes=HOST,
    ),
    Option("-S --ssl", "", "speak TLS", group=_BOTH),
    Option(
        "-t --timeout",
        "MS",
        "give up after so many milliseconds without a word from the server (for ever)",
        group=_BOTH,
    ),
    Option("-v --verbose", "", "tell the handle of each job", group=_BOTH),
    Option("-i --pid-file", "FILE", "write the process's number there", group=_BOTH, takes=FILE),
    Option("-d --daemon", "", "run in the background, away from the terminal", group=_BOTH),
    Option("-H --help", "", "show this text", group=_BOTH),
    Option("-V --version", "", "show the version", group=_BOTH),
    Option(
        "-b --background", "", "do not wait for results: the server keeps the job", group=_CLIENT
    ),
    Option("-I --high", "", "high priority", group=_CLIENT),
    Option("-L --low", "", "low priority", group=_CLIENT),
    Option(
        "-u --unique",
        "KEY",
        "unique key; '-' means the workload itself, '#' a hash of it. Without -u each job "
        "gets a key of its own",
        group=_CLIENT,
    ),
    Option("-n --lines", "", "one job for each line of input, newline included", group=_CLIENT),
    Option("-N --strip", "", "as -n, but without the newline", group=_CLIENT),
    Option("-P --prefix", "", "put 'NAME: ' before what a job prints", group=_CLIENT),
    Option("-s --no-input", "", "do not read input: the workload is empty", group=_CLIENT),
    Option("--fail-fast", "", "end at the first job that fails, without waiting", group=_CLIENT),
    Option("--retries", "N", "send a job that failed again, up to N times (0)", group=_CLIENT),
    Option(
        "--reconnect",
        "SECONDS",
        "when the server is away, try again for so long (for ever, if no number is given). "
        "With -n that is how a lost connection is treated anyway; this option adds the "
        "first connection, and jobs that are not lines",
        group=_CLIENT,
        optional=True,
    ),
    Option("--no-reconnect", "", "end when the connection is lost, with -n too", group=_CLIENT),
    Option("--progress", "", "show on stderr how far it is", group=_CLIENT),
    Option(
        "--joblog", "FILE", "add a line to FILE for each job that ended", group=_CLIENT, takes=FILE
    ),
    Option("--resume", "", "leave out what the joblog says is done", group=_CLIENT),
    Option("--window", "N", "jobs under way at once (64; operands: 1)", group=_FLOW),
    Option(
        "-k --keep-order",
        "",
        "print results in the order of the lines, not as they come",
        group=_FLOW,
    ),
    Option("--batch-lines", "N", "up to N whole lines make one job", group=_FLOW),
    Option("--batch-bytes", "SIZE", "whole lines up to SIZE (64k, 1M) make one job", group=_FLOW),
    Option(
        "--batch-wait",
        "SECONDS",
        "send a batch that is not full after this long (1)",
        group=_FLOW,
    ),
    Option(
        "--spool",
        "DIR",
        "keep jobs in files there until the server has done (-b: taken) them; whatever "
        "happens to the server, the program that feeds us is never kept waiting",
        group=_FLOW,
        takes=FOLDER,
    ),
    Option("-w --worker", "", "be a worker; what follows is the command to run", group=_WORKER),
    Option("-c --count", "N", "end after N jobs", group=_WORKER),
    Option("-j --jobs", "N", "run N commands at once (1)", group=_WORKER),
)

USAGE: Final = """\
usage: gearman -f NAME [options] [DATA...]
       gearman -w -f NAME [options] [--] [COMMAND [ARG...]]"""

LEAD: Final = """\
Sends jobs to a Gearman job server and prints their results; with -w, does such
jobs by running a command: the workload is its standard input, what it prints is
the result."""

EXAMPLES: Final = """\
Examples:
  gearman -w -f wc -- wc -l             a worker: counts lines for whoever asks
  ls / | gearman -f wc                  all of the input is one job
  gearman -f wc < file                  the same
  gearman -f wc "some data" "more"      one job for each operand
  tail -f access_log | gearman -n -f logger     one job for each line, for ever
  ls *.jpg | gearman -N -k -f resize    many lines at once, results in order
  gearman -b -n --batch-lines 500 --spool /var/spool/log -f logger < pipe
                                        500 lines a job, kept on disk till taken
  gearman -w -j 4 -f resize ./resize.sh         four commands at once

Exit status: 0 all is done, 1 a job failed (or wrong usage), 2 no connection,
3 timeout, 4 the server refused a job, 5 trouble with a file on this side.

Environment: GEARMAN_SERVER=host:port,... instead of -h and -p; GEARMAN_SERVERS
names servers for when that of -h and -p is away, or where they are not given. A
worker's command finds GEARMAN_HANDLE, GEARMAN_UNIQUE and GEARMAN_FUNCTION."""


class Settings:
    """What a command line of ``gearman`` adds up to. Made by ``settings``."""

    def __init__(self, parsed: Parsed, environ: Mapping[str, str]) -> None:
        self.operands = parsed.operands
        self.functions = [
            name.encode("utf-8", "surrogateescape") for name in parsed.every("function")
        ]
        if not self.functions:
            raise UsageError("no function: give one with -f NAME")
        self.servers = server_names(parsed, environ)
        self.ssl = "ssl" in parsed
        self.timeout = _timeout(parsed)
        self.verbose = "verbose" in parsed
        self.pid_file = parsed.last("pid-file")
        self.daemon = "daemon" in parsed
        self.lines = "lines" in parsed or "strip" in parsed or "batch-lines" in parsed
        self.lines = self.lines or "batch-bytes" in parsed
        self.strip = "strip" in parsed
        self.worker = "worker" in parsed
        self._client(parsed)
        self.count = whole(parsed, "count", 0)
        self.jobs = whole(parsed, "jobs", 1, least=1)

    def _client(self, parsed: Parsed) -> None:
        self.background = "background" in parsed
        self.priority = _priority(parsed)
        self.unique = parsed.last("unique").encode("utf-8", "surrogateescape")
        if len(self.unique) > 64:
            raise UsageError(f"-u: {len(self.unique)} bytes, a unique key has at most 64")
        self.prefix = "prefix" in parsed
        self.no_input = "no-input" in parsed
        self.fail_fast = "fail-fast" in parsed
        self.retries = whole(parsed, "retries", 0)
        streaming = self.lines and not self.operands and not self.no_input
        self.window = whole(parsed, "window", 64 if streaming else 1, least=1)
        self.keep_order = "keep-order" in parsed
        self.batch_lines = whole(parsed, "batch-lines", 0)
        self.batch_bytes = size(parsed, "batch-bytes", 0)
        self.batch_wait = seconds(parsed, "batch-wait", 1.0)
        self.spool = parsed.last("spool")
        #: Seconds to wait for a server: at the start, and after a connection is lost.
        #: 0 is not at all, None for ever.
        self.first_patience: float | None = 0.0
        self.patience: float | None = None if streaming or self.spool else 0.0
        if "reconnect" in parsed or self.spool:
            text = parsed.last("reconnect")
            self.first_patience = seconds(parsed, "reconnect", 0.0) if text else None
            self.patience = self.first_patience
        if "no-reconnect" in parsed:
            if "reconnect" in parsed:
                raise UsageError("--reconnect and --no-reconnect contradict each other")
            self.first_patience = self.patience = 0.0
        self.progress = "progress" in parsed
        self.joblog = parsed.last("joblog")
        self.resume = "resume" in parsed
        if self.resume and not self.joblog:
            raise UsageError("--resume wants the log to resume from: add --joblog FILE")


def settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings | str:
    """What is to be done, or ``help`` or ``version``, if that is all that was asked.

    In worker mode the first operand ends the options: the rest is the command's.

    Raises:
        UsageError: the command line makes no sense.
    """
    parsed = parse(TABLE, arguments, stop=lambda so_far: "worker" in so_far)
    for word in ("help", "version"):
        if word in parsed:
            return word
    return Settings(parsed, environ)


def server_names(parsed: Parsed, environ: Mapping[str, str]) -> list[str]:
    """The servers, in the order in which to try them.

    ``--servers`` goes before all. Else the C tool's rules: ``GEARMAN_SERVER``
    replaces ``-h`` and ``-p``; ``GEARMAN_SERVERS`` comes after them, and stands
    alone where they are not given.

    Raises:
        UsageError: one of them is no address.
    """
    names = _server_names(parsed, environ)
    try:
        parse_servers(names, environ={})
    except ConfigurationError as error:
        raise UsageError(str(error)) from None
    return names


def _server_names(parsed: Parsed, environ: Mapping[str, str]) -> list[str]:
    if "servers" in parsed:
        return _names(",".join(parsed.every("servers")), "--servers")
    if environ.get("GEARMAN_SERVER"):
        return _names(environ["GEARMAN_SERVER"], "GEARMAN_SERVER")
    more = environ.get("GEARMAN_SERVERS", "")
    others = _names(more, "GEARMAN_SERVERS") if more else []
    if others and "host" not in parsed and "port" not in parsed:
        return others
    host, port = parsed.last("host", "localhost"), parsed.last("port")
    if host.count(":") > 1 and not host.startswith(("[", "unix:")):
        host = f"[{host}]"  # a bare IPv6 address
    if port and not host.startswith(("unix:", "/")):
        host = f"{host}:{port}"
    return [host, *others]


def _names(text: str, source: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{source} names no server")
    return names


def _timeout(parsed: Parsed) -> float | None:
    text = parsed.last("timeout")
    if not text:
        return None
    if not text.removeprefix("-").isdecimal():
        raise UsageError(f"-t {text}: want milliseconds")
    return None if text.startswith("-") else int(text) / 1000


def _priority(parsed: Parsed) -> int:
    priority = NORMAL
    for key in parsed.given:  # the last one wins, as with the C tool
        if key == "high":
            priority = HIGH
        elif key == "low":
            priority = LOW
    return priority
