"""What a C gearmand has left in its tables is done by ours, to the last job."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.tools import ENVIRON, command
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T
from tests.stores.conftest import cluster  # noqa: F401  (a fixture)
from tests.stores.postgres_server import Cluster, Place
from tests.stores.test_importer import SOON, c_gearmand, everything, submit
from tests.support import patient

#: What comes back from ``everything``, but for the one that is not due: in a worker's order.
DUE = [
    (b"quote'd\xc3\xa9", b"it's", b"x" * 100_000),
    (b"other", b"-", b"by workload"),
    (b"resize", b"", b"no unique"),
    (b"resize", b"high", b"h"),
    (b"resize", b"low", b"l"),
    (b"resize", b"u1", b"a\0b\xff"),
]


def gearadmin(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command("gearadmin", *arguments), capture_output=True, timeout=patient(60), env=ENVIRON
    )


@pytest.fixture
def ours(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/jobs.db"


def done_by_ours(queue: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Function, unique and workload of all jobs that a worker gets from our gearmand."""
    server = Server(OURS, "--queue", queue)
    worker = server.connect()
    try:
        for name in (b"resize", b"other", b"quote'd\xc3\xa9"):
            worker.can_do(name)
        while True:
            worker.send(T.GRAB_JOB_UNIQ)
            heard = worker.receive()
            if heard.number == T.NO_JOB:
                return
            handle, function, unique, workload = heard.body.split(b"\0", 3)
            yield function, unique, workload
            worker.send(T.WORK_COMPLETE, handle, b"")
    finally:
        # Answered after the ends before it.
        worker.send(T.ECHO_REQ, b"")
        worker.expect(T.ECHO_RES)
        worker.close()
        server.process.terminate()
        server.process.wait(patient(20))
        server.end()


def test_every_job_of_a_c_server_with_sqlite_is_done_once(tmp_path: Path, ours: str) -> None:
    old = tmp_path / "gearman.db"
    with c_gearmand("-q", "libsqlite3", f"--libsqlite3-db={old}") as port:
        submit(port, *everything())
    before = old.read_bytes()

    looked = gearadmin("import", "--dry-run", str(old), ours)
    assert looked.stdout.endswith(b"?table=gearman_queue: 7 rows, 0 of them would be left out\n")
    assert not (tmp_path / "jobs.db").exists()
    done = gearadmin("import", str(old), ours)

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"4\tresize\n" in done.stdout
    assert b"7 rows read: 7 stored, 0 merged with jobs that were there, 0 left out" in done.stdout
    assert sorted(done_by_ours(ours)) == sorted(DUE)

    again = gearadmin("import", str(old), ours)
    assert again.returncode == 0
    assert again.stdout.startswith(b"nothing to do: all 7 rows of sqlite://")
    assert list(done_by_ours(ours)) == []
    assert old.read_bytes() == before
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db, db:
        waiting = db.execute("SELECT run_at FROM job WHERE uniq = ?", [b"later"]).fetchall()
    assert len(waiting) == 1
    assert waiting[0][0] in (SOON, SOON * 1000, SOON * 1_000_000)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_every_job_of_a_c_server_with_postgresql_is_done(
    cluster: Cluster,  # noqa: F811
    ours: str,
    kind: str,
) -> None:
    if kind == "postgresql":
        place = Place(cluster)
        await place.ask(f"CREATE SCHEMA {place.schema}")
        ours = place.url()
    conninfo = f"host=127.0.0.1 port={cluster.port} user=gt dbname=postgres"
    table = f"taken_over_for_{kind}"
    with c_gearmand(
        "-q", "Postgres", f"--libpq-conninfo={conninfo}", f"--libpq-table={table}"
    ) as port:
        submit(port, *everything())

    done = gearadmin("import", "--json", f"{cluster.url()}?table={table}", ours)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stored"] == 7
    assert sorted(done_by_ours(ours)) == sorted(DUE)


def test_what_gearmand_advises_is_what_works(tmp_path: Path) -> None:
    old = tmp_path / "gearman.db"
    with c_gearmand("-q", "libsqlite3", f"--libsqlite3-db={old}") as port:
        submit(port, *everything())
    server = Server(OURS, "-q", "libsqlite3", f"--libsqlite3-db={old}")
    server.end()

    done = gearadmin("import", f"sqlite://{old}", f"sqlite://{old}.geartrain")

    assert done.returncode == 0, done.stderr
    assert sorted(done_by_ours(f"sqlite://{old}.geartrain")) == sorted(DUE)


def test_a_queue_that_is_in_use_is_not_written_to(tmp_path: Path, ours: str) -> None:
    old = tmp_path / "gearman.db"
    with c_gearmand("-q", "libsqlite3", f"--libsqlite3-db={old}") as port:
        submit(port, everything()[0])
    server = Server(OURS, "--queue", ours)
    try:
        refused = gearadmin("import", str(old), ours)
    finally:
        server.end()

    assert refused.returncode == 1
    assert refused.stdout == b""
    assert b"in use" in refused.stderr


def test_a_person_sees_how_far_it_is(tmp_path: Path, ours: str) -> None:
    assert shutil.which("gearmand", path="/usr/sbin:/usr/bin")
    old = tmp_path / "gearman.db"
    with c_gearmand("-q", "libsqlite3", f"--libsqlite3-db={old}") as port:
        submit(port, *everything())
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            command("gearadmin", "import", str(old), ours),
            stdout=subprocess.DEVNULL, stderr=follower, env=ENVIRON,
        )  # fmt: skip
        assert process.wait(patient(60)) == 0
        seen = os.read(leader, 65536)
    finally:
        os.close(leader)
        os.close(follower)

    assert b"] 100%  7 of 7 rows" in seen
