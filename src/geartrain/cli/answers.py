"""Answers of the admin text protocol: as the server's bytes, as tables, as data; of one server or many.

``status`` and ``prioritystatus`` of several servers are added up by function; other
lists are put one behind the other. What is not as expected stays as it is: a server
that answers in its own way should be heard, not corrected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from geartrain.cli.table import GAP, LEAST, cells, fit, pad

#: Names of the columns, where an answer is a table of tab-separated columns.
COLUMNS: Final = {
    "status": ("function", "total", "running", "workers"),
    "priority-status": ("function", "high", "normal", "low", "workers"),
    "show-jobs": ("handle", "retries", "ignored", "queued"),
}

#: Control characters, of both ranges.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

_SUMMED: Final = ("status", "priority-status")
_LISTS: Final = (*COLUMNS, "workers", "show-unique-jobs")


class Answer:
    """What one server said to one operation.

    Attributes:
        lines: without the closing dot of a list.
        is_list: it was a list.
        error: what came after ``ERR``, empty if it did not.
    """

    def __init__(self, server: str, operation: str, lines: Sequence[str]) -> None:
        self.server = server
        self.operation = operation
        self.lines = list(lines)
        refused = len(self.lines) == 1 and self.lines[0].startswith("ERR")
        self.error = self.lines[0][3:].strip() if refused else ""
        self.is_list = operation in _LISTS and not refused


def merge(answers: Sequence[Answer]) -> list[str]:
    """The lines of several servers' answers to one list operation, as one list."""
    operation = answers[0].operation
    if operation not in _SUMMED:
        return [line for answer in answers for line in answer.lines]
    sums: dict[str, list[int]] = {}
    for answer in answers:
        for line in answer.lines:
            name, *texts = line.split("\t")
            counts = [int(text) if text.isdecimal() else 0 for text in texts]
            known = sums.setdefault(name, [0] * len(counts))
            for at, count in enumerate(counts[: len(known)]):
                known[at] += count
    return ["\t".join([name, *map(str, counts)]) for name, counts in sums.items()]


def plain(answers: Sequence[Answer]) -> str:
    """The C tool's bytes; where several servers answer in a line each, with their names."""
    if answers[0].is_list:
        lines = merge(answers) if len(answers) > 1 else answers[0].lines
        return "".join(f"{line}\n" for line in [*lines, "."])
    text = ""
    for answer in answers:
        said = "\n".join(answer.lines)
        rest = said[2:].strip() if said.startswith("OK") else said
        named = f"{answer.server} " if len(answers) > 1 else ""
        text += f"{named}{rest or 'OK'}\n"
    return text


def table(answers: Sequence[Answer], bold: bool, room: int) -> str:
    """A list with headings and straight columns, for people; anything else as in ``plain``.

    Args:
        room: columns of the terminal. Names are cut to it, numbers and handles are not.
    """
    operation = answers[0].operation
    if not answers[0].is_list:
        return plain(answers)
    if operation == "workers":
        headings = ["fd", "address", "id", "functions"]
        rows = [[w.fd, w.address, w.id, " ".join(w.functions)] for w in _workers(answers)]
    elif operation == "show-unique-jobs":
        headings = ["unique"]
        rows = [[line] for line in merge(answers)]
    else:
        headings = list(COLUMNS[operation])
        rows = [line.split("\t") for line in merge(answers)]
    return align(headings, rows, bold, room)


def data(answers: Sequence[Answer]) -> object:
    """The answers as values for JSON."""
    operation = answers[0].operation
    several = len(answers) > 1
    if operation == "workers" and answers[0].is_list:
        return [worker.row(several) for worker in _workers(answers)]
    if operation in _SUMMED and answers[0].is_list:
        return [_row(operation, line) for line in merge(answers)]
    if answers[0].is_list:
        found: list[object] = []
        for answer in answers:
            for line in answer.lines:
                row = {"unique": line} if operation == "show-unique-jobs" else _row(operation, line)
                found.append({"server": answer.server, **row} if several else row)
        return found
    values = {answer.server: plain([answer]).strip() for answer in answers}
    return values if several else next(iter(values.values()))


def _row(operation: str, line: str) -> dict[str, object]:
    fields = line.split("\t")
    row: dict[str, object] = {}
    for name, text in zip(COLUMNS[operation], fields, strict=False):
        row[name] = int(text) if text.isdecimal() and name not in ("function", "handle") else text
    return row


class Worker:
    """One line of ``workers``: ``FD IP ID : f1 f2``. The id may hold spaces; the functions may be none."""

    def __init__(self, server: str, line: str) -> None:
        head, _, functions = line.rpartition(" : ")
        if not head:  # no functions: the line ends with the colon
            head = line.removesuffix(" :")
            functions = ""
        self.server = server
        self.fd, _, rest = head.partition(" ")
        self.address, _, self.id = rest.partition(" ")
        self.functions = functions.split()

    def row(self, with_server: bool) -> dict[str, object]:
        """Its fields, for JSON."""
        row: dict[str, object] = {"server": self.server} if with_server else {}
        fd: object = int(self.fd) if self.fd.isdecimal() else self.fd
        return {
            **row,
            "fd": fd,
            "address": self.address,
            "id": self.id,
            "functions": self.functions,
        }


def _workers(answers: Sequence[Answer]) -> list[Worker]:
    return [Worker(answer.server, line) for answer in answers for line in answer.lines]


#: Half of a handle is none.
_WHOLE: Final = ("handle", "pid")


def align(headings: Sequence[str], rows: list[list[str]], bold: bool, room: int) -> str:
    """Rows below their headings, in straight columns that fit ``room``; one column is as it is."""
    # A name may hold any bytes; on a terminal some of them would be orders.
    rows = [[_CONTROLS.sub(_spelled, cell) for cell in row] for row in rows]
    wishes = [cells(heading) for heading in headings]
    for row in rows:
        for at, cell in enumerate(row[: len(wishes)]):
            wishes[at] = max(wishes[at], cells(cell))
    numeric = [
        at > 0 and bool(rows) and all(len(row) > at and row[at].isdecimal() for row in rows)
        for at in range(len(headings))
    ]
    stiff = [
        numeric[at] or len(headings) == 1 or heading in _WHOLE
        for at, heading in enumerate(headings)
    ]
    least = [
        wish if stiff[at] else min(wish, max(LEAST, cells(headings[at])))
        for at, wish in enumerate(wishes)
    ]
    widths = fit(wishes, least, room)
    lines = []
    for row in [list(headings), *rows]:
        made = [pad(cell, widths[at], numeric[at]) for at, cell in enumerate(row[: len(widths)])]
        lines.append((" " * GAP).join(made).rstrip())
    if bold:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "".join(f"{line}\n" for line in lines)


def _spelled(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"
