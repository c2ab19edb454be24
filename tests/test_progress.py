"""track(): tasks as they complete, and how far all of them are."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator

import pytest

import geartrain
from geartrain.progress import Line, meter_for, track
from geartrain.testing import EmbeddedServer
from tests.support import patient

#: A meter has seen half a job: it may go on.
SEEN_HALF = threading.Event()


class Steps:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int, float]] = []
        self.closed = False

    def show(self, done: int, total: int, failed: int, work: float) -> None:
        if work % 1 == 0.5:
            SEEN_HALF.set()
        self.seen.append((done, total, failed, work))

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        worker = geartrain.Worker(server.address)

        @worker.function
        def half(job: geartrain.Job) -> bytes:
            job.send_data(b"<")
            job.send_status(1, 2)
            if job.workload == b"wait":
                SEEN_HALF.wait(patient(10))
            if job.workload == b"bad":
                raise geartrain.Fail("bad")
            return job.workload + b">"

        thread = threading.Thread(target=worker.work)
        thread.start()
        yield server
        worker.stop()
        thread.join(patient(40))


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[geartrain.Client]:
    with geartrain.Client(server.address, timeout=patient(20)) as client:
        yield client


def test_tasks_are_yielded_as_they_complete_with_all_that_they_received(
    client: geartrain.Client,
) -> None:
    steps = Steps()

    tasks = list(track((client.submit("half", w) for w in (b"a", b"wait", b"b")), meter=steps))

    assert sorted(task.result() for task in tasks) == [b"<a>", b"<b>", b"<wait>"]
    assert steps.seen[0] == (0, 3, 0, 0.0)
    assert steps.seen[-1] == (3, 3, 0, 3.0)
    assert SEEN_HALF.is_set(), "WORK_STATUS moves the bar"
    assert steps.closed


def test_failed_tasks_are_counted_and_yielded(client: geartrain.Client) -> None:
    steps = Steps()

    tasks = list(track([client.submit("half", b"bad"), client.submit("half")], meter=steps))

    assert sum(task.error is not None for task in tasks) == 1
    assert steps.seen[-1][:3] == (2, 2, 1)


def test_the_time_for_all_is_bounded(client: geartrain.Client) -> None:
    with pytest.raises(geartrain.ResultTimeout, match="1 of 1 jobs"):
        list(track([client.submit("nobody")], timeout=0.05, meter=Steps()))


def test_in_a_pipe_it_is_one_plain_line(
    client: geartrain.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    list(track([client.submit("half"), client.submit("half", b"bad")], "halves"))

    assert capsys.readouterr().err == "halves: 2 of 2, 100 %, 1 failed\n"


def test_nothing_to_do_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([])) == []
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_plain_line_is_rewritten() -> None:
    screen = Terminal()
    line = Line(screen, "x")

    line.show(0, 4, 0, 1.0)
    line.show(4, 4, 0, 4.0)
    line.close()

    assert screen.getvalue().startswith("\rx: 0 of 4, 25 %")
    assert screen.getvalue().endswith("\rx: 4 of 4, 100 %\x1b[K\n")


def test_on_a_terminal_rich_draws_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    screen = Terminal()

    bar = meter_for(screen, "images")
    bar.show(1, 4, 0, 1.5)
    bar.close()

    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "images" in text
    assert "38%" in text
    assert "1/4" in text


def test_many_small_steps_make_a_whole() -> None:
    stream = io.StringIO()
    line = Line(stream)

    line.show(6, 6, 1, sum([0.05] * 20) + 5 - 1e-12)
    line.close()

    assert stream.getvalue() == "6 of 6, 100 %, 1 failed\n"
