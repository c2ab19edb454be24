"""The joblog, and resuming from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from geartrain.cli.joblog import HEADER, Joblog
from geartrain.cli.task import Task
from geartrain.errors import ConfigurationError


def clock() -> float:
    return 12.5


def wall() -> float:
    return 1000.0


def ended(number: int, function: bytes = b"f", handle: bytes = b"H:1") -> Task:
    task = Task(number, function, b"u", b"four")
    task.handle = handle
    task.started = 10.0
    task.received = 7
    return task


def test_a_line_tells_the_life_of_a_task(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Joblog(str(path), clock, wall, resume=False)
    log.server = "localhost:4730"
    log.add(ended(3, b"a\tb", b"H:x y"), "failed")
    log.close()

    assert path.read_bytes() == (
        HEADER + b"3\ta%09b\tlocalhost:4730\tH:x%20y\t997.500\t2.500\t4\t7\tfailed\n"
    )


def test_resuming_leaves_out_what_is_done_and_repeats_what_failed(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    log = Joblog(path, clock, wall, resume=False)
    for number, result in (
        (1, "ok"),
        (2, "failed"),
        (3, "queued"),
        (900, "ok"),
        (4, "QUEUE_ERROR"),
    ):
        log.add(ended(number, b"a\tb"), result)
    log.close()

    again = Joblog(path, clock, wall, resume=True)

    done = [n for n in range(1, 1000) if again.is_done(n, b"a\tb")]
    assert done == [1, 3, 900]
    assert not again.is_done(1, b"other")
    again.close()


def test_a_torn_last_line_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(HEADER + b"1\tf\ts\tH:1\t1\t1\t1\t1\tok\n2\tf\ts\tH")

    log = Joblog(str(path), clock, wall, resume=True)

    assert log.is_done(1, b"f")
    assert not log.is_done(2, b"f")
    log.close()


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--joblog .*nowhere/log: No such file"):
        Joblog(str(tmp_path / "nowhere" / "log"), clock, wall, resume=False)
