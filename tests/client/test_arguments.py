"""What cannot be is refused at the call, by the name of the argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

import geartrain
from geartrain.client.answers import max_queue_line
from geartrain.executor import GearmanExecutor

#: Nothing listens there: what gets so far has not been refused.
client: Any = geartrain.Client("127.0.0.1:1", connect_timeout=1)
aclient: Any = geartrain.AsyncClient("127.0.0.1:1", connect_timeout=1)
Worker: Any = geartrain.Worker
Client: Any = geartrain.Client
Retry: Any = geartrain.Retry
Executor: Any = GearmanExecutor


def offering() -> Any:
    worker = Worker("127.0.0.1:1")
    worker.add_function("f", print)
    return worker


WRONG: list[tuple[str, Callable[[], object]]] = [
    ("function = 12", lambda: client.do(12)),
    ("function = ''", lambda: client.submit("")),
    ("function = None", lambda: client.do_background(None)),
    ("workload = 12", lambda: client.do("f", 12)),
    ("workload = \\[1, 2\\]", lambda: client.do("f", [1, 2])),
    ("priority = 'urgent'", lambda: client.do("f", priority="urgent")),
    ("timeout = 'soon'", lambda: client.do("f", timeout="soon")),
    ("timeout = nan", lambda: client.do("f", timeout=float("nan"))),
    ("unique has 64 bytes", lambda: client.do("f", unique="x" * 64)),
    ("unique = 5", lambda: client.do("f", unique=5)),
    ("option 'uniq'", lambda: client.do("f", uniq="x")),
    ("option 'on_data'", lambda: client.do_background("f", on_data=print)),
    ("on_data = 5", lambda: client.do("f", on_data=5)),
    ("reducer = 5", lambda: client.do("f", reducer=5)),
    ("retry = 'often'", lambda: client.do("f", retry="often")),
    ("retry = -1", lambda: client.do("f", retry=-1)),
    ("has no time zone", lambda: client.do_background("f", when=datetime(2026, 1, 1))),  # noqa: DTZ001
    ("when = 'tomorrow'", lambda: client.do_background("f", when="tomorrow")),
    ("workloads = 5", lambda: client.map("f", 5)),
    ("workloads = 'abc'", lambda: client.map("f", "abc")),
    ("window = 0", lambda: client.map("f", [b""], window=0)),
    ("values = 5", lambda: client.function("f", codec="json").map(5)),
    ("workloads = 5", lambda: aclient.map("f", 5)),
    ("values = 5", lambda: aclient.function("f", codec="json").map(5)),
    ("a handle or a unique key", client.status),
    ("handle = 5", lambda: client.status(5)),
    ("unique = 5", lambda: client.status(unique=5)),
    ("handle = 5", lambda: client.cancel(5)),
    ("tasks has 'x'", lambda: client.gather(["x"])),
    ("tasks has 'x'", lambda: list(client.as_completed(["x"]))),
    ("return_when = 'NEVER'", lambda: client.wait([], return_when="NEVER")),
    ("function = 'a.x00b'", lambda: client.do("a\0b")),
    ("is a uri: .* Handle.from_uri", lambda: client.status("localhost:4730#H:a:1")),
    ("is a uri: .* Handle.from_uri", lambda: client.cancel("localhost:4730#H:a:1")),
    ("key is a str: want bytes", lambda: Executor(key="k" * 32)),
    ("max_pending = '3'", lambda: Executor(key=b"k" * 32, max_pending="3")),
    ("servers = 5", lambda: Client(5)),
    ("tls = 5", lambda: Client(tls=5)),
    ("namespace = 5", lambda: Client(namespace=5)),
    ("namespace = 5", lambda: geartrain.AsyncClient(namespace=5)),  # type: ignore[arg-type]
    ("namespace = 5", lambda: geartrain.App(namespace=5)),  # type: ignore[arg-type]
    ("connect_timeout = 0", lambda: Client(connect_timeout=0)),
    ("submit_timeout = -1", lambda: geartrain.AsyncClient(submit_timeout=-1)),
    ("worker_id = 5", lambda: Worker(worker_id=5)),
    ("namespace = 5", lambda: Worker(namespace=5)),
    ("tls = 'x'", lambda: Worker(tls="x")),
    ("max_jobs = '3'", lambda: offering().work(max_jobs="3")),
    ("max_jobs = -1", lambda: offering().work(max_jobs=-1)),
    ("function = 'a.x00b'", lambda: Worker().add_function("a\0b", print)),
    ("routing = 'random'", lambda: Client(routing="random")),
    ("submit_timeout = 'x'", lambda: Client(submit_timeout="x")),
    ("codec = 'xml'", lambda: client.function("f", codec="xml")),
    ("concurrency = '4'", lambda: Worker(concurrency="4")),
    ("grace = 'x'", lambda: Worker(grace="x")),
    ("function = ''", lambda: Worker().add_function("", print)),
    ("fn = 5", lambda: Worker().add_function("f", 5)),
    ("timeout = -4", lambda: Worker().add_function("f", print, timeout=-4)),
    ("on = 'OSError'", lambda: Retry(on="OSError")),
    ("exceptions = 'no': want True or False", lambda: Client(exceptions="no")),
    ("exceptions = 0: want True or False", lambda: geartrain.AsyncClient(exceptions=0)),  # type: ignore[arg-type]
    ("require_worker = 'no'", lambda: Client(require_worker="no")),
    ("require_worker = None", lambda: geartrain.AsyncClient(require_worker=None)),  # type: ignore[arg-type]
    ("multiplex = 'no'", lambda: geartrain.AsyncWorker(multiplex="no")),  # type: ignore[arg-type]
    ("burst = 'no'", lambda: offering().work(burst="no")),
    ("signals = 'no'", lambda: offering().work(signals="no")),
    ("ordered = 'no'", lambda: client.map("f", [b""], ordered="no")),
    ("graceful = 'no'", lambda: geartrain.AdminClient().shutdown(graceful="no")),  # type: ignore[arg-type]
    ("pure = 'no'", lambda: Executor(key=b"k" * 32, pure="no")),
    (r"TLS\(verify='no'\): want True or False", lambda: geartrain.TLS(verify="no")),  # type: ignore[arg-type]
    (r"TLS\(check_hostname=0\)", lambda: geartrain.TLS(check_hostname=0)),  # type: ignore[arg-type]
    ("limits = \\['x'\\]", lambda: max_queue_line("f", ["x"])),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("reason", "call"), WRONG, ids=[reason for reason, _ in WRONG])
def test_a_wrong_argument_is_named_at_the_call(reason: str, call: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        call()


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        ("window = 0", {"window": 0}),
        ("no option 'uniq'", {"uniq": 1}),
        ("ordered = 'no'", {"ordered": "no"}),
    ],
)
async def test_asyncio_refuses_the_same(reason: str, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        _ = [result async for result in aclient.map("f", [b""], **options)]
    with pytest.raises(TypeError, match="function = 5"):
        await aclient.do(5)
    with pytest.raises(TypeError, match="tasks has 'x'"):
        await aclient.gather(["x"])


def test_what_is_like_bytes_is_sent_as_bytes() -> None:
    from array import array

    from geartrain.client.options import bytes_of

    assert bytes_of(memoryview(b"ab")) == bytes_of(bytearray(b"ab")) == b"ab"
    assert bytes_of(array("B", [1, 2])) == b"\1\2"  # type: ignore[arg-type]
