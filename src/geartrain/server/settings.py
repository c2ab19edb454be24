"""What an operator may set: one table for the command line, the TOML file and the docs.

Each field says its default, its unit, its option letters and what it is for; the
parser of ``gearmand``, the TOML reader and the reference page are made from it, so
that a setting exists in one place. Where a value came from (``--option`` or
``file: table.key``) is named when it is refused.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

from geartrain.server.kinds import (
    CHOICE,
    COUNT,
    FLAG,
    LEVEL,
    LEVELS,
    SIZE,
    SPACE,
    TEXT,
    TEXTS,
    TIME,
    BadValue,
    is_space,
    read_kind,
)

#: Where the C server looks for what it is not told.
DEFAULT_CERTIFICATE: Final = "/etc/ssl/certs/gearmand.pem"
DEFAULT_KEY: Final = "/etc/ssl/certs/gearmand.key"
DEFAULT_CA: Final = "/etc/ssl/certs/gearmand-ca.pem"


def setting(
    default: Any,
    kind: str,
    help: str,
    *,
    table: str = "",
    short: str = "",
    metavar: str = "",
    least: float | None = None,
    most: float | None = None,
    hidden: bool = False,
    choices: tuple[str, ...] = (),
    key: str = "",
) -> Any:
    """Declare one setting; see ``Settings``."""
    return field(
        default=default,
        metadata={
            "kind": kind, "help": help, "table": table, "short": short, "metavar": metavar,
            "least": least, "most": most, "hidden": hidden, "key": key,
            "choices": choices,
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything ``gearmand`` can be told. Times in seconds, sizes in bytes; 0 is "no bound"."""

    # ── where it listens ─────────────────────────────────────────────────────
    listen: tuple[str, ...] = setting(
        (), TEXTS, "address to listen on: HOST, HOST:PORT, [IPV6]:PORT or unix:/PATH; may be"
        " given several times (default: all addresses, IPv4 and IPv6)",
        table="listen", short="L", metavar="ADDRESS",
    )  # fmt: skip
    port: str = setting(
        "4730", TEXT, "port or service name; GEARMAND_PORT in the environment replaces 4730",
        table="listen", short="p", metavar="PORT",
    )  # fmt: skip
    backlog: int = setting(
        1024, COUNT, "connections that may wait to be accepted", table="listen", short="b", least=1,
        most=2**31 - 1,
    )  # fmt: skip
    unix_mode: str = setting(
        "660", TEXT, "permissions of unix sockets, octal; --user owns them", table="listen",
        metavar="MODE",
    )  # fmt: skip
    keepalive: bool = setting(
        True, FLAG, "TCP keepalive on accepted connections (always on; accepted for the C"
        " server's sake)", table="listen",
    )  # fmt: skip
    keepalive_idle: int = setting(
        60, COUNT, "seconds of silence before the first keepalive probe; -1: the system's",
        table="listen", least=-1, most=32767,
    )  # fmt: skip
    keepalive_interval: int = setting(
        15, COUNT, "seconds between keepalive probes; -1: the system's", table="listen", least=-1,
        most=32767,
    )  # fmt: skip
    keepalive_count: int = setting(
        4, COUNT, "probes without answer before the peer is dead; -1: the system's",
        table="listen", least=-1, most=127,
    )  # fmt: skip
    user_timeout: float = setting(
        120.0, TIME, "unacknowledged output for this long ends a connection (TCP_USER_TIMEOUT)",
        table="listen", least=0, most=2_000_000,
    )  # fmt: skip

    # ── TLS ──────────────────────────────────────────────────────────────────
    ssl: bool = setting(
        False, FLAG, "speak TLS, and nothing else, on every port; unix sockets stay plain",
        table="tls",
    )  # fmt: skip
    ssl_ca_file: str = setting(
        "", TEXT, "PEM of the authorities that clients' certificates are checked against;"
        " GEARMAND_CA_CERTIFICATE in the environment replaces it", table="tls", metavar="FILE",
    )  # fmt: skip
    ssl_certificate: str = setting(
        "", TEXT, "PEM of the server's certificate and its chain; GEARMAND_SERVER_PEM in the"
        f" environment replaces it (default: {DEFAULT_CERTIFICATE})", table="tls",
        metavar="FILE",
    )  # fmt: skip
    ssl_key: str = setting(
        "", TEXT, "PEM of its key; GEARMAND_SERVER_KEY in the environment replaces it (default:"
        f" in the certificate's file, or {DEFAULT_KEY})", table="tls", metavar="FILE",
    )  # fmt: skip
    ssl_verify: str = setting(
        "", CHOICE, "certificates of clients: none, optional or required (default: required if"
        " there is an --ssl-ca-file, else none)", table="tls", metavar="HOW",
        choices=("", "none", "optional", "required"),
    )  # fmt: skip
    ssl_handshake_timeout: float = setting(
        5.0, TIME, "a TLS handshake that takes so long is given up", table="tls", least=0
    )

    # ── jobs ─────────────────────────────────────────────────────────────────
    job_retries: int = setting(
        -1, COUNT, "times a job is given out before the loss of its worker makes it fail;"
        " -1: for ever, 0 is the same as 1", table="jobs", short="j", least=-1,
        most=2**31 - 1,
    )  # fmt: skip
    job_handle_prefix: str = setting(
        "", TEXT, "what job handles begin with (default: H:<host name>)", table="jobs",
        metavar="PREFIX",
    )  # fmt: skip
    worker_wakeup: int = setting(
        1, COUNT, "sleeping workers woken for each waiting job; 0: all of them",
        table="jobs", short="w", least=0, most=2**31 - 1,
    )  # fmt: skip
    wakeup_delay: float = setting(
        1.0, TIME, "a woken worker that does not grab a job for so long is passed over;"
        " 0: never", table="jobs", least=0,
    )  # fmt: skip
    round_robin: bool = setting(
        True, FLAG, "functions of a worker take turns (always on; see --strict-order)",
        table="jobs", short="R",
    )  # fmt: skip
    strict_order: bool = setting(
        False, FLAG, "jobs of the function that a worker registered first go first, and"
        " priorities count only inside a function", table="jobs",
    )  # fmt: skip
    exceptions: bool = setting(
        False, FLAG, "send WORK_EXCEPTION to every client, not only to those that ask for it",
        table="jobs",
    )  # fmt: skip
    fail_on_timeout: bool = setting(
        False, FLAG, "a job that exceeds its worker's time limit fails, instead of going to"
        " another worker", table="jobs",
    )  # fmt: skip

    policy: tuple[str, ...] = setting(
        (), TEXTS, "what is to be done with the jobs of one function, or of all that match a"
        " pattern, such as 'mail.* attempts=5 backoff=1s dead=yes'; may be given several times."
        " In the file it is a table: [function.\"mail.*\"]", table="jobs", metavar="TEXT",
    )  # fmt: skip

    # ── the queue ────────────────────────────────────────────────────────────
    queue: str = setting(
        "memory://", TEXT, "where background jobs are kept: memory:// (gone when the server ends),"
        " sqlite:///PATH or postgresql://HOST/DATABASE", table="queue", metavar="URL", key="url",
    )  # fmt: skip
    server_name: str = setting(
        "", TEXT, "this server among those that share a queue (default: the host's name and the"
        " port)", table="queue", metavar="NAME",
    )  # fmt: skip
    spill_dir: str = setting(
        "", TEXT, "with memory:// and max-memory: where background jobs and large workloads go"
        " that have no room (default: the system's folder for temporary files)", table="queue", metavar="DIR",
    )  # fmt: skip
    store_wait: float = setting(
        5.0, TIME, "a background submission waits so long for a queue that is down, before it is"
        " refused", table="queue", least=0,
    )  # fmt: skip
    min_free: str = setting(
        "32MiB", SPACE, "room that is left on the disk of the queue, as a size or as a part of it such"
        " as 5%: while there is less, background jobs that would be written are refused; 0: none",
        table="queue",
    )  # fmt: skip
    queue_type: str = setting(
        "", TEXT, "the C server's name for a queue: builtin, libsqlite3 or Postgres; better"
        " say --queue", table="queue", short="q", metavar="NAME",
    )  # fmt: skip
    libsqlite3_db: str = setting(
        "", TEXT, "with -q libsqlite3: the C server's file; our queue is kept beside it",
        table="queue", metavar="FILE",
    )  # fmt: skip
    libsqlite3_table: str = setting(
        "gearman_queue", TEXT, "with -q libsqlite3: the C server's table, for importing it",
        table="queue", metavar="TABLE",
    )  # fmt: skip
    store_queue_on_shutdown: bool = setting(
        False, FLAG, "with -q libsqlite3: accepted and ignored, every job is stored at once",
        table="queue",
    )  # fmt: skip
    libpq_conninfo: str = setting(
        "", TEXT, "with -q Postgres: how to reach the database", table="queue", metavar="TEXT",
    )  # fmt: skip
    libpq_table: str = setting(
        "queue", TEXT, "with -q Postgres: the C server's table, for importing it", table="queue",
        metavar="TABLE",
    )  # fmt: skip

    # ── limits ───────────────────────────────────────────────────────────────
    max_packet_bytes: int = setting(
        256 * 2**20, SIZE, "largest packet body", table="limits", least=1024
    )
    max_connections: int = setting(
        0, COUNT, "connections at once; more are closed at once (0: as many as file descriptors"
        " allow)", table="limits", least=0,
    )  # fmt: skip
    max_jobs_per_function: int = setting(
        0, COUNT, "jobs of one function at which submissions are refused, unless maxqueue says"
        " otherwise", table="limits", least=0,
    )  # fmt: skip
    max_functions: int = setting(
        1_000_000, COUNT, "functions known at once", table="limits", least=0
    )
    max_memory: int = setting(
        0, SIZE, "budget for jobs in memory; when it runs short clients wait, and then are refused",
        table="limits", least=0,
    )  # fmt: skip
    pause_output: int = setting(
        2**20, SIZE, "answers waiting for a peer that does not read, at which it is no longer"
        " read from", table="limits", least=4096,
    )  # fmt: skip
    max_output: int = setting(
        256 * 2**20, SIZE, "... at which it is disconnected; its two largest packets do not count",
        table="limits", least=4096,
    )  # fmt: skip
    handshake_timeout: float = setting(
        300.0, TIME, "a connection that has not said anything whole for so long is closed",
        table="limits", least=0,
    )  # fmt: skip
    packet_timeout: float = setting(
        120.0, TIME, "a connection that brings neither the rest of a packet nor 64 KiB of it in so"
        " long is closed", table="limits", least=0,
    )  # fmt: skip
    file_descriptors: int = setting(
        0, COUNT, "limit of open files to ask the system for (0: the hard limit)",
        table="limits", short="f", least=0, most=2**31 - 1,
    )  # fmt: skip

    # ── process ──────────────────────────────────────────────────────────────
    daemon: bool = setting(False, FLAG, "run in the background", table="process", short="d")
    pid_file: str = setting(
        "", TEXT, "file for the process id, removed at the end", table="process", short="P",
        metavar="FILE",
    )  # fmt: skip
    user: str = setting(
        "", TEXT, "user to become once the sockets are open", table="process", short="u",
        metavar="USER",
    )  # fmt: skip
    graceful_timeout: float = setting(
        600.0, TIME, "how long a graceful shutdown waits for jobs to end", table="process", least=0
    )
    admin_shutdown: bool = setting(
        False, FLAG, "let the admin command `shutdown [graceful]` end the server", table="process"
    )

    # ── log ──────────────────────────────────────────────────────────────────
    log_file: str = setting(
        "stderr", TEXT, "file, `stderr` or `none`; reopened on SIGHUP", table="log", short="l",
        metavar="FILE",
    )  # fmt: skip
    verbose: str = setting(
        "NOTICE", LEVEL, "how much to log: " + " ".join(LEVELS), table="log", metavar="LEVEL"
    )
    log_json: bool = setting(False, FLAG, "log JSON objects, one a line", table="log")
    syslog: bool = setting(False, FLAG, "log to syslog too", table="log")

    # ── accepted for the C server's sake ─────────────────────────────────────
    threads: int = setting(
        0, COUNT, "accepted and ignored: one thread does it all", table="compatibility", short="t",
        least=0,
    )  # fmt: skip
    hashtable_buckets: int = setting(
        991, COUNT, "accepted and ignored: tables grow by themselves", table="compatibility",
        least=1,
    )  # fmt: skip
    coredump: bool = setting(
        False, FLAG, "accepted and ignored: there is no crash handler to leave out",
        table="compatibility",
    )  # fmt: skip


FIELDS: Final = {f.name: f for f in dataclasses.fields(Settings)}


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
        BadValue: naming source, value and what is allowed.
    """
    meta = FIELDS[name].metadata
    kind = meta["kind"]
    want = ""
    if kind == FLAG:
        if isinstance(value, bool):
            return value
        want = "true or false"
    elif kind == TEXTS:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return tuple(value)
        want = "a list of texts"
    elif kind == LEVEL:
        if isinstance(value, str) and value in LEVELS:
            return value
        want = "one of " + " ".join(LEVELS)
    elif kind == CHOICE:
        choices = meta["choices"]
        if isinstance(value, str) and value in choices:
            return value
        want = "one of " + " ".join(choice for choice in choices if choice)
    elif kind == SPACE:
        if is_space(value):
            return str(value).strip()
        want = "a size such as 64MiB or 1G, or a part of the disk such as 5%"
    elif kind == TEXT:
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
        want = "a text"
    else:
        return read_kind(source, value, kind, meta["least"], meta["most"])
    raise BadValue(source, value, want)
