"""What the admin text protocol answers, as values. Pure.

Source: protocol reference, sections 3.1 to 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geartrain.client.connection import lenient_int
from geartrain.errors import JobNotFound, ProtocolError, ServerError


@dataclass(frozen=True, slots=True)
class FunctionStatus:
    """One line of ``status``.

    Attributes:
        function: its name.
        total: jobs, queued and running.
        running: jobs that a worker has.
        workers: connections that can do it.
    """

    function: str
    total: int
    running: int
    workers: int

    @property
    def waiting(self) -> int:
        """Jobs that no worker has yet."""
        return max(0, self.total - self.running)


@dataclass(frozen=True, slots=True)
class PriorityStatus:
    """One line of ``prioritystatus``: queued jobs by priority, and able workers."""

    function: str
    high: int
    normal: int
    low: int
    workers: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One line of ``workers``: a connection of any kind.

    Attributes:
        fd: the server's number for it.
        address: where it comes from, without port.
        client_id: what it calls itself; ``-`` if nothing.
        functions: what it can do; empty for a client.
    """

    fd: int
    address: str
    client_id: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobInfo:
    """One line of ``show jobs``.

    Attributes:
        handle: the job.
        retries: how often it was given back.
        ignored: cancelled or abandoned, and not yet swept away.
        queued: a background job.
    """

    handle: str
    retries: int
    ignored: bool
    queued: bool


def _number(text: str) -> int:
    return lenient_int(text.encode("utf-8", "replace"))


def _fields(line: str, count: int, command: str) -> list[str]:
    # From the right: a function's name may hold tabs, the numbers cannot.
    fields = line.rsplit("\t", count - 1)
    if len(fields) < count:
        raise ProtocolError(f"{command} answered {line!r}: want {count} fields")
    return fields


def read_status(lines: Sequence[str]) -> list[FunctionStatus]:
    """The answer to ``status``."""
    found = []
    for line in lines:
        name, total, running, workers = _fields(line, 4, "status")
        if (name, total) == ("FUNCTION", "TOTAL"):  # the Java server's heading
            continue
        found.append(FunctionStatus(name, _number(total), _number(running), _number(workers)))
    return found


def read_priority_status(lines: Sequence[str]) -> list[PriorityStatus]:
    """The answer to ``prioritystatus``."""
    found = []
    for line in lines:
        name, high, normal, low, workers = _fields(line, 5, "prioritystatus")
        numbers = (_number(high), _number(normal), _number(low), _number(workers))
        found.append(PriorityStatus(name, *numbers))
    return found


def read_workers(lines: Sequence[str]) -> list[WorkerInfo]:
    """The answer to ``workers``: ``FD IP ID : f1 f2``. An ID may hold spaces."""
    found = []
    for line in lines:
        # The C server ends a line without functions in " :", Perl's in " : ".
        head, mark, functions = f"{line} ".partition(" : ")
        parts = head.split(" ", 2)
        if not mark or len(parts) < 2:
            raise ProtocolError(f"workers answered {line!r}: want FD IP ID : FUNCTIONS")
        name = parts[2] if len(parts) > 2 else ""
        found.append(WorkerInfo(_number(parts[0]), parts[1], name, tuple(functions.split())))
    return found


def read_jobs(lines: Sequence[str]) -> list[JobInfo]:
    """The answer to ``show jobs``."""
    found = []
    for line in lines:
        handle, retries, ignored, queued = _fields(line, 4, "show jobs")
        found.append(JobInfo(handle, _number(retries), ignored != "0", queued != "0"))
    return found


def read_value(lines: Sequence[str]) -> str:
    """What follows ``OK``; the Perl server leaves ``OK`` out."""
    line = lines[0] if lines else ""
    return line[3:] if line.startswith("OK ") else "" if line == "OK" else line


def check_answer(lines: Sequence[str]) -> None:
    """Raise what an ``ERR`` line says.

    Raises:
        JobNotFound: for an unknown job.
        ServerError: with the server's code and text (its ``+`` read as spaces).
    """
    if len(lines) == 1 and (lines[0] == "ERR" or lines[0].startswith("ERR ")):
        _, _, rest = lines[0].partition(" ")
        code, _, text = rest.partition(" ")
        if not code.isupper():  # a sentence, where others have a code and a text
            code, text = "", rest
        text = text.replace("+", " ")
        raise (JobNotFound if code == "UNKNOWN_JOB" else ServerError)(code, text)


def function_name(name: str) -> str:
    """A name as it may stand in an admin command.

    Raises:
        ValueError: empty, or with white space: the line would mean something else.
    """
    if not name or any(ch.isspace() for ch in name) or "\0" in name:
        raise ValueError(f"{name!r} cannot stand in an admin command: want one word")
    return name


def max_queue_line(function: str, limits: Sequence[int]) -> str:
    """The ``maxqueue`` command.

    Raises:
        ValueError: neither none, one, nor three limits; a limit that is no number.
    """
    if len(limits) not in (0, 1, 3):
        raise ValueError(f"max_queue() takes no, one or three limits, not {len(limits)}")
    for limit in limits:
        if not isinstance(limit, int):
            raise ValueError(f"limits = {limits!r}: want whole numbers")
    return " ".join(["maxqueue", function_name(function), *(str(int(n)) for n in limits)])
