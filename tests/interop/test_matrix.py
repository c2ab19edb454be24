"""Every client with every worker, other people's and ours, over our server.

The same over the C server proves the tests; there each client meets its own
library's worker and ours, which is enough for that and half as long.

All workers are there at once, each with functions of its own; all clients, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.servers import C, Server
from tests.interop.peer import PEERS, Client, Worker
from tests.support import wait_until

clients = pytest.mark.parametrize("client", PEERS)
pairs = pytest.mark.parametrize(
    ("client", "worker"), [(client, worker) for client in PEERS for worker in PEERS]
)

Workers = Callable[[str], Worker]
Clients = Callable[[str], Client]

#: Every byte, but those above 127 only for workers that do not spoil them.
TEXT = bytes(range(128)) * 3
BYTES = bytes(range(256)) * 3
CHATTY = [
    ("data", "one"),
    ("warning", "careful"),
    ("status", "1", "2"),
    ("data", "two"),
    ("status", "2", "2"),
    ("complete", "done"),
]


@pytest.fixture(scope="module")
def worker_of(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """A peer's worker, started when first asked for."""
    started: dict[str, Worker] = {}
    with ExitStack() as stack:

        def one(name: str) -> Worker:
            if name not in started:
                notes = Path(tmp_path_factory.mktemp("notes") / name)
                started[name] = stack.enter_context(Worker(PEERS[name], server, notes))
            found = started[name]
            assert found.process.poll() is None, f"{name}'s worker ended: {found.errors()}"
            return found

        yield one


@pytest.fixture(scope="module")
def client_of(server: Server) -> Iterator[Clients]:
    """A peer's client, started when first asked for."""
    started: dict[str, Client] = {}
    with ExitStack() as stack:

        def one(name: str) -> Client:
            if name not in started:
                started[name] = stack.enter_context(Client(PEERS[name], server))
            return started[name]

        yield one


@pairs
def test_result_comes_back_as_it_is(
    server: Server, client_of: Clients, worker_of: Workers, client: str, worker: str
) -> None:
    worker_of(worker)
    asking = client_of(client)
    data = BYTES if PEERS[worker].any_bytes else TEXT

    workloads = [data, data * 200]
    # libgearman's own rule, and so PHP's: a job has a workload. And the C server waits for
    # the NUL that the Perl worker leaves out before an empty result.
    if PEERS[client].empty_workloads and (server.kind, worker) != (C, "perl"):
        workloads.append(b"")

    for workload in workloads:
        assert asking.call(f"{worker}-reverse", workload) == workload[::-1]


@pairs
def test_news_comes_in_order(
    client_of: Clients, worker_of: Workers, client: str, worker: str
) -> None:
    worker_of(worker)
    asking = client_of(client)
    news = PEERS[client].news
    if news is None:
        result = asking.call(f"{worker}-chatty", b"x")
        assert result == b"onetwodone"
        return

    events = asking.task(f"{worker}-chatty")

    assert events[0][0] == "created"
    assert events[0][1].startswith("H:")
    assert events[1:] == [event for event in CHATTY if event[0] in news]


@pairs
def test_failure_is_a_failure(
    client_of: Clients, worker_of: Workers, client: str, worker: str
) -> None:
    worker_of(worker)
    asking = client_of(client)

    assert asking.ask("call", function=f"{worker}-fail", workload=b"x".hex()) == {"failed": True}
    if PEERS[client].news is not None:
        assert [event[0] for event in asking.task(f"{worker}-fail")] == ["created", "fail"]


@pairs
def test_many_jobs_at_once_all_come_back(
    client_of: Clients, worker_of: Workers, client: str, worker: str
) -> None:
    worker_of(worker)
    workloads = [b"job %d" % number for number in range(5)]

    answer = client_of(client).ask(
        "many", function=f"{worker}-reverse", workloads=[one.hex() for one in workloads]
    )

    assert answer == {"results": [one[::-1].hex() for one in workloads]}


@pairs
def test_background_jobs_are_done_once(
    server: Server, client_of: Clients, worker_of: Workers, client: str, worker: str
) -> None:
    if server.kind == C and worker == "perl":
        pytest.skip("the C server waits for the NUL that this worker leaves out")
    doing = worker_of(worker)
    asking = client_of(client)

    handles = {
        asking.background(f"{worker}-note", f"{client} {priority}".encode(), priority=priority)
        for priority in ("low", "normal", "high")
    }

    assert len(handles) == 3
    wire = server.connect()
    try:
        wait_until(lambda: (wire.counts(f"{worker}-note".encode()) or (1, 1, 1))[:2] == (0, 0))
    finally:
        wire.close()
    noted = [note for note in doing.noted() if note.startswith(client.encode() + b" ")]
    assert sorted(noted) == [f"{client} {word}".encode() for word in ("high", "low", "normal")]


@clients
def test_ping_is_answered(client_of: Clients, client: str) -> None:
    if not PEERS[client].pings:
        pytest.skip(f"{client} cannot ping")

    assert client_of(client).ask("ping") == {"ok": True}


@clients
def test_status_of_a_job_that_waits(server: Server, client_of: Clients, client: str) -> None:
    asking = client_of(client)
    handle = asking.background(f"nobody-{client}", b"x")

    assert asking.ask("status", handle=handle) == {"status": [1, 0, 0, 0]}
    wire = server.connect()
    wire.send_bytes(b"cancel job %s\r\n" % handle.encode())
    assert wire.read_line() == b"OK\r\n"
    wire.close()


@clients
def test_same_unique_is_the_same_job(client_of: Clients, client: str) -> None:
    asking = client_of(client)

    first = asking.background(f"nobody-{client}", b"1", unique="same")

    assert asking.background(f"nobody-{client}", b"2", unique="same") == first


@clients
def test_client_gives_up_waiting_and_goes_on(client_of: Clients, client: str) -> None:
    asking = client_of(client)
    asking.ask("patience", seconds=0.3)
    try:
        answer = asking.ask("call", function="nobody", workload=b"x".hex())
    finally:
        asking.ask("patience", seconds=10)

    assert "timeout" in answer["error"].lower()


# ── exceptions: last, since a connection that asked for them keeps the option ──


@pairs
def test_exception_arrives_as_such_if_asked_for(
    server: Server, client_of: Clients, worker_of: Workers, client: str, worker: str
) -> None:
    if not PEERS[client].exceptions:
        pytest.skip(f"{client} cannot ask for exceptions")
    if server.kind == C and worker == "perl":
        pytest.skip("the C server answers its WORK_FAIL with an ERROR, which ends this worker")
    worker_of(worker)
    asking = client_of(client)
    assert asking.ask("exceptions") == {"ok": True}

    events = asking.task(f"{worker}-raise")

    assert [event[0] for event in events] == ["created", "exception"]
    assert "boom" in events[-1][1]
