"""What Prometheus reads from a manager, and that nobody who asks can hold it up."""

from __future__ import annotations

import re
import selectors
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from geartrain.client.sync import Client
from geartrain.errors import ConfigurationError
from geartrain.manager.metrics import MOST_CONNECTIONS, MetricsPort, exposition
from tests.manager.running import Running
from tests.support import patient, wait_until


def row(name: str, state: str = "idle", **changes: Any) -> dict[str, Any]:
    usual = {
        "jobs": 0, "failures": 0, "running": 0, "memory_bytes": 4096, "age_seconds": 1.5,
        "job_seconds": 0.0,
    }  # fmt: skip
    return {"name": name, "state": state, **usual, **changes}


def status(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "since": 1_700_000_000.0,
        "ended": {"jobs": 10, "failures": 2},
        "crashes": 1,
        "processes": list(rows),
    }


def test_numbers_of_processes_that_have_gone_are_kept() -> None:
    text = exposition(status(row("a/1", jobs=5, failures=1), row("a/2", "working", running=1)))

    assert "\ngearman_worker_jobs_total 15\n" in text
    assert "\ngearman_worker_failures_total 3\n" in text
    assert "\ngearman_worker_crashes_total 1\n" in text
    assert '\ngearman_worker_processes{state="idle"} 1\n' in text
    assert '\ngearman_worker_processes{state="quiet"} 0\n' in text
    assert '\ngearman_worker_process_memory_bytes{process="a/2"} 4096\n' in text


def test_every_line_is_in_the_text_format() -> None:
    text = exposition(status(row('odd "name"\\')))

    line = re.compile(r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="([^"\\]|\\.)*"\})? [0-9.]+')
    assert text.endswith("\n")
    assert [wrong for wrong in text.splitlines() if not line.fullmatch(wrong)] == []


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        yield selector


@pytest.fixture
def port(selector: selectors.BaseSelector) -> Iterator[MetricsPort]:
    port = MetricsPort("0", selector, lambda: status(row("a/1")))
    yield port
    port.close()


def turn(selector: selectors.BaseSelector) -> None:
    """What the manager does when something has happened."""
    while found := selector.select(0.05):
        for key, _ in found:
            key.data()


def connect(port: MetricsPort) -> socket.socket:
    return socket.create_connection(port._socket.getsockname()[:2], timeout=patient(5))


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"GET /metrics HTTP/1.1", b"HTTP/1.1 200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0", b"HTTP/1.1 200 OK"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 404 Not Found"),
        (b"POST /metrics HTTP/1.1", b"HTTP/1.1 405 Method Not Allowed"),
        (b"nonsense", b"HTTP/1.1 405 Method Not Allowed"),
    ],
)
def test_requests_are_answered(
    selector: selectors.BaseSelector, port: MetricsPort, request_line: bytes, answer: bytes
) -> None:
    with connect(port) as connection:
        for piece in (request_line, b"\r\nHost: x\r\n", b"\r\n"):
            connection.sendall(piece)
            turn(selector)
        with connection.makefile("rb") as lines:
            assert lines.readline().strip() == answer


def test_who_connects_and_says_nothing_makes_room(
    selector: selectors.BaseSelector, port: MetricsPort
) -> None:
    silent = [connect(port) for _ in range(MOST_CONNECTIONS + 3)]
    turn(selector)

    assert len(port._asking) == MOST_CONNECTIONS
    assert silent[0].recv(1) == b""
    for connection in silent:
        connection.close()
    turn(selector)
    assert not port._asking


@pytest.mark.parametrize("place", ["x", "1.2.3.4:", "70000", "203.0.113.1:9100"])
def test_a_place_that_cannot_be_is_named(selector: selectors.BaseSelector, place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"metrics = '{place}'"):
        MetricsPort(place, selector, dict)


def test_a_manager_tells_its_numbers(manager: Running, client: Client) -> None:
    manager.start("jobs:app", "-n", "1", "--metrics", "0")
    found = re.search(r"metrics: (http://127\.0\.0\.1:\d+/metrics)", manager.log.read_text())
    assert found

    def number(name: str) -> int:
        with urllib.request.urlopen(found[1], timeout=patient(5)) as answer:
            text = answer.read().decode()
        match = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
        assert match, text
        return int(match[1])

    client.do("version")
    client.do("version")
    wait_until(lambda: number("gearman_worker_jobs_total") == 2)
    client.do_background("die")
    wait_until(lambda: number("gearman_worker_crashes_total") > 0)

    # The process that did them is gone; the count is not.
    assert number("gearman_worker_jobs_total") >= 2
