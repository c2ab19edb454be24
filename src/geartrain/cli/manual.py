"""Man pages and shell completion, made of the tools' option tables.

    python -m geartrain.cli.manual FOLDER

writes ``docs/man/*.1`` and ``completion/{bash,zsh,fish}/*`` below FOLDER. They are kept in
the repository, so that building a wheel needs no step for them; a test holds them to
the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from geartrain import __version__
from geartrain.cli import gearadmin_options, gearman_options, worker_options
from geartrain.cli.options import COMMAND, FILE, FOLDER, HOST, Command, Option


class Tool:
    """What a page says about one tool."""

    def __init__(
        self,
        name: str,
        summary: str,
        table: Sequence[Option],
        usage: str,
        lead: str,
        examples: str,
        see_also: Sequence[str],
        operands: str,
        commands: Sequence[Command] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.table = table
        self.usage = usage
        self.lead = lead
        self.examples = examples
        self.see_also = see_also
        self.operands = operands
        self.commands = commands


TOOLS: Final = (
    Tool(
        "gearman",
        "send jobs to a Gearman job server, or do them",
        gearman_options.TABLE,
        gearman_options.USAGE,
        gearman_options.LEAD,
        gearman_options.EXAMPLES,
        ("gearadmin(1)", "gearmand(8)"),
        COMMAND,
    ),
    Tool(
        "gearadmin",
        "ask a Gearman job server how it is, and tell it what to do",
        gearadmin_options.TABLE,
        gearadmin_options.USAGE,
        gearadmin_options.LEAD,
        gearadmin_options.EXAMPLES,
        ("gearman(1)", "gearmand(8)"),
        "",
        gearadmin_options.COMMANDS,
    ),
    Tool(
        "gearman-worker",
        "do the jobs of Gearman job servers with Python functions, in processes that are kept up",
        worker_options.TABLE,
        worker_options.USAGE,
        worker_options.LEAD,
        worker_options.EXAMPLES,
        ("gearman(1)", "gearadmin(1)", "gearmand(8)"),
        FILE,
    ),
)


def man_page(tool: Tool) -> str:
    """The page, as roff."""
    lines = [
        '.\\" Made by geartrain.cli.manual from the option table: change that.',
        f'.TH {tool.name.upper()} 1 "" "geartrain {__version__}" "User Commands"',
        ".SH NAME",
        f"{tool.name} \\- {_roff(tool.summary)}",
        ".SH SYNOPSIS",
        ".nf",
        *(_roff(line.removeprefix("usage: ").strip()) for line in tool.usage.splitlines()),
        ".fi",
        ".SH DESCRIPTION",
        _roff(" ".join(tool.lead.split())),
        ".SH OPTIONS",
    ]
    group = ""
    for option in tool.table:
        if option.group != group:
            group = option.group
            lines.append(f'.SS "{_roff(group)}"')
        lines += [".TP", f".B {_roff(option.spelling())}", _roff(option.help)]
    if tool.commands:
        lines.append(".SH COMMANDS")
    for command in tool.commands:
        lines += [".TP", f".B {_roff(command.spelling)}", _roff(command.help)]
    for paragraph in tool.examples.split("\n\n"):
        title, _, rest = paragraph.partition(":")
        lines.append(f".SH {_roff(title.upper())}")
        if "\n  " in rest:
            lines += [".nf", *(_roff(line) for line in rest.strip("\n").splitlines()), ".fi"]
        else:
            lines.append(_roff(" ".join(rest.split())))
    lines += [".SH SEE ALSO", ", ".join(tool.see_also)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def bash_completion(tool: Tool) -> str:
    """A function for bash."""
    names = " ".join(name for option in tool.table for name in option.names)
    cases = []
    for kind, action in (
        (FILE, _names("compgen -f")),
        (FOLDER, _names("compgen -d")),
        (HOST, 'COMPREPLY=($(compgen -A hostname -- "$cur"))'),
    ):
        known = [n for o in tool.table if o.takes == kind and o.metavar for n in o.names]
        if known:
            cases.append(f"        {'|'.join(known)}) {action}; return ;;")
    others = [
        n
        for o in tool.table
        if o.metavar and not o.optional and o.takes not in (FILE, FOLDER, HOST)
        for n in o.names
    ]
    cases.append(f"        {'|'.join(others)}) return ;;")
    seconds: dict[str, list[str]] = {}
    for one in tool.commands:
        seconds.setdefault(one.words[0], []).extend(one.words[1:])
    for first, further in seconds.items():
        if further:
            said = f'COMPREPLY=($(compgen -W "{" ".join(further)}" -- "$cur"))'
            cases.append(f"        {first}) {said}; return ;;")
    operands = {COMMAND: _names("compgen -c -f"), FILE: _names("compgen -f")}.get(
        tool.operands, f'COMPREPLY=($(compgen -W "{" ".join(seconds)}" -- "$cur"))'
    )
    return (
        "\n".join(
            [
                "# Made by geartrain.cli.manual from the option table: change that.",
                f"_{tool.name}() {{",
                '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
                "    COMPREPLY=()",
                '    case "$prev" in',
                *cases,
                "    esac",
                '    if [[ "$cur" == -* ]]; then',
                f'        COMPREPLY=($(compgen -W "{names}" -- "$cur"))',
                "    else",
                f"        {operands}",
                "    fi",
                "}",
                f"complete -F _{tool.name} {tool.name}",
            ]
        )
        + "\n"
    )


def _names(command: str) -> str:
    """What completes names of files, which may hold spaces."""
    return (
        f"local IFS=$'\\n'; compopt -o filenames 2>/dev/null; COMPREPLY=($({command} -- \"$cur\"))"
    )


def zsh_completion(tool: Tool) -> str:
    """A function for zsh."""
    kinds = {FILE: "_files", FOLDER: "_files -/", HOST: "_hosts"}
    lines = [
        f"#compdef {tool.name}",
        "# Made by geartrain.cli.manual from the option table: change that.",
        "_arguments -s \\",
    ]
    for option in tool.table:
        text = option.help.replace("[", "\\[").replace("]", "\\]").replace("'", "'\\''")
        for name in option.names:
            value = ""
            if option.metavar:
                joint = "=-" if option.optional else ("=" if name.startswith("--") else "+")
                name += joint
                gap = "::" if option.optional else ":"
                value = f"{gap}{option.metavar.lower()}:{kinds.get(option.takes, '')}"
            lines.append(f"  '*{name}[{text}]{value}' \\")
    rest = {COMMAND: ["*::command:_normal"], FILE: ["*:target:_files"]}.get(tool.operands, ["*:"])
    if tool.commands:
        firsts = " ".join(dict.fromkeys(one.words[0] for one in tool.commands))
        rest = [f"1:command:({firsts})", "*:: :->further"]
    lines += [f"  '{one}' \\" for one in rest[:-1]] + [f"  '{rest[-1]}'"]
    if tool.commands:
        lines.append('[[ $state == further ]] && case "$words[1]" in')
        for first in dict.fromkeys(one.words[0] for one in tool.commands):
            further = " ".join(
                one.words[1] for one in tool.commands if one.words[:1] == [first] and one.words[1:]
            )
            if further:
                lines.append(f"  {first}) (( CURRENT == 2 )) && compadd {further} ;;")
        lines += ["  *) _files ;;", "esac"]
    return "\n".join(lines) + "\n"


def fish_completion(tool: Tool) -> str:
    """Completions for fish."""
    kinds = {
        FILE: " -r -F",
        FOLDER: " -x -a '(__fish_complete_directories)'",
        HOST: " -x -a '(__fish_print_hostnames)'",
    }
    start = f"complete -c {tool.name}"
    lines = ["# Made by geartrain.cli.manual from the option table: change that."]
    if tool.operands not in (COMMAND, FILE):
        lines.append(f"{start} -f")
    for option in tool.table:
        names = "".join(
            f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
            for name in option.names
        )
        # What may have no value is completed with one only behind an equals sign.
        value = kinds.get(option.takes, " -x") if option.metavar and not option.optional else ""
        lines.append(f"{start}{names}{value} -d {_fish_text(option.help)}")
    if tool.operands == COMMAND:
        lines.append(f"{start} -a '(__fish_complete_command)'")
    for first in dict.fromkeys(command.words[0] for command in tool.commands):
        there = [command for command in tool.commands if command.words[0] == first]
        alone = f" -d {_fish_text(there[0].help)}" if len(there[0].words) == 1 else ""
        lines.append(f"{start} -n __fish_use_subcommand -a {first}{alone}")
        further = [command for command in there if command.words[1:]]
        begun = f"__fish_seen_subcommand_from {first}"
        if not further and "HANDLE" not in there[0].spelling:
            lines.append(f"{start} -n '{begun}' -F")
        words = " ".join(command.words[1] for command in further)
        for command in further:
            lines.append(
                f"{start} -n '{begun}; and not __fish_seen_subcommand_from {words}'"
                f" -a {command.words[1]} -d {_fish_text(command.help)}"
            )
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def files() -> dict[str, str]:
    """All that is made: path below the repository, and text."""
    made = {}
    for tool in TOOLS:
        made[f"docs/man/{tool.name}.1"] = man_page(tool)
        made[f"completion/bash/{tool.name}"] = bash_completion(tool)
        made[f"completion/zsh/_{tool.name}"] = zsh_completion(tool)
        made[f"completion/fish/{tool.name}.fish"] = fish_completion(tool)
    return made


def write(module: str, made: dict[str, str], arguments: Sequence[str]) -> int:
    """Write what was made below the folder that is given; return the exit status."""
    if len(arguments) != 1:
        print(f"usage: python -m {module} FOLDER", file=sys.stderr)
        return 1
    for name, text in made.items():
        path = Path(arguments[0]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(write("geartrain.cli.manual", files(), sys.argv[1:]))
