"""A disk that is nearly full: what would have to be written is refused, all else goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from geartrain.broker.broker import Broker
from geartrain.broker.handles import HandleMaker
from geartrain.broker.state import Rules
from geartrain.server.disk import DiskWatch, bytes_of
from geartrain.stores.port import Room
from geartrain.stores.sqlite import SqliteStore
from geartrain.testing import EmbeddedServer
from tests.conformance.wire import T, packet
from tests.server.conftest import Dial
from tests.server.keeping import grab
from tests.server.test_backlog import fill
from tests.support import wait_until

MIB = 2**20


class Disk:
    """One whose room a test decides."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.seen = True

    def room(self) -> Room | None:
        return Room("/queue", self.free, 1000 * MIB) if self.seen else None


def watched(disk: Disk, least: str) -> tuple[Broker, DiskWatch]:
    broker = Broker(Rules(), HandleMaker(b"H:test:"))
    return broker, DiskWatch(broker, disk.room, least)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk of all SQLite files."""
    disk = Disk(900 * MIB)
    monkeypatch.setattr(SqliteStore, "room", lambda self: disk.room())
    return disk


def set_free(server: EmbeddedServer, disk: Disk, free: int) -> None:
    disk.free = free
    broker = server.server.broker
    wait_until(lambda: bool(broker.state.no_room) == (free < 100 * MIB))


def test_a_part_is_of_the_disk_and_a_size_is_a_size() -> None:
    assert bytes_of("5%", 2000) == 100
    assert bytes_of("0.5 %", 2000) == 10
    assert bytes_of("32MiB", 2000) == 32 * MIB
    assert bytes_of("0", 2000) == 0


def test_it_is_said_once_that_room_is_short_and_once_that_it_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "geartrain.server")
    disk = Disk(10 * MIB)
    broker, watch = watched(disk, "2%")

    for disk.free in (19 * MIB, 18 * MIB, 21 * MIB):
        watch.look()
        # A little more than before is not room enough yet.
        assert b"(/queue)" in broker.state.no_room
    for disk.free in (23 * MIB, 20 * MIB):
        watch.look()
        assert broker.state.no_room == b""

    assert [one.message for one in caplog.records] == [
        "/queue has 19.0 MiB left, less than min-free (20.0 MiB): background jobs are refused"
        " until there is more",
        "there is room again in /queue: background jobs are taken",
    ]


def test_the_nearer_the_mark_the_sooner_it_is_looked_at_again() -> None:
    disk = Disk(900 * MIB)
    _, watch = watched(disk, "2%")
    _, careless = watched(disk, "0")

    for disk.free, seconds in ((900 * MIB, 0.5), (276 * MIB, 0.25), (21 * MIB, 0.02)):
        assert watch.look() == seconds
        assert careless.look() == 0.5
    disk.free = 1 * MIB
    assert watch.look() == 0.5, "it is short, and nothing fills it"


def test_a_disk_that_cannot_be_seen_keeps_nobody_out() -> None:
    disk = Disk(1)
    broker, watch = watched(disk, "2%")
    watch.look()
    assert broker.state.no_room

    disk.seen = False
    watch.look()

    assert not broker.state.no_room


def test_without_a_bound_a_full_disk_is_left_to_the_store() -> None:
    broker, watch = watched(Disk(0), "0")

    watch.look()

    assert not broker.state.no_room


def test_background_jobs_are_refused_until_there_is_room_and_the_rest_goes_on(
    disk: Disk, dial: Dial, tmp_path: Path
) -> None:
    policy = ("lossy durability=off",)
    with EmbeddedServer(
        queue=f"sqlite://{tmp_path}/jobs.db", min_free="10%", policy=policy
    ) as server:
        wire, worker = dial(server), dial(server)
        fill(wire, 0, 3)
        set_free(server, disk, 99 * MIB)

        wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x")
        wire.expect_error(
            b"QUEUE_FULL",
            b"The disk of the queue (/queue) has 99.0 MiB left, and 100.0 MiB of it are not for"
            b" new jobs (min-free); submit when there is more room",
        )
        wire.send(T.SUBMIT_JOB_EPOCH, b"f", b"", b"4000000000", b"x")
        wire.expect_error(b"QUEUE_FULL")
        # What need not be written is taken, and what there is is done.
        wire.submit(b"f", b"waited for")
        wire.submit(b"lossy", b"x", b"", T.SUBMIT_JOB_BG)
        worker.can_do(b"f")
        for number in (b"0", b"1", b"2", b"waited for"):
            job = grab(worker)
            assert job[4] == number
            worker.send(T.WORK_COMPLETE, job[0], b"")
        assert wire.receive().number == T.WORK_COMPLETE

        set_free(server, disk, 500 * MIB)
        fill(wire, 3, 5)
        assert grab(worker)[4] == b"3"


def test_who_waits_for_a_job_is_not_joined_in_the_background_without_room(
    disk: Disk, dial: Dial, tmp_path: Path
) -> None:
    with EmbeddedServer(queue=f"sqlite://{tmp_path}/jobs.db", min_free="100MiB") as server:
        wire, other = dial(server), dial(server)
        waited = wire.submit(b"f", b"x", b"key")
        stored = wire.submit(b"f", b"x", b"other", T.SUBMIT_JOB_BG)
        set_free(server, disk, 99 * MIB)

        other.send(T.SUBMIT_JOB_BG, b"f", b"key", b"x")
        other.expect_error(b"QUEUE_FULL")
        # It is written already.
        assert other.submit(b"f", b"x", b"other", T.SUBMIT_JOB_BG) == stored
        assert other.submit(b"f", b"x", b"key") == waited


def test_memory_that_runs_short_does_not_fill_the_disk(
    disk: Disk, dial: Dial, tmp_path: Path
) -> None:
    with EmbeddedServer(
        max_memory=1_000_000, spill_dir=str(tmp_path), min_free="10%", store_wait=0.2
    ) as server:
        set_free(server, disk, 99 * MIB)
        wire = dial(server)
        wire.socket.sendall(packet(T.SUBMIT_JOB_BG, b"f", b"", b"x") * 3000)
        heard = [wire.receive() for _ in range(3000)]

        refused = [one for one in heard if one.number == T.ERROR]
        assert 800 < len(refused) < 2000
        assert not server.server.broker.rules.durable

        set_free(server, disk, 500 * MIB)
        wait_until(lambda: server.server.broker.state.memory < 700_000)
        fill(wire, 0, 100)
