"""The command line of ``gearadmin``: its options as a table, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from geartrain.cli.gearman_options import server_names
from geartrain.cli.options import HOST, Command, Option, Parsed, UsageError, parse, seconds

_WHERE: Final = "Where"
_ASK: Final = "Ask"
_DO: Final = "Do"
_HOW: Final = "How"
_COMMANDS: Final = "Of commands"
_SELF: Final = "This command"

TABLE: Final = (
    Option("-h --host", "HOST", "job server's host (localhost)", group=_WHERE, takes=HOST),
    Option("-p --port", "PORT", "job server's port (4730)", group=_WHERE),
    Option(
        "--servers",
        "LIST",
        "several servers, such as a,b:4731: counts are added up, lists put together, and "
        "what is to be done is done on each",
        group=_WHERE,
        takes=HOST,
        new=True,
    ),
    Option("-S --ssl", "", "speak TLS", group=_WHERE),
    Option(
        "--timeout",
        "SECONDS",
        "give up on a server after so long without a word (10; 600 with --function, --state or "
        "--all, which may have to search)",
        group=_WHERE,
        new=True,
    ),
    Option("--status", "", "jobs (all and running) and workers of each function", group=_ASK),
    Option("--priority-status", "", "waiting jobs of each function, by priority", group=_ASK),
    Option("--workers", "", "connections, and what they can do", group=_ASK),
    Option("--show-jobs", "", "handles of all jobs", group=_ASK),
    Option("--show-unique-jobs", "", "unique keys of all jobs", group=_ASK),
    Option("--server-version", "", "the server's version", group=_ASK),
    Option("--server-verbose", "", "the server's log level", group=_ASK),
    Option("--getpid", "", "the server's process number", group=_ASK),
    Option(
        "--create-function", "NAME", "make a function known; may be given several times", group=_DO
    ),
    Option(
        "--drop-function",
        "NAME",
        "forget a function that is not in use; may be given several times",
        group=_DO,
    ),
    Option("--cancel-job", "HANDLE", "cancel a job; may be given several times", group=_DO),
    Option(
        "--maxqueue",
        "NAME",
        "limit a function's jobs; the limit follows as a word of its own: one number, or "
        "three for high, normal and low (5,10,20). None: no limit",
        group=_DO,
        new=True,
    ),
    Option(
        "--shutdown",
        "HOW",
        "end the server, if it is allowed to; HOW may be graceful",
        group=_DO,
        optional=True,
        new=True,
    ),
    Option("--json", "", "print JSON", group=_HOW, new=True),
    Option(
        "--watch",
        "SECONDS",
        "ask again and again (every second); status, if nothing else is asked",
        group=_HOW,
        optional=True,
        new=True,
    ),
    Option(
        "--dry-run",
        "",
        "import: read the old table, say what is in it, and change nothing",
        group=_COMMANDS,
        new=True,
    ),
    Option(
        "--again",
        "",
        "import: take over what an earlier import has brought, too",
        group=_COMMANDS,
        new=True,
    ),
    Option(
        "--function",
        "NAME",
        "only jobs of this function, or of those that a pattern with *, ? or [...] matches; a "
        "* that is meant as it stands is [*]",
        group=_COMMANDS,
        new=True,
    ),
    Option(
        "--state",
        "STATE",
        "job list: only queued, running, delayed, storing or elsewhere (at another server)",
        group=_COMMANDS,
        new=True,
    ),
    Option("--all", "", "dead retry, dead delete: all there are", group=_COMMANDS, new=True),
    Option("--limit", "N", "lists: so many at most", group=_COMMANDS, new=True),
    Option(
        "--after",
        "HANDLE",
        "lists: go on behind this job, in order of age",
        group=_COMMANDS,
        new=True,
    ),
    Option(
        "--body-only",
        "",
        "show: the workload, as it is, and nothing else",
        group=_COMMANDS,
        new=True,
    ),
    Option("-H --help", "", "show this text", group=_SELF),
    Option("-V --version", "", "show the version of gearadmin", group=_SELF, new=True),
)

#: Said as words: ``gearadmin import SOURCE TARGET``. Spelling, what it does, its options.
COMMANDS: Final = (
    Command(
        "import SOURCE TARGET",
        "take over the queue of a C gearmand, which must not run: SOURCE is its table, "
        "sqlite:///FILE?table=NAME or postgresql://HOST/DATABASE?table=NAME, and TARGET our "
        "queue, as gearmand's --queue. It may be repeated: what is here already stays once",
        ("dry-run", "again", "json"),
    ),
    Command(
        "job list",
        "jobs that are not over, wherever they are; with --json all that is known of each, an "
        "object a line",
        ("function", "state", "limit", "after", "json"),
    ),
    Command("job show HANDLE", "one of them, with its workload", ("body-only", "json")),
    Command(
        "job cancel HANDLE...",
        "cancel jobs; - reads handles from standard input",
        ("json",),
    ),
    Command(
        "why HANDLE",
        "say in words why a job is not running: who goes first, who could do it, what it waits "
        "for; or where it runs, or what became of it",
        ("json",),
    ),
    Command(
        "dead list",
        "jobs that were given up, because the policy of their function says so: an object a "
        "line with --json",
        ("function", "limit", "after", "json"),
    ),
    Command("dead show HANDLE", "one of them, with its workload", ("body-only", "json")),
    Command(
        "dead retry [HANDLE...]",
        "have them done again, as if they were new; - reads handles from standard input",
        ("all", "function", "json"),
    ),
    Command("dead delete [HANDLE...]", "forget them", ("all", "function", "json")),
    Command(
        "dead export",
        "all of them as JSON, an object a line, with their workloads: body, or body_base64 "
        "where it is no UTF-8",
        ("function", "after"),
    ),
)

USAGE: Final = """\
usage: gearadmin [-h HOST] [-p PORT] [--servers LIST] [options]
       gearadmin COMMAND [options]"""

LEAD: Final = "Asks a Gearman job server how it is, and tells it what to do."

EXAMPLES: Final = """\
Examples:
  gearadmin --status                    what is queued, what runs, who works
  gearadmin --watch 2                   the same, every two seconds
  gearadmin --servers a,b --status --json       two servers added up, for programs
  gearadmin --cancel-job H:host:12      cancel a job
  gearadmin --maxqueue resize 1000      refuse more than 1000 jobs
  gearadmin --maxqueue resize 0,1000,100        no limit for high ones
  gearadmin job list --function resize          every job of it, wherever it is
  gearadmin why H:host:0ca9fddb7bc01000         why does it not run?
  gearadmin dead list --function 'mail.*'       jobs that were given up
  gearadmin dead retry --all --function resize  have them done again
  gearadmin import /var/lib/gearman/gearman.db sqlite:///var/lib/geartrain/jobs.db

Output: on a terminal lists have headings; in a pipe they are the server's own lines,
tabs between the columns and a dot at the end.

Exit status: 0 all is done, 1 a server said no or could not be reached."""

#: Operations in the order in which they are carried out, as the C tool does.
ORDER: Final = (
    "getpid",
    "create-function",
    "drop-function",
    "maxqueue",
    "show-jobs",
    "show-unique-jobs",
    "cancel-job",
    "server-verbose",
    "server-version",
    "workers",
    "priority-status",
    "status",
    "shutdown",
)

_LINES: Final = {
    "getpid": "getpid",
    "show-jobs": "show jobs",
    "show-unique-jobs": "show unique jobs",
    "server-verbose": "verbose",
    "server-version": "version",
    "workers": "workers",
    "priority-status": "prioritystatus",
    "status": "status",
}


#: Options that only commands take, each with one that does.
_OF_COMMANDS: Final = {
    option.key: command.spelling
    for option in TABLE
    if option.group == _COMMANDS
    for command in reversed(COMMANDS)
    if option.key in command.options
}


class Operation:
    """One thing to ask or to do: its name among the options, and the line for the server."""

    def __init__(self, name: str, line: str) -> None:
        self.name = name
        self.line = line


class Call:
    """A command, and what it was given."""

    def __init__(self, command: Command, operands: list[str], parsed: Parsed) -> None:
        self.command = command
        self.name = " ".join(command.words)
        self.operands = operands
        self.parsed = parsed


class Settings:
    """What a command line of ``gearadmin`` adds up to."""

    def __init__(self, parsed: Parsed, environ: Mapping[str, str]) -> None:
        given = "host" in parsed or "port" in parsed
        self.servers = server_names(parsed, {} if given else environ)
        self.ssl = "ssl" in parsed
        self.timeout = seconds(parsed, "timeout", 10.0) or None
        self.json = "json" in parsed
        self.watch = 0.0
        words = list(parsed.operands)
        if "watch" in parsed:
            if not parsed.last("watch") and words and _is_number(words[-1]):
                parsed.add("watch", words.pop())
            self.watch = seconds(parsed, "watch", 1.0) or 1.0
        self.operations = _operations(parsed, words)
        if not self.operations and self.watch:
            self.operations = [Operation("status", "status")]
        if not self.operations:
            raise UsageError("no operation: say what to ask or to do, such as --status")


def settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings | Call | str:
    """What is to be done, or ``help`` or ``version``, if that is all that was asked.

    Raises:
        UsageError: the command line makes no sense.
    """
    parsed = parse(TABLE, arguments)
    for word in ("help", "version"):
        if word in parsed:
            return word
    if parsed.operands and not any(name in parsed for name in (*ORDER, "watch")):
        return _call(parsed)
    for key in parsed.given:
        if key in _OF_COMMANDS:
            raise UsageError(f"--{key} belongs to a command, such as: {_OF_COMMANDS[key]}")
    return Settings(parsed, environ)


def _call(parsed: Parsed) -> Call | Settings:
    """The command that the operands begin with."""
    said = parsed.operands
    for command in COMMANDS:
        count = len(command.words)
        if said[:count] != command.words:
            continue
        operands = said[count:]
        known = (*command.options, *(option.key for option in TABLE if option.group == _WHERE))
        wrong = [key for key in parsed.given if key not in known]
        if wrong:
            raise UsageError(f"{' '.join(command.words)} takes no --{wrong[0]}")
        if len(operands) < command.least or (
            command.most is not None and len(operands) > command.most
        ):
            raise UsageError(f"want: gearadmin {command.spelling}")
        return Call(command, operands, parsed)
    begun = [command.spelling for command in COMMANDS if command.words[0] == said[0]]
    there = begun or [command.spelling for command in COMMANDS]
    raise UsageError(f"{' '.join(said)!r} is no command; there are: {', '.join(there)}")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _operations(parsed: Parsed, words: list[str]) -> list[Operation]:
    found: list[Operation] = []
    for name in ORDER:
        if name not in parsed:
            continue
        value = parsed.last(name)
        if name in _LINES:
            line = _LINES[name]
        elif name == "maxqueue":
            line = _maxqueue(value, words)
        elif name == "shutdown":
            if value not in ("", "graceful"):
                raise UsageError(f"--shutdown={value}: want nothing or graceful")
            line = f"shutdown {value}".strip()
        else:
            verb = name.replace("-", " ")
            lines = [f"{verb} {_one_word(name, value)}" for value in parsed.every(name)]
            found += [Operation(name, line) for line in lines]
            continue
        found.append(Operation(name, line))
    if words:
        raise UsageError(f"{' '.join(words)!r}: nothing that was asked takes that")
    return found


def _maxqueue(value: str, words: list[str]) -> str:
    parts = value.replace("=", " ").split()
    if len(parts) < 2 and words:
        parts.append(words.pop(0))
    function = _one_word("maxqueue", parts[0] if parts else "")
    limits = parts[1].split(",") if len(parts) > 1 else []
    if len(limits) not in (0, 1, 3) or not all(limit.isdecimal() for limit in limits):
        raise UsageError(f"--maxqueue {function} {','.join(limits)}: want one number, or three")
    return " ".join(["maxqueue", function, *limits])


def _one_word(name: str, value: str) -> str:
    # The text protocol has no quotes: a name with a space would be two words of it.
    if not value or any(letter.isspace() or letter == "\0" for letter in value):
        raise UsageError(f"--{name} {value!r}: want one word")
    return value
