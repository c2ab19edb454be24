"""Jobs of a C gearmand are taken over from tables that a C gearmand has made."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from geartrain.protocol.submits import encode_submit
from geartrain.stores.importer import RECEIPTS, import_queue, survey
from geartrain.stores.memory import MemoryStore
from geartrain.stores.old_tables import OldJob, count_of, name_of, rows_of, understand
from geartrain.stores.port import FIRST, QueueKey, StoreDown, StoreRefused
from geartrain.stores.sqlite_file import APPLICATION_ID
from geartrain.testing.store_kit import FakeServer
from tests.stores.postgres_server import Cluster
from tests.support import free_port, patient, wait_until

#: A time that fits the 32 bits of the PostgreSQL table.
SOON = 2_000_000_000


@pytest.fixture
async def one() -> AsyncIterator[FakeServer]:
    server = await FakeServer(MemoryStore(), "one").open()
    yield server
    await server.store.close()


@contextmanager
def c_gearmand(*options: str) -> Iterator[int]:
    """Debian's gearmand; its port."""
    program = shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the C gearmand is required here: apt-get install gearman-job-server")
        pytest.skip("no C gearmand here (apt-get install gearman-job-server)")
    port = free_port()
    process = subprocess.Popen(
        [program, "-p", str(port), "-L", "127.0.0.1", "-l", "none", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def listening() -> bool:
            assert process.poll() is None, "gearmand ended at once"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listening, within=20)
        yield port
    finally:
        process.terminate()
        process.wait(patient(20))


def submit(port: int, *packets: bytes) -> None:
    """Send each, and wait for its JOB_CREATED."""
    with socket.create_connection(("127.0.0.1", port), timeout=patient(20)) as client:
        for packet in packets:
            client.sendall(packet)
            answer = b""
            while len(answer) < 12 or len(answer) < 12 + int.from_bytes(answer[8:12], "big"):
                answer += client.recv(4096)
            assert int.from_bytes(answer[4:8], "big") == 8, answer


def everything() -> list[bytes]:
    """One of each kind that the C server can store."""
    return [
        encode_submit(b"resize", b"u1", b"a\0b\xff", background=True),
        encode_submit(b"resize", b"high", b"h", background=True, priority=0),
        encode_submit(b"resize", b"low", b"l", background=True, priority=2),
        encode_submit(b"resize", b"", b"no unique", background=True),
        encode_submit(b"other", b"-", b"by workload", background=True),
        encode_submit(b"other", b"later", b"", when=SOON),
        encode_submit(b"quote'd\xc3\xa9", b"it's", b"x" * 100_000, background=True),
    ]


def expected() -> dict[tuple[bytes, bytes], tuple[int, bytes, float | None]]:
    return {
        (b"resize", b"u1"): (1, b"a\0b\xff", None),
        (b"resize", b"high"): (0, b"h", None),
        (b"resize", b"low"): (2, b"l", None),
        (b"resize", b""): (1, b"no unique", None),
        (b"other", b"-"): (1, b"by workload", None),
        (b"other", b"later"): (1, b"", float(SOON)),
        (b"quote'd\xc3\xa9", b"it's"): (1, b"x" * 100_000, None),
    }


async def stored(server: FakeServer) -> dict[tuple[bytes, bytes], tuple[int, bytes, float | None]]:
    rows = await server.store.scan(None, FIRST, 1000)
    facts = [fact for fact in rows if fact.queue.tenant != RECEIPTS]
    bodies = await server.store.load([f.id for f in facts])
    return {(f.queue.function, f.unique): (f.queue.priority, bodies[f.id], f.run_at) for f in facts}


@pytest.mark.interop
async def test_a_sqlite_table_of_a_c_server_is_taken_over_whole(
    one: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "gearman.db"
    with c_gearmand("-q", "libsqlite3", f"--libsqlite3-db={path}") as port:
        submit(port, *everything())
    before = path.read_bytes()

    report = await import_queue(f"sqlite://{path}", one.store, one.ids)

    assert await stored(one) == expected()
    assert (report.read, report.stored, report.merged, report.faults) == (7, 7, 0, [])
    assert path.read_bytes() == before
    assert "7 stored" in str(report)


@pytest.mark.interop
async def test_a_postgresql_table_of_a_c_server_is_taken_over_whole(
    one: FakeServer, cluster: Cluster
) -> None:
    conninfo = f"host=127.0.0.1 port={cluster.port} user=gt dbname=postgres"
    table = "old_queue"
    with c_gearmand(
        "-q", "Postgres", f"--libpq-conninfo={conninfo}", f"--libpq-table={table}"
    ) as port:
        submit(port, *everything())

    report = await import_queue(f"{cluster.url()}?table={table}", one.store, one.ids)

    assert await stored(one) == expected()
    assert (report.read, report.stored, report.faults) == (7, 7, [])


def a_table(path: Path, *rows: tuple[object, ...], table: str = "gearman_queue") -> str:
    """A table as the C server makes it."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            f'CREATE TABLE "{table}" (unique_key TEXT, function_name TEXT, priority INTEGER,'
            " data BLOB, when_to_run INTEGER, PRIMARY KEY (unique_key, function_name))"
        )
        db.executemany(f'INSERT INTO "{table}" VALUES (?, ?, ?, ?, ?)', rows)
    return f"sqlite://{path}"


async def test_an_empty_workload_which_the_c_server_cannot_read_again(
    one: FakeServer, tmp_path: Path
) -> None:
    source = a_table(tmp_path / "q.db", ("u", "f", 1, None, 0))

    await import_queue(source, one.store, one.ids)

    assert await stored(one) == {(b"f", b"u"): (1, b"", None)}


async def test_a_table_of_an_old_version_has_no_times(one: FakeServer, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "q.db")) as db, db:
        db.execute(
            "CREATE TABLE gearman_queue (unique_key TEXT, function_name TEXT, priority INTEGER,"
            " data BLOB)"
        )
        db.execute("INSERT INTO gearman_queue VALUES ('u', 'f', 0, 'body')")

    await import_queue(f"sqlite://{tmp_path}/q.db", one.store, one.ids)

    assert await stored(one) == {(b"f", b"u"): (0, b"body", None)}


async def test_rows_that_make_no_sense_are_listed_and_the_others_taken(
    one: FakeServer, tmp_path: Path
) -> None:
    source = a_table(
        tmp_path / "q.db",
        ("a", "f", 1, b"good", 0),
        ("b", "f", 7, b"bad", 0),
        ("c", None, 1, b"bad", 0),
        ("d", "f", 1, b"bad", "noon"),
        ("e", "f", 2, b"good too", -5),
    )

    report = await import_queue(source, one.store, one.ids)

    assert (report.read, report.stored) == (5, 2)
    assert report.faults == [
        "row 2: priority is 7: want 0 (high), 1 (normal) or 2 (low)",
        "row 3: function_name is None",
        "row 4: when_to_run is b'noon': want seconds since 1970",
    ]


async def test_order_and_tenant_are_kept(one: FakeServer, tmp_path: Path) -> None:
    source = a_table(
        tmp_path / "q.db", *[(f"u{n}", "f", 1, b"%d" % n, 0) for n in range(1200)], table="my queue"
    )

    await import_queue(f"{source}?table=my queue", one.store, one.ids, tenant="acme")

    queue = QueueKey("acme", b"f", 1)
    jobs = await one.store.claim(queue, 2000, 1 << 30)
    assert [job.body for job in jobs] == [b"%d" % n for n in range(1200)]


async def test_jobs_that_are_there_already_merge(one: FakeServer, tmp_path: Path) -> None:
    await one.add(one.job(b"here before", unique=b"u", queue=QueueKey("", b"f", 1)))
    source = a_table(tmp_path / "q.db", ("u", "f", 1, b"1", 0), ("-", "f", 1, b"2", 0))

    report = await import_queue(source, one.store, one.ids)

    assert (report.read, report.stored, report.merged) == (2, 1, 1)


async def test_an_import_that_is_repeated_brings_nothing_back(
    one: FakeServer, tmp_path: Path
) -> None:
    source = a_table(tmp_path / "q.db", ("", "f", 1, b"1", 0), ("u", "f", 1, b"2", 0))
    await import_queue(source, one.store, one.ids, wall=lambda: 5.0)
    done = await one.claim(QueueKey("", b"f", 1))
    await one.end(*[job.id for job in done])

    report = await import_queue(str(tmp_path / "q.db"), one.store, one.ids)

    assert (report.read, report.before, report.stored, report.last) == (2, 2, 0, 5.0)
    assert await stored(one) == {}
    again = await import_queue(source, one.store, one.ids, again=True)
    assert (again.read, again.before, again.stored) == (2, 0, 2)
    assert [job.body for job in await one.claim(QueueKey("", b"f", 1))] == [b"1", b"2"]


async def test_a_table_that_has_grown_is_taken_over_from_its_new_rows_on(
    one: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "q.db"
    source = a_table(path, ("u", "f", 1, b"old", 0))
    await import_queue(source, one.store, one.ids)
    await one.end(*[job.id for job in await one.claim(QueueKey("", b"f", 1))])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO gearman_queue VALUES ('v', 'f', 1, 'new', 0)")

    report = await import_queue(source, one.store, one.ids)

    assert (report.read, report.before, report.stored) == (2, 1, 1)
    assert await one.bodies(QueueKey("", b"f", 1)) == [b"new"]


@pytest.mark.parametrize(
    "change",
    ["UPDATE gearman_queue SET data = 'other'", "DELETE FROM gearman_queue WHERE unique_key = 'u'"],
)
async def test_a_table_that_was_used_meanwhile_is_refused(
    one: FakeServer, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "q.db"
    source = a_table(path, ("u", "f", 1, b"1", 0), ("v", "f", 1, b"2", 0))
    await import_queue(source, one.store, one.ids)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(change)

    with pytest.raises(StoreRefused, match="not as it was when 2 rows of it were taken over"):
        await import_queue(source, one.store, one.ids)


class BreaksOff(MemoryStore):
    """A store that goes away after some commits."""

    commits = 0

    async def commit(self, *lists):  # type: ignore[no-untyped-def]
        self.commits += 1
        if self.commits == 3:
            raise StoreDown("gone")
        return await super().commit(*lists)


async def test_an_import_that_was_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    source = a_table(tmp_path / "q.db", *[("", f"f{n}", 1, b"", 0) for n in range(5000)])
    one = await FakeServer(BreaksOff(), "one").open()

    with pytest.raises(StoreDown):
        await import_queue(source, one.store, one.ids)
    report = await import_queue(source, one.store, one.ids)

    assert (report.read, report.before, report.stored, report.merged) == (5000, 4000, 1000, 0)
    assert len(await one.store.scan("", FIRST, 9000)) == 5000


async def test_a_survey_counts_and_changes_nothing(tmp_path: Path) -> None:
    source = a_table(tmp_path / "q.db", ("a", "f", 1, b"", 0), ("b", "f", 9, b"", 0))

    report = await survey(source)

    assert await count_of(source) == 2
    assert (report.read, report.functions, len(report.faults)) == (2, {b"f": 1}, 1)
    assert name_of(source) == name_of(f"{source}?table=gearman_queue")


async def test_large_bodies_make_small_batches(one: FakeServer, tmp_path: Path) -> None:
    source = a_table(tmp_path / "q.db", *[(f"u{n}", "f", 1, bytes(3 << 20), 0) for n in range(4)])

    report = await import_queue(source, one.store, one.ids)

    assert (report.read, report.stored) == (4, 4)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("mysql://db/gear", "cannot import mysql://; want sqlite:///old.db"),
        ("sqlite:///nowhere/old.db", "there is no such file"),
        ("postgresql://gt@127.0.0.1:1/x", "refused"),
    ],
)
async def test_what_cannot_be_read_is_refused(source: str, text: str) -> None:
    with pytest.raises(StoreRefused, match=text):
        await anext(rows_of(source))


async def test_a_table_that_is_missing_or_another_is_named(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE bookmark (url TEXT)")

    with pytest.raises(StoreRefused, match="no table gearman_queue; name it with"):
        await anext(rows_of(f"sqlite://{path}"))
    with pytest.raises(StoreRefused, match="there is no such file; name the C server's"):
        await anext(rows_of("nowhere.db"))
    with closing(sqlite3.connect(tmp_path / "ours.db")) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    with pytest.raises(StoreRefused, match="a queue of geartrain's already"):
        await anext(rows_of(str(tmp_path / "ours.db")))
    with pytest.raises(StoreRefused, match="it has no data, function_name, priority, unique_key"):
        await anext(rows_of(f"sqlite://{path}?table=bookmark"))
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreRefused, match="not a database"):
        await anext(rows_of(f"sqlite://{path}"))


def test_a_row_is_understood() -> None:
    assert understand((b"u", b"f", 1, b"x", 5)) == OldJob(b"f", b"u", 1, b"x", 5.0)
    assert understand((None, b"f", 0, None, None)) == OldJob(b"f", b"", 0, b"", None)
