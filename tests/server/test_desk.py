"""Questions that only the store can answer, over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geartrain.server.desk import PAGE
from geartrain.server.desk_words import Wanted
from geartrain.stores import registry
from geartrain.stores.port import QueueKey
from geartrain.testing.store_kit import FakeServer
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, Wire


def bury(queue: str, *bodies: bytes, function: bytes = b"resize") -> None:
    """Put jobs into the dead set, while no server has the queue."""

    async def do() -> None:
        one = await FakeServer(registry.from_url(queue), "one").open()
        for body in bodies:
            job = one.job(body, queue=QueueKey("", function, 1))
            await one.bury(job, "too tired")
        await one.store.close()

    asyncio.run(do())


@pytest.fixture
def queue(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/jobs.db"


@pytest.fixture
def server(queue: str) -> Iterator[Server]:
    bury(queue, b"first", b"\xff\0second")
    bury(queue, b"other", function=b"odd name\xfe")
    server = Server(OURS, "--queue", queue)
    yield server
    server.end()


def objects(wire: Wire, said: str) -> list[dict[str, Any]]:
    wire.send_bytes(said.encode() + b"\n")
    return [json.loads(line) for line in wire.read_list()]


def one(wire: Wire, said: str) -> dict[str, Any]:
    wire.send_bytes(said.encode() + b"\n")
    found: dict[str, Any] = json.loads(wire.read_line())
    return found


def test_the_dead_are_listed_shown_and_exported(server: Server) -> None:
    wire = server.connect()

    listed = objects(wire, "dead list")
    assert [(d["function"], d["size"], d["reason"], d["attempts"]) for d in listed] == [
        ("resize", 5, "too tired", 3),
        ("resize", 8, "too tired", 3),
        ("odd name\udcfe", 5, "too tired", 3),
    ]
    assert [d["handle"] for d in objects(wire, "dead list function=odd%20name%FE")] == [
        listed[2]["handle"]
    ]
    shown = one(wire, f"dead show {listed[0]['handle']}")
    assert (shown["body"], shown["worker"]) == ("first", "w1")
    exported = objects(wire, "dead export function=resize")
    assert [d.get("body_base64") for d in exported] == [None, "/wBzZWNvbmQ="]
    wire.close()


def test_the_dead_are_retried_and_deleted(server: Server) -> None:
    wire = server.connect()
    worker = server.connect()
    worker.can_do(b"resize")
    worker.send(T.PRE_SLEEP)
    worker.expect_nothing()
    handles = [d["handle"] for d in objects(wire, "dead list function=resize")]

    assert one(wire, f"dead retry {handles[1]}") == {
        "retried": 1, "kept": [], "stayed": 0, "unknown": [],
    }  # fmt: skip
    worker.expect(T.NOOP)
    worker.send(T.GRAB_JOB)
    assert worker.receive().body == handles[1].encode() + b"\0resize\0\xff\0second"
    worker.send(T.WORK_COMPLETE, handles[1].encode(), b"")
    worker.expect_nothing()
    assert one(wire, "dead delete all function=resize") == {"deleted": 1, "unknown": []}
    assert [d["function"] for d in objects(wire, "dead list")] == ["odd name\udcfe"]
    assert one(wire, "dead retry all")["retried"] == 1
    assert objects(wire, "dead list") == []
    wire.close()
    worker.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"dead show H:x:0000000000000001", b"ERR UNKNOWN_JOB\r\n"),
        (b"dead show nonsense", b"ERR UNKNOWN_JOB\r\n"),
        (b"dead show", b"ERR INVALID_ARGUMENTS dead show HANDLE\r\n"),
        (b"dead retry", b"ERR INVALID_ARGUMENTS dead retry HANDLE... or all [function=NAME]\r\n"),
        (b"dead delete gone", b'{"deleted": 0, "unknown": ["gone"]}\n'),
        (b"dead list me", b"ERR INVALID_ARGUMENTS dead list [function=NAME] [after=HANDLE]\r\n"),
        (b"dead", b"ERR UNKNOWN_COMMAND Unknown+server+commanddead\r\n"),
        (b"dead wood", b"ERR UNKNOWN_COMMAND Unknown+server+commanddead\r\n"),
    ],
)
def test_questions_that_make_no_sense_are_told_so(
    server: Server, said: bytes, answer: bytes
) -> None:
    wire = server.connect()
    wire.send_bytes(said + b"\nversion\n")
    assert wire.read_line() == answer
    assert wire.read_line().startswith(b"OK ")
    wire.close()


def test_a_long_list_and_large_bodies_come_whole(queue: str) -> None:
    bury(queue, *[b"%d" % n for n in range(1101)])
    bury(queue, *[bytes([n]) * 3_000_000 for n in (1, 2, 255)], function=b"large")
    server = Server(OURS, "--queue", queue)
    try:
        wire = server.connect()
        listed = objects(wire, "dead list")
        exported = objects(wire, "dead export")
        wire.close()
    finally:
        server.end()

    assert len(listed) == 1104
    assert [d["body"] for d in exported[:1101]] == [str(n) for n in range(1101)]
    assert [len(d.get("body", "")) for d in exported[1101:]] == [3_000_000, 3_000_000, 0]
    assert len(exported[-1]["body_base64"]) == 4_000_000


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"resize", {b"resize"}),
        (b"re*", {b"resize", b"re*", b"rest"}),
        (b"re[*]", {b"re*"}),
        (b"res?", {b"rest"}),
        (b"[qr]e?t", {b"rest"}),
        (b"a[b]", {b"a[b]", b"ab"}),
        (b"a[[]b]", {b"a[b]"}),
        (b"\xe7\x94\xbb?", {"画像".encode()}),
        (b"odd\xfe*", {b"odd\xfe name"}),
        (b"RE*", set()),
        (b"*", {b"resize", b"re*", b"rest", b"a[b]", b"ab", "画像".encode(), b"odd\xfe name"}),
    ],
)
def test_a_pattern_means_the_functions_that_a_shell_would_match(
    text: bytes, names: set[bytes]
) -> None:
    there = [b"resize", b"re*", b"rest", b"a[b]", b"ab", "画像".encode(), b"odd\xfe name"]
    wanted = Wanted(text)

    assert {name for name in there if wanted.has(name)} == names
    assert wanted.name == (None if wanted.is_pattern else text)


def test_lists_take_patterns_over_many_pages(queue: str) -> None:
    few, many = b"a.few", b"b.many"
    bury(queue, b"1", function=few)
    bury(queue, *[b"%d" % n for n in range(2 * PAGE + 10)], function=many)
    bury(queue, b"2", b"3", function=few)
    server = Server(OURS, "--queue", queue)
    try:
        wire = server.connect()

        assert [d["function"] for d in objects(wire, "dead list function=a.*")] == ["a.few"] * 3
        assert [d["body"] for d in objects(wire, "dead export function=%3F.few")] == ["1", "2", "3"]
        exported = objects(wire, "dead export function=b*")
        assert [d["body"] for d in exported] == [str(n) for n in range(2 * PAGE + 10)]
        assert objects(wire, "dead list function=c*") == []
        assert one(wire, "dead retry all function=a*")["retried"] == 3
        assert len(objects(wire, "job list function=*few")) == 3
        assert objects(wire, "job list function=b*") == []
        assert one(wire, "dead delete all function=[ab].*")["deleted"] == 2 * PAGE + 10
        wire.close()
    finally:
        server.end()


def test_an_export_by_a_pattern_keeps_its_pieces_small(queue: str) -> None:
    bury(queue, b"x" * 100, function=b"other")
    bury(queue, *[bytes([n]) * 3_000_000 for n in (1, 2, 3)], function=b"large")
    server = Server(OURS, "--queue", queue)
    try:
        wire = server.connect()

        exported = objects(wire, "dead export function=l*")

        assert [d["body"] for d in exported] == [chr(n) * 3_000_000 for n in (1, 2, 3)]
        wire.close()
    finally:
        server.end()


def test_a_large_workload_that_is_only_in_the_store_is_shown_whole(queue: str) -> None:
    server = Server(OURS, "--queue", queue)
    try:
        wire = server.connect()
        handle = wire.submit(b"f", b"x" * 200_000, b"", T.SUBMIT_JOB_BG).decode()
        shown = one(wire, f"job show {handle}")
        [listed] = objects(wire, "job list")
        wire.close()
    finally:
        server.end()

    assert (shown["body"], shown["size"]) == ("x" * 200_000, 200_000)
    assert (listed["size"], listed["state"], listed["stored"]) == (200_000, "queued", True)
