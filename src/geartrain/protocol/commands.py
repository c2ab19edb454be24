"""The table of packets: number, name, arguments, and who may send them.

What errors and documents say of a packet's shape, and what tests send of too few
arguments, is derived from this table. The numbers stand as ``Final`` integers as well,
because compiled code compares those at no cost.

Source: protocol reference, section 1.2 (the C server's command table agrees).
"""

from __future__ import annotations

from typing import Final

CAN_DO: Final = 1
CANT_DO: Final = 2
RESET_ABILITIES: Final = 3
PRE_SLEEP: Final = 4
NOOP: Final = 6
SUBMIT_JOB: Final = 7
JOB_CREATED: Final = 8
GRAB_JOB: Final = 9
NO_JOB: Final = 10
JOB_ASSIGN: Final = 11
WORK_STATUS: Final = 12
WORK_COMPLETE: Final = 13
WORK_FAIL: Final = 14
GET_STATUS: Final = 15
ECHO_REQ: Final = 16
ECHO_RES: Final = 17
SUBMIT_JOB_BG: Final = 18
ERROR: Final = 19
STATUS_RES: Final = 20
SUBMIT_JOB_HIGH: Final = 21
SET_CLIENT_ID: Final = 22
CAN_DO_TIMEOUT: Final = 23
ALL_YOURS: Final = 24
WORK_EXCEPTION: Final = 25
OPTION_REQ: Final = 26
OPTION_RES: Final = 27
WORK_DATA: Final = 28
WORK_WARNING: Final = 29
GRAB_JOB_UNIQ: Final = 30
JOB_ASSIGN_UNIQ: Final = 31
SUBMIT_JOB_HIGH_BG: Final = 32
SUBMIT_JOB_LOW: Final = 33
SUBMIT_JOB_LOW_BG: Final = 34
SUBMIT_JOB_SCHED: Final = 35
SUBMIT_JOB_EPOCH: Final = 36
SUBMIT_REDUCE_JOB: Final = 37
SUBMIT_REDUCE_JOB_BACKGROUND: Final = 38
GRAB_JOB_ALL: Final = 39
JOB_ASSIGN_ALL: Final = 40
GET_STATUS_UNIQUE: Final = 41
STATUS_RES_UNIQUE: Final = 42

#: Bits of ``CommandSpec.sender``.
CLIENT: Final = 1
WORKER: Final = 2
SERVER: Final = 4


class CommandSpec:
    """One row of the table.

    Attributes:
        number: the type field of the packet.
        name: the protocol's word for it.
        arguments: names of the arguments in wire order; the last one runs to
            the end of the body and may hold NUL bytes.
        sender: who may send it, a sum of ``CLIENT``, ``WORKER``, ``SERVER``.
    """

    def __init__(self, number: int, name: str, arguments: tuple[str, ...], sender: int) -> None:
        self.number = number
        self.name = name
        self.arguments = arguments
        self.sender = sender


_SUBMIT = ("function", "unique", "workload")
_REDUCE = ("function", "unique", "reducer", "aggregator", "workload")
_ANYONE = CLIENT | WORKER
_RELAYED = WORKER | SERVER

_ROWS: list[CommandSpec] = [
    CommandSpec(CAN_DO, "CAN_DO", ("function",), WORKER),
    CommandSpec(CANT_DO, "CANT_DO", ("function",), WORKER),
    CommandSpec(RESET_ABILITIES, "RESET_ABILITIES", (), WORKER),
    CommandSpec(PRE_SLEEP, "PRE_SLEEP", (), WORKER),
    CommandSpec(NOOP, "NOOP", (), SERVER),
    CommandSpec(SUBMIT_JOB, "SUBMIT_JOB", _SUBMIT, CLIENT),
    CommandSpec(JOB_CREATED, "JOB_CREATED", ("handle",), SERVER),
    CommandSpec(GRAB_JOB, "GRAB_JOB", (), WORKER),
    CommandSpec(NO_JOB, "NO_JOB", (), SERVER),
    CommandSpec(JOB_ASSIGN, "JOB_ASSIGN", ("handle", "function", "workload"), SERVER),
    CommandSpec(WORK_STATUS, "WORK_STATUS", ("handle", "numerator", "denominator"), _RELAYED),
    CommandSpec(WORK_COMPLETE, "WORK_COMPLETE", ("handle", "result"), _RELAYED),
    CommandSpec(WORK_FAIL, "WORK_FAIL", ("handle",), _RELAYED),
    CommandSpec(GET_STATUS, "GET_STATUS", ("handle",), CLIENT),
    CommandSpec(ECHO_REQ, "ECHO_REQ", ("data",), _ANYONE),
    CommandSpec(ECHO_RES, "ECHO_RES", ("data",), SERVER),
    CommandSpec(SUBMIT_JOB_BG, "SUBMIT_JOB_BG", _SUBMIT, CLIENT),
    CommandSpec(ERROR, "ERROR", ("code", "text"), SERVER),
    CommandSpec(
        STATUS_RES, "STATUS_RES", ("handle", "known", "running", "numerator", "denominator"), SERVER
    ),
    CommandSpec(SUBMIT_JOB_HIGH, "SUBMIT_JOB_HIGH", _SUBMIT, CLIENT),
    CommandSpec(SET_CLIENT_ID, "SET_CLIENT_ID", ("id",), _ANYONE),
    CommandSpec(CAN_DO_TIMEOUT, "CAN_DO_TIMEOUT", ("function", "timeout"), WORKER),
    CommandSpec(ALL_YOURS, "ALL_YOURS", (), WORKER),
    CommandSpec(WORK_EXCEPTION, "WORK_EXCEPTION", ("handle", "exception"), _RELAYED),
    CommandSpec(OPTION_REQ, "OPTION_REQ", ("option",), _ANYONE),
    CommandSpec(OPTION_RES, "OPTION_RES", ("option",), SERVER),
    CommandSpec(WORK_DATA, "WORK_DATA", ("handle", "data"), _RELAYED),
    CommandSpec(WORK_WARNING, "WORK_WARNING", ("handle", "text"), _RELAYED),
    CommandSpec(GRAB_JOB_UNIQ, "GRAB_JOB_UNIQ", (), WORKER),
    CommandSpec(
        JOB_ASSIGN_UNIQ, "JOB_ASSIGN_UNIQ", ("handle", "function", "unique", "workload"), SERVER
    ),
    CommandSpec(SUBMIT_JOB_HIGH_BG, "SUBMIT_JOB_HIGH_BG", _SUBMIT, CLIENT),
    CommandSpec(SUBMIT_JOB_LOW, "SUBMIT_JOB_LOW", _SUBMIT, CLIENT),
    CommandSpec(SUBMIT_JOB_LOW_BG, "SUBMIT_JOB_LOW_BG", _SUBMIT, CLIENT),
    CommandSpec(
        SUBMIT_JOB_SCHED,
        "SUBMIT_JOB_SCHED",
        ("function", "unique", "minute", "hour", "day", "month", "weekday", "workload"),
        CLIENT,
    ),
    CommandSpec(
        SUBMIT_JOB_EPOCH, "SUBMIT_JOB_EPOCH", ("function", "unique", "epoch", "workload"), CLIENT
    ),
    CommandSpec(SUBMIT_REDUCE_JOB, "SUBMIT_REDUCE_JOB", _REDUCE, CLIENT),
    CommandSpec(SUBMIT_REDUCE_JOB_BACKGROUND, "SUBMIT_REDUCE_JOB_BACKGROUND", _REDUCE, CLIENT),
    CommandSpec(GRAB_JOB_ALL, "GRAB_JOB_ALL", (), WORKER),
    CommandSpec(
        JOB_ASSIGN_ALL,
        "JOB_ASSIGN_ALL",
        ("handle", "function", "unique", "reducer", "workload"),
        SERVER,
    ),
    CommandSpec(GET_STATUS_UNIQUE, "GET_STATUS_UNIQUE", ("unique",), CLIENT),
    CommandSpec(
        STATUS_RES_UNIQUE,
        "STATUS_RES_UNIQUE",
        ("unique", "known", "running", "numerator", "denominator", "clients"),
        SERVER,
    ),
]

#: ``{number: row}``: every packet of the protocol. 5 was never used.
COMMANDS: dict[int, CommandSpec] = {row.number: row for row in _ROWS}


def command_name(number: int) -> str:
    """The protocol's word for a packet type, or ``type N`` for one it does not know."""
    row = COMMANDS.get(number)
    return row.name if row is not None else f"type {number}"
