"""Answers of servers as bytes, tables and data; several servers put together."""

from __future__ import annotations

from geartrain.cli.answers import Answer, data, plain, table
from geartrain.cli.gearadmin_options import Settings, settings


def status(server: str, *lines: str) -> Answer:
    return Answer(server, "status", lines)


def test_a_list_is_printed_with_its_dot() -> None:
    assert plain([status("a", "f\t1\t0\t1")]) == "f\t1\t0\t1\n.\n"
    assert plain([status("a")]) == ".\n"


def test_ok_is_left_out_where_something_follows_it() -> None:
    assert plain([Answer("a", "server-version", ["OK 1.1.20+ds"])]) == "1.1.20+ds\n"
    assert plain([Answer("a", "create-function", ["OK"])]) == "OK\n"


def test_counts_of_several_servers_are_added_up_by_function() -> None:
    answers = [status("a", "f\t3\t1\t2", "g\t1\t0\t0"), status("b", "f\t4\t1\t5")]

    assert plain(answers) == "f\t7\t2\t7\ng\t1\t0\t0\n.\n"
    assert data(answers)[0] == {"function": "f", "total": 7, "running": 2, "workers": 7}  # type: ignore[index]


def test_single_answers_of_several_servers_are_named() -> None:
    answers = [Answer("a:1", "getpid", ["OK 1"]), Answer("b:2", "getpid", ["OK 2"])]

    assert plain(answers) == "a:1 1\nb:2 2\n"
    assert data(answers) == {"a:1": "1", "b:2": "2"}


def test_workers_become_data_whatever_they_are_called() -> None:
    lines = ["39 127.0.0.1 - :", "37 ::1 my worker : f1 f2"]

    assert data([Answer("a", "workers", lines)]) == [
        {"fd": 39, "address": "127.0.0.1", "id": "-", "functions": []},
        {"fd": 37, "address": "::1", "id": "my worker", "functions": ["f1", "f2"]},
    ]
    assert plain([Answer("a", "workers", lines)]).endswith("f1 f2\n.\n")


def test_a_table_has_headings_and_straight_columns() -> None:
    text = table([status("a", "long-name\t1000\t0\t1", "f\t1\t0\t22")], bold=False, room=80)

    assert text == (
        "function   total  running  workers\n"
        "long-name   1000        0        1\n"
        "f              1        0       22\n"
    )


def test_an_error_is_not_a_list() -> None:
    answer = Answer("a", "status", ["ERR UNKNOWN_COMMAND Unknown+server+commandstatus"])

    assert answer.error == "UNKNOWN_COMMAND Unknown+server+commandstatus"
    assert not answer.is_list


def test_operations_go_in_the_c_tools_order() -> None:
    asked = settings(["--status", "--workers", "--getpid", "--create-function", "f"], {})

    assert isinstance(asked, Settings)
    assert [one.line for one in asked.operations] == [
        "getpid",
        "create function f",
        "workers",
        "status",
    ]


def test_maxqueue_takes_one_limit_or_three_or_none() -> None:
    for arguments, line in (
        (["--maxqueue", "f", "5"], "maxqueue f 5"),
        (["--maxqueue", "f", "5,6,7"], "maxqueue f 5 6 7"),
        (["--maxqueue", "f=5"], "maxqueue f 5"),
        (["--maxqueue", "f"], "maxqueue f"),
    ):
        asked = settings(arguments, {})
        assert isinstance(asked, Settings)
        assert [one.line for one in asked.operations] == [line]


def test_watch_may_have_its_seconds_as_a_word() -> None:
    for arguments, pause in ((["--watch"], 1.0), (["--watch=3"], 3.0), (["--watch", "0.5"], 0.5)):
        asked = settings(arguments, {})
        assert isinstance(asked, Settings)
        assert asked.watch == pause
        assert [one.name for one in asked.operations] == ["status"]
