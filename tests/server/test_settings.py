"""What an operator may set, and the one line that names what is wrong."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.broker.policies import ALWAYS, FAIL, INTERVAL, WORKER_LOST
from geartrain.cli.gearmand import build_parser, read_settings
from geartrain.errors import ConfigurationError
from geartrain.server.function_policies import read_policies
from geartrain.server.listener import port_number, split_address
from geartrain.server.settings import FIELDS, Settings, option_name, read_value
from geartrain.server.settings_file import read_toml


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "gearmand.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    found = read_toml(
        write(
            tmp_path,
            """
            [listen]
            listen = ["127.0.0.1", "unix:/run/gear.sock"]
            port = 4731
            [jobs]
            job-retries = 3
            exceptions = true
            wakeup_delay = "500ms"
            [limits]
            max-memory = "2GiB"
            packet-timeout = 90
            [log]
            verbose = "DEBUG"
            """,
        )
    )

    assert found == {
        "listen": ("127.0.0.1", "unix:/run/gear.sock"), "port": "4731", "job_retries": 3,
        "exceptions": True, "wakeup_delay": 0.5, "max_memory": 2 * 2**30, "packet_timeout": 90,
        "verbose": "DEBUG",
    }  # fmt: skip
    assert dataclasses.replace(Settings(), **found).job_retries == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[limits]\nmax-memry = 1", "limits.max-memry is unknown; [limits] has "),
        ("[limit]\nmax-memory = 1", "unknown table [limit]; known are [listen], [tls], [jobs]"),
        ("[limits]\nmax-memory = 'lots'", "limits.max-memory: 'lots' is not valid: want a size"),
        ("[limits]\nmax-memory = nan", "limits.max-memory: nan is not valid"),
        ("[limits]\nmax-memory = inf", "limits.max-memory: inf is not valid"),
        ("[limits]\nmax-memory = -1", "limits.max-memory: -1 is not valid: want a size"),
        ("[limits]\nmax-connections = 1.5", "limits.max-connections: 1.5 is not valid"),
        ("[limits]\nmax-connections = true", "limits.max-connections: True is not valid"),
        ("[limits]\npacket-timeout = inf", "limits.packet-timeout: inf is not valid"),
        ("[limits]\npacket-timeout = '1y'", "want a time such as 90, 500ms, 10s or 2h"),
        ("[jobs]\njob-retries = -2", "jobs.job-retries: -2 is not valid: want a whole number, at"),
        ("[jobs]\nexceptions = 1", "jobs.exceptions: 1 is not valid: want true or false"),
        ("[log]\nverbose = 3", "log.verbose: 3 is not valid: want one of FATAL"),
        ("[listen]\nlisten = 3", "listen.listen: 3 is not valid: want a list of texts"),
        ("[log]\nverbose = 'debug'", "log.verbose: 'debug' is not valid: want one of FATAL"),
        ("[tls]\nssl-verify = 'yes'", "'yes' is not valid: want one of none optional required"),
        ("[tls]\nssl-verify = true", "True is not valid: want one of none optional required"),
        ("[listen]\nlisten = [1]", "listen.listen: [1] is not valid: want a list of texts"),
        ("[listen]\nkeepalive-idle = 100000", "listen.keepalive-idle: 100000 is not valid"),
        ("[listen]\nport = [1]", "listen.port: [1] is not valid: want a text"),
        ("limits = 3", "limits must be a table: [limits]"),
        ("job-retries = 3", "unknown table [job-retries]"),
        ("[jobs\n", "is not valid TOML: "),
        ("x = " + "[" * 2000, "is not valid TOML: "),
        ("[jobs]\njob-retries = " + "1" * 5000, "is not valid"),
    ],
)
def test_fault_in_a_file_names_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(ConfigurationError) as caught:
        read_toml(path)

    assert str(caught.value).startswith(path)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xff\xfe\x00")

    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        read_toml(path)


@pytest.mark.parametrize("name", ["nothing.toml", "."])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)

    with pytest.raises(ConfigurationError, match="cannot read") as caught:
        read_toml(path)

    assert path.rstrip("/.") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("64KiB", 65536), ("64k", 65536), ("1G", 2**30), ("1.5M", 3 * 2**19),
     ("1 GiB", 2**30), ("10b", 10), ("2TB", 2**41)],
)  # fmt: skip
def test_sizes_have_units(text: str, size: int) -> None:
    assert read_value("max_memory", text, "--max-memory") == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("500ms", 0.5),
        ("10s", 10.0),
        ("2h", 7200.0),
        ("1.5 min", 90.0),
        ("1d", 86400.0),
    ],
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert read_value("packet_timeout", text, "--packet-timeout") == seconds


def test_every_default_is_a_value_that_could_be_set() -> None:
    for name, one in FIELDS.items():
        value = list(one.default) if isinstance(one.default, tuple) else one.default

        assert read_value(name, value, "test") == one.default, name


def test_every_setting_has_a_table_and_a_sentence() -> None:
    for name, one in FIELDS.items():
        assert one.metadata["table"], name
        assert len(one.metadata["help"]) > 10, name
        assert option_name(name) == name.replace("_", "-")


values = st.one_of(
    st.text(max_size=30), st.integers(), st.floats(), st.booleans(), st.none(),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=3), st.just(10**400),
    st.sampled_from(["9" * 400, "9" * 18 + "TiB", "1e5", "-1", "0x10", "1_000", "١٢"]),
)  # fmt: skip


@given(st.sampled_from(sorted(FIELDS)), values)
def test_any_value_is_taken_or_refused_by_name(name: str, value: object) -> None:
    try:
        read_value(name, value, "--here")
    except ConfigurationError as error:
        refusal = str(error)
        assert refusal.startswith("--here: ")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", "4730"), ("127.0.0.1:1", "127.0.0.1", "1"),
        ("[::1]", "::1", "4730"), ("[::1]:5", "::1", "5"), ("::1", "::1", "4730"),
        ("host:", "host", "4730"), ("host:gearman", "host", "gearman"), (":7", "", "7"),
    ],
)  # fmt: skip
def test_address_is_split_into_host_and_port(text: str, host: str, port: str) -> None:
    assert split_address(text, "4730") == (host, port)


@pytest.mark.parametrize("port", ["65536", "-1", "no-such-service", "1" * 5000, "", "\0", "٤٧٣٠"])
def test_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a number from 0 to 65535 nor"):
        port_number(port)


def test_port_may_be_a_service() -> None:
    assert port_number("0") == 0
    assert port_number("65535") == 65535
    assert port_number("http") == 80


# ── policies of single functions ─────────────────────────────────────────────


def test_policies_are_tables_in_the_file_and_words_on_the_command_line(tmp_path: Path) -> None:
    found = read_toml(
        write(
            tmp_path,
            """
            [jobs]
            policy = ["first attempts=2"]
            [function."mail.*"]
            attempts = 5
            backoff = "1s"
            backoff-max = "1min"
            on = ["worker-lost", "fail"]
            dead = true
            [function."odd name"]
            durability = "interval"
            interval = "50ms"
            """,
        )
    )
    assert found["policy"] == (
        "first attempts=2",
        "mail.* attempts=5 backoff=1s backoff-max=1min on=worker-lost,fail dead=true",
        '"odd name" durability=interval interval=50ms',
    )

    policies = read_policies(found["policy"])

    mail = policies.of(b"mail.news")
    assert mail is not None
    assert (mail.attempts, mail.backoff, mail.backoff_max) == (5, 1.0, 60.0)
    assert (mail.covers, mail.dead, mail.durability) == (WORKER_LOST | FAIL, True, ALWAYS)
    odd = policies.of(b"odd name")
    assert odd is not None
    assert (odd.attempts, odd.covers, odd.durability, odd.interval) == (0, 0, INTERVAL, 0.05)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("resize", "policy: 'resize' is not valid: want a function's name and KEY=VALUE"),
        ("attempts=3", "want a function's name and KEY=VALUE"),
        ('"open attempts=3', 'in "quotes" if it holds spaces'),
        ("resize attempt=3", "policy for resize: 'attempt=3' is not valid: want attempts=..."),
        ("resize attempts=many", "policy for resize: attempts: 'many' is not valid: want a whole"),
        ("resize attempts=0", "policy for resize: attempts: 0 is not valid: want 1 or more, or -1"),
        ("resize backoff=1s", "policy for resize: backoff: '1s' is not valid: want attempts with"),
        ("resize attempts=3 backoff=soon", "backoff: 'soon' is not valid: want a time such as"),
        (
            "resize attempts=3 backoff=1h backoff-max=5min",
            "backoff-max: '5min' is not valid: want no less than backoff=1h",
        ),
        ("resize attempts=3 on=crash", "on: 'crash' is not valid: want worker-lost or timeout"),
        ("resize attempts=-1 dead=yes", "dead: 'yes' is not valid: want attempts of 1 or more"),
        ("resize attempts=2 dead=perhaps", "dead: 'perhaps' is not valid: want yes or"),
        ("resize durability=never", "durability: 'never' is not valid: want always or interval"),
        ("resize interval=1s", "interval: '1s' is not valid: want durability=interval with it"),
    ],
)
def test_policy_that_makes_no_sense_is_named(said: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(named)):
        read_policies([said])


def test_a_first_pause_that_is_longer_than_the_longest_usually_is_is_as_long_as_said() -> None:
    policies = read_policies(["a attempts=3 backoff=1h", "b attempts=3 backoff=1s"])
    found = [policies.of(name) for name in (b"a", b"b")]
    assert [one.backoff_max for one in found if one is not None] == [3600.0, 300.0]


def test_policy_in_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[function.resize]\nattempts = 'many'")
    with pytest.raises(ConfigurationError, match=r"gearmand\.toml: policy for resize: attempts"):
        read_settings(build_parser().parse_args(["--config", path]))
    with pytest.raises(ConfigurationError, match="function must be tables"):
        read_toml(write(tmp_path, "function = 3"))
