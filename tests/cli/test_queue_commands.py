"""``gearadmin dead``: what was given up is found, looked at and decided about."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.tools import ENVIRON, Done, Tools, command, on_terminal
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T
from tests.support import patient, wait_until

POLICY = ("--policy", "f* attempts=1 dead=yes")


@pytest.fixture(params=["sqlite", "memory"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    queue = f"sqlite://{tmp_path}/jobs.db" if request.param == "sqlite" else "memory://"
    server = Server(OURS, "--queue", queue, *POLICY)
    yield server
    server.end()


def die(server: Server, *bodies: bytes, name: bytes = b"f", unique: bytes = b"") -> list[str]:
    """Have jobs given up; their handles."""
    wire = server.connect()
    handles = []
    for body in bodies:
        handle = wire.submit(name, body, unique, T.SUBMIT_JOB_BG)
        wire.can_do(name)
        wire.send(T.GRAB_JOB)
        wire.receive()
        wire.send(T.WORK_EXCEPTION, handle, b"no\ttime")
        handles.append(handle.decode())
    wire.expect_nothing()

    def all_dead() -> bool:
        wire.send_bytes(b"dead export\n")
        return handles[-1] in [json.loads(line)["handle"] for line in wire.read_list()]

    wait_until(all_dead)
    wire.close()
    return handles


def listed(tools: Tools, *options: str) -> list[str]:
    done = tools.run("gearadmin", "dead", "list", *options)
    assert done.status == 0, done.stderr
    return [line.split("\t")[0] for line in os.fsdecode(done.stdout).splitlines()]


def test_the_dead_are_listed_by_function_and_in_pages(server: Server) -> None:
    tools = Tools(server.port)
    first, second, third = die(server, b"1", b"2", b"3")
    [odd] = die(server, b"x", name=b"f odd\xff")

    assert listed(tools) == [first, second, third, odd]
    assert listed(tools, "--function", "f") == [first, second, third]
    assert listed(tools, "--function", os.fsdecode(b"f odd\xff")) == [odd]
    assert listed(tools, "--limit", "2") == [first, second]
    assert listed(tools, "--limit", "1", "--after", second) == [third]
    row = tools.run("gearadmin", "dead", "list", "--limit", "1").stdout.decode().split("\t")
    assert row[1:6] == ["f", "", "normal", "1", "1"]
    assert row[7].startswith("127.0.0.1 ")
    assert row[8] == "exception: no%09time\n"


def test_a_pattern_names_many_functions_wherever_a_function_is_taken(server: Server) -> None:
    tools = Tools(server.port)
    [news] = die(server, b"1", name=b"f.news")
    [mail] = die(server, b"2", name=b"f.mail")
    [star] = die(server, b"3", name=b"f*")

    assert listed(tools, "--function", "f.*") == [news, mail]
    assert listed(tools, "--function", "f[*]") == [star]
    assert listed(tools, "--function", "f?mai[kl]") == [mail]
    done = tools.run("gearadmin", "dead", "export", "--function", "f.n*")
    assert [json.loads(row)["body"] for row in done.stdout.splitlines()] == ["1"]
    done = tools.run("gearadmin", "dead", "retry", "--all", "--function", "f.*")
    assert done.stdout == b"retried 2\n"
    jobs = tools.run("gearadmin", "job", "list", "--function", "*.mail").stdout
    assert [row.split(b"\t")[0].decode() for row in jobs.splitlines()] == [mail]
    done = tools.run("gearadmin", "dead", "delete", "--all", "--function", "*")
    assert done.stdout == b"deleted 1\n"


def test_a_dead_job_is_shown_with_its_workload(server: Server) -> None:
    tools = Tools(server.port)
    text, binary = die(server, "größe\n".encode(), b"\0\xff" * 300)

    shown = tools.run("gearadmin", "dead", "show", text).stdout.decode()
    assert f"handle:     {text}\n" in shown
    assert "reason:     exception: no%09time\n" in shown
    assert shown.endswith("\ngröße\n\n")
    shown = tools.run("gearadmin", "dead", "show", binary).stdout.decode()
    assert "00000000  00 ff 00 ff" in shown
    assert "600 bytes in all" in shown
    raw = tools.run("gearadmin", "dead", "show", "--body-only", binary)
    assert raw.stdout == b"\0\xff" * 300
    found = json.loads(tools.run("gearadmin", "--json", "dead", "show", text).stdout)
    assert (found["function"], found["attempts"], found["body"]) == ("f", 1, "größe\n")


def test_an_export_has_every_workload(server: Server) -> None:
    tools = Tools(server.port)
    die(server, b"text", b"\xff\0")

    lines = tools.run("gearadmin", "dead", "export").stdout.splitlines()

    found = [json.loads(line) for line in lines]
    assert [one.get("body") for one in found] == ["text", None]
    assert found[1]["body_base64"] == "/wA="


def test_dead_jobs_are_retried_by_handle_from_a_pipe_or_all(server: Server) -> None:
    tools = Tools(server.port)
    handles = die(server, *[b"%d" % n for n in range(6)])

    assert tools.run("gearadmin", "dead", "retry", handles[0]).stdout == b"retried 1\n"
    rows = tools.run("gearadmin", "dead", "list", "--limit", "2").stdout
    assert tools.run("gearadmin", "dead", "retry", "-", stdin=rows).stdout == b"retried 2\n"
    done = tools.run("gearadmin", "--json", "dead", "retry", "--all", "--function", "f")
    assert json.loads(done.stdout) == {"retried": 3, "stayed": [], "unknown": []}

    assert listed(tools) == []
    worker = server.connect()
    worker.can_do(b"f")
    bodies = []
    for _ in handles:
        worker.send(T.GRAB_JOB)
        handle, _, body = worker.receive().body.split(b"\0")
        bodies.append(body)
        worker.send(T.WORK_COMPLETE, handle, b"")
    worker.expect_nothing()
    worker.close()
    assert sorted(bodies) == [b"%d" % n for n in range(6)]


def test_dead_jobs_are_deleted(server: Server) -> None:
    tools = Tools(server.port)
    first, _, _ = die(server, b"1", b"2", b"3")

    done = tools.run("gearadmin", "dead", "delete", "H:no:0000000000000001", first)
    assert (done.status, done.stdout) == (1, b"deleted 1\n")
    assert done.stderr == b"gearadmin: H:no:0000000000000001: UNKNOWN_JOB\n"
    assert tools.run("gearadmin", "dead", "delete", "--all").stdout == b"deleted 2\n"
    assert listed(tools) == []


def test_a_job_whose_key_is_taken_stays_and_is_told(server: Server) -> None:
    tools = Tools(server.port)
    [handle] = die(server, b"1", unique=b"key")
    wire = server.connect()
    wire.submit(b"f", b"2", b"key", T.SUBMIT_JOB_BG)
    wire.close()

    done = tools.run("gearadmin", "dead", "retry", handle)

    assert (done.status, done.stdout) == (1, b"retried 0\n")
    assert b"stays: another job has its unique key" in done.stderr


def said(tools: Tools, *words: str) -> Done:
    return tools.run("gearadmin", *words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("dead", "show", "H:no:0000000000000001"),
            b"dead show: H:no:0000000000000001: UNKNOWN_JOB\n",
        ),
        (("why", ""), b"why: a HANDLE is empty; gearadmin job list has"),
        (("dead", "retry"), b"want: gearadmin dead retry HANDLE..., or --all [--function NAME]\n"),
        (("dead", "delete", "x", "--all"), b"want: gearadmin dead delete HANDLE..., or --all"),
        (("dead", "delete", "x", "--function", "f"), b"--function goes with --all"),
        (("dead", "list", "more"), b"want: gearadmin dead list\n"),
        (("dead", "list", "--limit", "few"), b"--limit few: want a whole number"),
        (("dead", "list", "--after", "x"), b"after= wants a job's handle"),
        (("dead", "list", "--dry-run"), b"dead list takes no --dry-run"),
        (("dead",), b"'dead' is no command; there are: dead list, dead show HANDLE"),
        (("nonsense",), b"'nonsense' is no command; there are: import SOURCE TARGET"),
        (("--status", "--function", "f"), b"--function belongs to a command, such as: job list"),
    ],
)
def test_what_makes_no_sense_is_named(tools: Tools, words: tuple[str, ...], text: bytes) -> None:
    done = said(tools, *words)

    assert (done.status, done.stdout) == (1, b"")
    assert text in done.stderr


def seen(server: Server, *words: str, columns: int = 80) -> list[str]:
    """The lines that a person sees."""
    asked = command("gearadmin", "-h", "127.0.0.1", "-p", str(server.port), *words)
    return on_terminal(asked, columns).splitlines()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_person_sees_a_table_that_fits(server: Server, columns: int) -> None:
    handles = die(server, b"1", b"2", name=b"f" + b"o" * 200)

    lines = seen(server, "dead", "list", columns=columns)

    assert lines[0].split()[:2] == ["handle", "function"]
    assert [line.split()[0] for line in lines[1:]] == handles
    assert columns < 120 or "s ago" in lines[1]
    assert "foo" in lines[1]
    assert "… " in lines[1]
    assert max(map(len, lines)) <= columns
    assert listed(Tools(server.port)) == handles
    assert b"f" + b"o" * 200 in Tools(server.port).run("gearadmin", "dead", "list").stdout


def test_a_person_is_told_that_a_list_is_empty_and_a_pipe_is_not(server: Server) -> None:
    tools = Tools(server.port)

    assert seen(server, "dead", "list") == ["gearadmin: the dead set is empty"]
    assert seen(server, "job", "list") == ["gearadmin: there are no jobs"]
    assert seen(server, "job", "list", "--function", "f", "--state", "queued") == [
        "gearadmin: no job of 'f' that is queued"
    ]
    for words in (("dead", "list"), ("job", "list")):
        done = tools.run("gearadmin", *words)
        assert (done.status, done.stdout, done.stderr) == (0, b"", b"")


def test_several_servers_are_asked_and_a_job_is_found_where_it_is(tmp_path: Path) -> None:
    servers = [Server(OURS, *POLICY) for _ in range(2)]
    try:
        [first], [second] = [die(server, b"1") for server in servers]
        names = ",".join(f"127.0.0.1:{server.port}" for server in servers)

        def run(*words: str) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                command("gearadmin", "--servers", names, *words),
                capture_output=True, timeout=patient(30), env=ENVIRON,
            )  # fmt: skip

        rows = [row.split(b"\t") for row in run("dead", "list").stdout.splitlines()]
        assert [row[:2] for row in rows] == [
            [f"127.0.0.1:{server.port}".encode(), handle.encode()]
            for server, handle in zip(servers, (first, second), strict=True)
        ]
        assert second.encode() in run("dead", "show", second).stdout
        assert run("dead", "delete", first, second).stdout == b"deleted 2\n"
    finally:
        for server in servers:
            server.end()


def test_a_server_that_is_none_of_ours_is_told_apart() -> None:
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(100)
            peer.sendall(b"ERR UNKNOWN_COMMAND Unknown+server+commanddead\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    done = said(Tools(listener.getsockname()[1]), "dead", "list")
    thread.join()
    listener.close()

    assert done.status == 1
    assert b"UNKNOWN_COMMAND the server has no 'dead list': it is not geartrain's" in done.stderr


# ── jobs that are not over ───────────────────────────────────────────────────


def columns(done: Done) -> list[list[str]]:
    assert done.status == 0, done.stderr
    return [line.split("\t") for line in os.fsdecode(done.stdout).splitlines()]


def test_jobs_are_listed_wherever_they_are(server: Server) -> None:
    tools = Tools(server.port)
    client = server.connect()
    waits = client.submit(b"g", b"12345", b"key", T.SUBMIT_JOB_HIGH_BG).decode()
    runs = client.submit(b"h", b"x", b"", T.SUBMIT_JOB_BG).decode()
    foreground = client.submit(b"g", b"x", b"").decode()
    client.send(T.SUBMIT_JOB_EPOCH, b"g", b"", b"4000000000", b"later")
    later = client.created().decode()
    worker = server.connect()
    worker.can_do(b"h")
    worker.send(T.GRAB_JOB)
    worker.receive()

    rows = {row[0]: row[1:] for row in columns(tools.run("gearadmin", "job", "list"))}

    assert set(rows) == {waits, runs, foreground, later}
    assert rows[waits][:6] == ["g", "key", "high", "5", "queued", "0"]
    assert rows[waits][7] == "", "it waits for no time"
    assert rows[runs][4] == "running"
    assert rows[runs][9].startswith("127.0.0.1 ")
    assert rows[later][4] == "delayed"
    assert rows[later][7].startswith("4000000000")
    listed = columns(tools.run("gearadmin", "job", "list", "--function", "g", "--state", "queued"))
    assert {row[0] for row in listed} == {waits, foreground}
    objects = tools.run("gearadmin", "--json", "job", "list", "--function", "h").stdout
    [one] = [json.loads(line) for line in objects.splitlines()]
    assert (one["background"], one["clients"], one["state"]) == (True, 0, "running")
    client.close()
    worker.close()


def test_a_list_of_jobs_goes_on_behind_one(server: Server) -> None:
    tools = Tools(server.port)
    client = server.connect()
    # What nobody waits for is in the store, if there is one; the others are in memory alone.
    kinds = [T.SUBMIT_JOB if n % 7 < 3 else T.SUBMIT_JOB_BG for n in range(1200)]
    handles = [client.submit(b"g", b"", b"", kind).decode() for kind in kinds]

    assert [row[0] for row in columns(tools.run("gearadmin", "job", "list"))] == handles
    some = tools.run("gearadmin", "job", "list", "--limit", "3", "--after", handles[6])
    assert [row[0] for row in columns(some)] == handles[7:10]
    rest = tools.run("gearadmin", "job", "list", "--after", handles[1195])
    assert [row[0] for row in columns(rest)] == handles[1196:]
    client.close()


def test_a_list_keeps_its_order_where_jobs_have_gone_to_a_file(tmp_path: Path) -> None:
    """The oldest are in memory then, and not in the file."""
    server = Server(OURS, "--max-memory", "200k", "--spill-dir", str(tmp_path))
    tools = Tools(server.port)
    try:
        client = server.connect()
        handles = [
            client.submit(b"g", b"x" * 300, b"", T.SUBMIT_JOB_BG).decode() for _ in range(1500)
        ]
        client.close()

        listed = columns(tools.run("gearadmin", "job", "list"))
        assert [row[0] for row in listed] == handles
        assert {row[9] for row in listed} == {"memory", "store"}
    finally:
        server.end()


def test_a_job_is_shown_with_its_workload_and_cancelled(server: Server) -> None:
    tools = Tools(server.port)
    client = server.connect()
    first, second, third = [
        client.submit(b"g", b"body %d" % n, b"", T.SUBMIT_JOB_BG).decode() for n in range(3)
    ]

    shown = tools.run("gearadmin", "job", "show", second).stdout.decode()
    assert "state:      queued\n" in shown
    assert "background: yes\n" in shown
    assert shown.endswith("\nbody 1\n")
    done = tools.run("gearadmin", "job", "cancel", first, "H:no:0000000000000001", second)
    assert (done.status, done.stdout) == (1, b"cancelled 2\n")
    assert b"H:no:0000000000000001: UNKNOWN_JOB" in done.stderr
    assert [row[0] for row in columns(tools.run("gearadmin", "job", "list"))] == [third]
    rows = tools.run("gearadmin", "job", "list").stdout
    assert tools.run("gearadmin", "job", "cancel", "-", stdin=rows).stdout == b"cancelled 1\n"
    assert tools.run("gearadmin", "job", "show", third).stderr.endswith(b"UNKNOWN_JOB\n")
    client.close()


def test_why_says_what_a_job_waits_for_where_it_runs_and_what_became_of_it(server: Server) -> None:
    tools = Tools(server.port)
    client = server.connect()
    first = client.submit(b"g", b"", b"", T.SUBMIT_JOB_BG)
    second = client.submit(b"g", b"", b"", T.SUBMIT_JOB_BG)

    def why(handle: bytes) -> str:
        return tools.run("gearadmin", "why", handle.decode()).stdout.decode()

    assert why(second) == (
        "1 job of its own line goes before it.\nNo worker that is connected here can do g.\n"
    )
    worker = server.connect()
    worker.can_do(b"g")
    worker.send(T.SET_CLIENT_ID, b"me")
    worker.send(T.GRAB_JOB)
    assert worker.receive().body.split(b"\0")[0] == first
    assert why(first).startswith("It is running at worker 127.0.0.1 me, for ")
    assert why(second) == (
        "It is the next of its line.\n1 worker can do it here, and that one has a job.\n"
    )
    worker.send(T.WORK_COMPLETE, first, b"")
    worker.expect_nothing()
    done = tools.run("gearadmin", "why", first.decode())
    assert (done.status, done.stdout.startswith(b"It is not known here")) == (1, True)
    [dead] = die(server, b"")
    assert "after one attempt: exception: no\ttime." in why(dead.encode())
    found = json.loads(tools.run("gearadmin", "--json", "why", second.decode()).stdout)
    assert (found["state"], len(found["why"])) == ("queued", 2)
    client.close()
    worker.close()


def test_why_knows_jobs_that_are_only_in_the_store(tmp_path: Path) -> None:
    server = Server(OURS, "--queue", f"sqlite://{tmp_path}/jobs.db")
    tools = Tools(server.port)
    try:
        client = server.connect()
        handles = [client.submit(b"g", b"", b"", T.SUBMIT_JOB_BG) for _ in range(1500)]
        client.send(T.SUBMIT_JOB_EPOCH, b"g", b"", b"4000000000", b"later")
        later = client.created().decode()
        client.close()

        last = tools.run("gearadmin", "why", handles[-1].decode()).stdout.decode()
        assert last == (
            "It waits in the store, behind what of its line is in memory.\n"
            "Its line has 1,500 jobs.\nNo worker that is connected here can do g.\n"
        )
        assert tools.run("gearadmin", "why", later).stdout.startswith(b"It was submitted for later")
        shown = tools.run("gearadmin", "job", "show", later).stdout.decode()
        assert "state:      delayed\n" in shown
        assert "where:      store\n" in shown
        assert shown.endswith("\nlater\n")
    finally:
        server.end()
