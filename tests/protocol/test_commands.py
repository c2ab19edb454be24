"""The table of packets says what the protocol says."""

from __future__ import annotations

import pytest

from geartrain.protocol import commands as c

#: Number, name, who sends it, how many arguments: from the protocol's text, by hand.
PROTOCOL = """
1 CAN_DO W 1
2 CANT_DO W 1
3 RESET_ABILITIES W 0
4 PRE_SLEEP W 0
6 NOOP S 0
7 SUBMIT_JOB C 3
8 JOB_CREATED S 1
9 GRAB_JOB W 0
10 NO_JOB S 0
11 JOB_ASSIGN S 3
12 WORK_STATUS WS 3
13 WORK_COMPLETE WS 2
14 WORK_FAIL WS 1
15 GET_STATUS C 1
16 ECHO_REQ CW 1
17 ECHO_RES S 1
18 SUBMIT_JOB_BG C 3
19 ERROR S 2
20 STATUS_RES S 5
21 SUBMIT_JOB_HIGH C 3
22 SET_CLIENT_ID CW 1
23 CAN_DO_TIMEOUT W 2
24 ALL_YOURS W 0
25 WORK_EXCEPTION WS 2
26 OPTION_REQ CW 1
27 OPTION_RES S 1
28 WORK_DATA WS 2
29 WORK_WARNING WS 2
30 GRAB_JOB_UNIQ W 0
31 JOB_ASSIGN_UNIQ S 4
32 SUBMIT_JOB_HIGH_BG C 3
33 SUBMIT_JOB_LOW C 3
34 SUBMIT_JOB_LOW_BG C 3
35 SUBMIT_JOB_SCHED C 8
36 SUBMIT_JOB_EPOCH C 4
37 SUBMIT_REDUCE_JOB C 5
38 SUBMIT_REDUCE_JOB_BACKGROUND C 5
39 GRAB_JOB_ALL W 0
40 JOB_ASSIGN_ALL S 5
41 GET_STATUS_UNIQUE C 1
42 STATUS_RES_UNIQUE S 6
"""
ROWS = [line.split() for line in PROTOCOL.split("\n") if line]


@pytest.mark.parametrize(("number", "name", "senders", "arguments"), ROWS)
def test_row_is_the_protocols(number: str, name: str, senders: str, arguments: str) -> None:
    row = c.COMMANDS[int(number)]
    letters = {"C": c.CLIENT, "W": c.WORKER, "S": c.SERVER}

    assert row.name == name
    assert row.sender == sum(letters[letter] for letter in senders)
    assert len(row.arguments) == int(arguments)
    assert getattr(c, name) == row.number == int(number)


def test_there_are_no_other_rows() -> None:
    assert sorted(c.COMMANDS) == sorted(int(row[0]) for row in ROWS)


def test_unknown_type_is_named_by_its_number() -> None:
    assert c.command_name(7) == "SUBMIT_JOB"
    assert c.command_name(5) == "type 5"
    assert c.command_name(0x80000000) == "type 2147483648"
