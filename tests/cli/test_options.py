"""Command lines as getopt reads them, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from geartrain.cli.gearman_options import TABLE, server_names, settings
from geartrain.cli.options import Option, UsageError, help_text, parse, size
from geartrain.terms import HIGH, LOW


def gearman(*arguments: str, **environ: str) -> object:
    return settings(arguments, environ)


def test_short_options_bundle_and_take_values_glued_or_apart() -> None:
    parsed = parse(TABLE, ["-nbf", "logger", "-p4731", "-hhost"])

    assert parsed.given == {
        "lines": [""],
        "background": [""],
        "function": ["logger"],
        "port": ["4731"],
        "host": ["host"],
    }


def test_options_may_follow_operands_in_a_client() -> None:
    parsed = parse(TABLE, ["one", "-f", "wc", "two"])

    assert parsed.operands == ["one", "two"]
    assert parsed.last("function") == "wc"


def test_a_workers_command_keeps_its_own_options() -> None:
    asked = settings(["-w", "-f", "test", "grep", "-c", "lib"], {})

    assert not isinstance(asked, str)
    assert asked.operands == ["grep", "-c", "lib"]
    assert asked.count == 0


def test_two_dashes_end_the_options() -> None:
    asked = settings(["-w", "-f", "test", "--", "-weird", "-n"], {})

    assert not isinstance(asked, str)
    assert asked.operands == ["-weird", "-n"]


def test_long_names_may_be_cut_short_while_they_are_unique() -> None:
    assert "background" in parse(TABLE, ["--backg"])
    with pytest.raises(UsageError, match="could be --batch-bytes, --batch-lines, --batch-wait"):
        parse(TABLE, ["--batch"])


def test_a_short_form_that_the_c_tool_knew_still_means_the_same() -> None:
    from geartrain.cli import gearadmin_options

    assert "workers" in parse(gearadmin_options.TABLE, ["--w"])
    assert "status" in parse(gearadmin_options.TABLE, ["--stat"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], "unknown option --bogus$"),
        (["-f", "wc", "-p", "abc"], "server 'localhost:abc': port 'abc', want 1 to 65535"),
        (["--progres", "--windw", "3"], "unknown option --windw; did you mean --window?"),
        (["-f", "x", "-nZ"], r"unknown option -Z \(in '-nZ'\)"),
        (["-f"], "option -f wants a value: NAME"),
        (["--spool"], "option --spool wants a value: DIR"),
        (["--progress=5"], "takes no value"),
        ([], "no function: give one with -f NAME"),
        (["-f", "x", "--window", "0"], "--window 0: want a whole number, at least 1"),
        (["-f", "x", "--batch-bytes", "lots"], "--batch-bytes lots: want a number of bytes"),
        (["-f", "x", "--batch-wait", "-1"], "want seconds"),
        (["-f", "x", "-t", "soon"], "-t soon: want milliseconds"),
        (["-f", "x", "-u", "k" * 65], "65 bytes, a unique key has at most 64"),
        (["-f", "x", "--resume"], "add --joblog FILE"),
        (["-f", "x", "--reconnect", "--no-reconnect"], "contradict"),
        (["-f", "x", "--servers", ","], "--servers names no server"),
    ],
)
def test_a_wrong_command_line_is_told_what_is_wrong(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings(arguments, {})


def test_help_and_version_need_no_function() -> None:
    assert gearman("-H") == "help"
    assert gearman("--help") == "help"
    assert gearman("--version") == "version"


def test_the_last_priority_wins() -> None:
    for arguments, priority in ((["-I", "-L"], LOW), (["-L", "-I"], HIGH), (["-ILI"], HIGH)):
        asked = settings([*arguments, "-f", "x"], {})
        assert not isinstance(asked, str)
        assert asked.priority == priority


@pytest.mark.parametrize(
    ("arguments", "environ", "servers"),
    [
        ([], {}, ["localhost"]),
        (["-h", "a", "-p", "5"], {}, ["a:5"]),
        (["-p", "5"], {}, ["localhost:5"]),
        (["-h", "::1", "-p", "5"], {}, ["[::1]:5"]),
        (["-h", "unix:/run/g"], {}, ["unix:/run/g"]),
        (["-h", "a"], {"GEARMAN_SERVER": "b:1,c:2"}, ["b:1", "c:2"]),
        ([], {"GEARMAN_SERVERS": "b:1, c"}, ["b:1", "c"]),
        (["-h", "a"], {"GEARMAN_SERVERS": "b:1"}, ["a", "b:1"]),
        (["--servers", "x,y:2"], {"GEARMAN_SERVER": "b:1"}, ["x", "y:2"]),
    ],
)
def test_servers_come_from_options_or_environment(
    arguments: list[str], environ: dict[str, str], servers: list[str]
) -> None:
    assert server_names(parse(TABLE, arguments), environ) == servers


def test_lines_have_a_window_and_reconnect_while_operands_go_one_by_one() -> None:
    lines = settings(["-n", "-f", "x"], {})
    operands = settings(["-n", "-f", "x", "a", "b"], {})

    assert not isinstance(lines, str)
    assert not isinstance(operands, str)
    assert (lines.window, lines.patience, lines.first_patience) == (64, None, 0.0)
    assert (operands.window, operands.patience) == (1, 0.0)


@pytest.mark.parametrize(
    ("text", "count"), [("100", 100), ("64k", 65536), ("1M", 2**20), ("2GB", 2**31), ("8kb", 8192)]
)
def test_sizes_may_have_units(text: str, count: int) -> None:
    assert size(parse(TABLE, ["--batch-bytes", text]), "batch-bytes", 0) == count


def test_help_fits_the_terminal_and_is_plain_unless_asked_for_bold() -> None:
    table = (Option("-x --example", "WORD", "many words " * 30, group="Group"),)

    text = help_text(table, "usage: x", "lead", "tail", bold=False, width=80)

    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b[1m" in help_text(table, "usage: x", "lead", "tail", bold=True, width=80)
