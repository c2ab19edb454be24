"""Addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.errors import ConfigurationError
from geartrain.transport.address import Address, Servers, parse_address, parse_servers


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost", Address("localhost", 4730)),
        ("db1:4731", Address("db1", 4731)),
        ("[::1]:4731", Address("::1", 4731)),
        ("[::1]", Address("::1", 4730)),
        ("::1", Address("::1", 4730)),
        ("unix:/run/g.sock", Address("", 0, "/run/g.sock")),
        ("unix:///run/g.sock", Address("", 0, "/run/g.sock")),
        ("gearman://h", Address("h", 4730)),
        ("gearmans://h:1/", Address("h", 1, "", True)),
        ("tcp://10.0.0.7:4730", Address("10.0.0.7", 4730)),
        ("gearman://unix", Address("unix", 4730)),
        ("unix:////run/g.sock", Address("", 0, "//run/g.sock")),
        ("unix://x", Address("", 0, "x")),
    ],
)
def test_forms(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":4730",
        "h:0",
        "h:65536",
        "h:x",
        "http://h",
        "[::1",
        "[::1]4730",
        "a b",
        "unix:",
        "h:"[:0],
    ],
)
def test_what_is_no_address_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ConfigurationError, match="want"):
        parse_address(text)


@pytest.mark.parametrize(
    ("servers", "environ", "want"),
    [
        (None, {}, ["localhost:4730"]),
        (None, {"GEARMAN_SERVERS": "a,b:4731"}, ["a:4730", "b:4731"]),
        (None, {"GEARMAN_SERVER": "c", "GEARMAND_PORT": "7003"}, ["c:7003"]),
        (None, {"GEARMAN_SERVERS": "a", "GEARMAN_SERVER": "c"}, ["a:4730"]),
        (None, {"GEARMAND_PORT": "tcp://10.0.0.7:4731"}, ["10.0.0.7:4731"]),
        (None, {"GEARMAN_SERVERS": "a", "GEARMAND_PORT": "tcp://10.0.0.7:4731"}, ["a:4730"]),
        ("a, b  c,,a", {}, ["a:4730", "b:4730", "c:4730"]),
        ("x", {"GEARMAN_SERVERS": "a"}, ["x:4730"]),
        (
            ["a", ("b", 4731), Address("c", 1), "d,e"],
            {},
            ["a:4730", "b:4731", "c:1", "d:4730", "e:4730"],
        ),
        (Address("c", 1), {}, ["c:1"]),
    ],
)
def test_servers_from_arguments_and_environment(
    servers: Servers, environ: dict[str, str], want: list[str]
) -> None:
    assert [str(a) for a in parse_servers(servers, environ)] == want


@pytest.mark.parametrize("servers", ["", " , ", []])
def test_no_servers_is_a_mistake(servers: Servers) -> None:
    with pytest.raises(ConfigurationError):
        parse_servers(servers, {})


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_clear_no(text: str) -> None:
    try:
        address = parse_address(text)
    except ConfigurationError:
        return
    assert parse_address(str(address)) == address
