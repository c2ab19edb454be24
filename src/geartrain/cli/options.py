"""A command line as a table: parsed, explained, completed and printed from one place.

The tools must read what the C tools read: getopt's bundles (``-nbf name``), values
glued on (``-p4730``), options after operands, long names cut short while they stay
unique, and ``-h`` for a host. The table here does that in one pass, and costs no
import; the help text, the man pages and the shell completion are made of the same
rows, so that there is no second place to forget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: What a value is, for completion: nothing, one of the machine's files, its folders, its hosts.
ANY = "any"
FILE = "file"
FOLDER = "folder"
HOST = "host"
COMMAND = "command"


class UsageError(Exception):
    """The command line is wrong; the text names the thing and the way out."""


class Option:
    """One row of the table.

    Attributes:
        key: name under which the parser keeps what was given.
        names: all spellings, short ones first: ``("-f", "--function")``.
        metavar: what its value is called in help, empty for a plain switch.
        help: a sentence or two.
        group: heading that it stands under in help.
        takes: what its value is (for completion).
        optional: the value may be left out (``--reconnect[=SECONDS]``, long names only).
        new: the C tool does not have it; where a name cut short could mean one of its
            options or a new one, it means the former.
    """

    def __init__(
        self,
        names: str,
        metavar: str,
        help: str,
        *,
        group: str,
        takes: str = ANY,
        optional: bool = False,
        new: bool = False,
    ) -> None:
        self.names = tuple(names.split())
        self.key = self.names[-1].lstrip("-")
        self.metavar = metavar
        self.help = help
        self.group = group
        self.takes = takes
        self.optional = optional
        self.new = new

    def spelling(self) -> str:
        """``-f, --function NAME``, as help and man page show it."""
        text = ", ".join(self.names)
        if not self.metavar:
            return text
        return f"{text}[={self.metavar}]" if self.optional else f"{text} {self.metavar}"


class Command:
    """Something that is said in words and not as an option.

    Attributes:
        spelling: words and operands, as help shows them: ``dead show HANDLE``.
        words: those it is known by.
        help: what it does.
        options: the keys of those it takes.
    """

    def __init__(self, spelling: str, help: str, options: Sequence[str]) -> None:
        self.spelling = spelling
        self.help = help
        self.options = tuple(options)
        self.words = [word for word in spelling.split() if word.islower()]
        wanted = spelling.split()[len(self.words) :]
        self.least = sum(not word.startswith("[") for word in wanted)
        self.most = None if wanted and wanted[-1].strip("[]").endswith("...") else len(wanted)


class Parsed:
    """What a command line said.

    Attributes:
        given: ``{key: values}``, the key given last at the end; a switch has one empty
            text each time.
        operands: what was not an option.
    """

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.operands: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self.given

    def add(self, key: str, value: str) -> None:
        """Note that this was given once more."""
        self.given[key] = [*self.given.pop(key, []), value]

    def last(self, key: str, default: str = "") -> str:
        """The value given last, or ``default``."""
        values = self.given.get(key)
        return values[-1] if values else default

    def every(self, key: str) -> list[str]:
        """All values, in order."""
        return self.given.get(key, [])


def parse(
    table: Sequence[Option],
    arguments: Sequence[str],
    stop: Callable[[Parsed], bool] = lambda parsed: False,
) -> Parsed:
    """Read a command line, without the program's name.

    Args:
        table: the options there are.
        arguments: the words.
        stop: asked at each operand; True ends the options there, and the rest
            are operands too.

    Raises:
        UsageError: an unknown or ambiguous option, or one whose value is missing.
    """
    names = {name: option for option in table for name in option.names}
    parsed = Parsed()
    words = list(arguments)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            parsed.operands += words[at:]
            break
        if word.startswith("--"):
            name, glued, value = word.partition("=")
            option = _long(names, name)
            if not option.metavar and glued:
                raise UsageError(f"option {option.names[-1]} takes no value: leave out '={value}'")
            if option.metavar and not glued and not option.optional:
                if at == len(words):
                    raise UsageError(f"option {option.names[-1]} wants a value: {option.metavar}")
                value = words[at]
                at += 1
            parsed.add(option.key, value)
        elif word.startswith("-") and word != "-":
            at = _bundle(names, word, words, at, parsed)
        elif stop(parsed):
            parsed.operands += words[at - 1 :]
            break
        else:
            parsed.operands.append(word)
    return parsed


def _long(names: dict[str, Option], name: str) -> Option:
    option = names.get(name)
    if option is not None:
        return option
    meant = {other.key: other for known, other in names.items() if known.startswith(name)}
    if len(meant) > 1:
        meant = {key: other for key, other in meant.items() if not other.new} or meant
    if len(meant) == 1:
        return next(iter(meant.values()))
    if meant:
        raise UsageError(f"option {name} could be --{', --'.join(sorted(meant))}")
    raise UsageError(f"unknown option {name}{_nearest(names, name)}")


def _nearest(names: dict[str, Option], name: str) -> str:
    from difflib import get_close_matches

    # Without the dashes, which all of them have in common.
    known = [one.removeprefix("--") for one in names if one.startswith("--")]
    near = get_close_matches(name.removeprefix("--"), known, 1)
    return f"; did you mean --{near[0]}?" if near else ""


def _bundle(names: dict[str, Option], word: str, words: list[str], at: int, parsed: Parsed) -> int:
    """Read ``-nbf name``; return where the next word is."""
    for place, letter in enumerate(word[1:], 2):
        option = names.get("-" + letter)
        if option is None:
            where = f" (in '{word}')" if len(word) > 2 else ""
            raise UsageError(f"unknown option -{letter}{where}")
        if not option.metavar:
            parsed.add(option.key, "")
            continue
        value = word[place:]
        if not value:
            if at == len(words):
                raise UsageError(f"option -{letter} wants a value: {option.metavar}")
            value = words[at]
            at += 1
        parsed.add(option.key, value)
        break
    return at


def whole(parsed: Parsed, key: str, default: int, least: int = 0) -> int:
    """The value of ``key`` as a whole number."""
    text = parsed.last(key)
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"--{key} {text}: want a whole number, at least {least}")
    return int(text)


def seconds(parsed: Parsed, key: str, default: float) -> float:
    """The value of ``key`` as seconds, fractions allowed."""
    text = parsed.last(key)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise UsageError(f"--{key} {text}: want seconds, such as 0.5 or 30")
    return value


def size(parsed: Parsed, key: str, default: int) -> int:
    """The value of ``key`` as bytes: ``65536``, ``64k``, ``1M``."""
    text = parsed.last(key)
    if not text:
        return default
    digits = text.rstrip("bB")
    factor = {"k": 2**10, "m": 2**20, "g": 2**30}.get(digits[-1:].lower(), 1)
    if factor > 1:
        digits = digits[:-1]
    if not digits.isdecimal() or int(digits) < 1:
        raise UsageError(f"--{key} {text}: want a number of bytes, such as 65536, 64k or 1M")
    return int(digits) * factor


def help_text(
    table: Sequence[Option],
    usage: str,
    lead: str,
    tail: str,
    *,
    bold: bool,
    width: int,
    commands: Sequence[Command] = (),
) -> str:
    """What ``--help`` prints: usage, a lead, the options under their headings, examples."""

    def strong(text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if bold else text

    def row(spelling: str, help: str) -> None:
        text = wrap(help, max(40, width - 28))
        if len(spelling) > 26:
            lines.append(strong(spelling))
        else:
            lines.append(strong(spelling) + " " * (28 - len(spelling)) + text.pop(0))
        lines.extend(" " * 28 + line for line in text)

    lines = [usage, "", *lead.strip().splitlines()]
    group = ""
    for option in table:
        if option.group != group:
            group = option.group
            lines += ["", strong(group + ":")]
        row("  " + option.spelling(), option.help)
    if commands:
        lines += ["", strong("Commands:")]
    for command in commands:
        row("  " + command.spelling, command.help)
    lines += ["", *tail.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


def wrap(text: str, width: int) -> list[str]:
    """Break a text between words (``textwrap`` would cost its import)."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    return lines
