"""The client's mind: windows, retries, resubmission, and whose turn it is to speak."""

from __future__ import annotations

import pytest

from geartrain.cli.backlog import Memory
from geartrain.cli.jobs import Jobs, Rules
from geartrain.cli.murmur import murmur3
from geartrain.cli.output import GROUPED, LIVE, ORDERED, Printer
from geartrain.cli.task import Task
from geartrain.client.connection import ClientConnection
from geartrain.protocol import commands as c
from geartrain.protocol.packets import encode_response
from geartrain.protocol.reader import PACKET, PacketReader


class Bench:
    """Jobs, a connection, and a server that does what the test says; no network."""

    def __init__(self, *, mode: int = LIVE, prefix: bool = False, **rules: object) -> None:
        self.written: list[tuple[int, bytes]] = []
        self.complaints: list[str] = []
        self.ended: list[tuple[int, str]] = []
        self.backlog = Memory()
        self.printer = Printer(lambda fd, data: self.written.append((fd, data)), mode, prefix)
        functions = rules.pop("functions", [b"f"])
        assert isinstance(functions, list)
        self.jobs = Jobs(
            Rules(functions, **rules),  # type: ignore[arg-type]
            self.backlog,
            self.printer,
            self.complaints.append,
            lambda task, result: self.ended.append((task.number, result)),
        )
        self.now = 0.0
        self.connect()

    def connect(self) -> None:
        self.connection = ClientConnection(exceptions=False)
        self._reader = PacketReader(serving=True)

    def fill(self) -> list[tuple[bytes, ...]]:
        """What is submitted now: (function, unique, workload)."""
        self.jobs.fill(self.connection, self.now)
        self._reader.feed(b"".join(self.connection.data_to_send()))
        found = []
        while self._reader.next() == PACKET:
            found.append(tuple(self._reader.body.split(b"\0", 2)))
        return found

    def say(self, number: int, *arguments: bytes) -> None:
        events = self.connection.receive_data(encode_response(number, *arguments))
        self.jobs.hear(events, self.now)

    def lose(self) -> None:
        self.jobs.hear(self.connection.receive_eof("gone"), self.now)
        self.jobs.in_order()
        self.connect()

    def stdout(self) -> bytes:
        self.printer.flush()
        return b"".join(data for fd, data in self.written if fd == 1)

    def stderr(self) -> bytes:
        return b"".join(data for fd, data in self.written if fd == 2)


def workloads(submitted: list[tuple[bytes, ...]]) -> list[bytes]:
    return [one[2] for one in submitted]


def test_no_more_than_a_window_of_jobs_is_under_way() -> None:
    bench = Bench(window=2)
    bench.backlog.put([b"1", b"2", b"3"])

    assert workloads(bench.fill()) == [b"1", b"2"]
    assert bench.fill() == []
    bench.say(c.JOB_CREATED, b"H:1")
    assert bench.fill() == []
    bench.say(c.WORK_COMPLETE, b"H:1", b"one")
    assert workloads(bench.fill()) == [b"3"]


def test_a_background_window_refills_when_half_is_free() -> None:
    bench = Bench(window=4, background=True)
    bench.backlog.put([b"%d" % n for n in range(9)])

    assert len(bench.fill()) == 4
    bench.say(c.JOB_CREATED, b"H:1")
    assert bench.fill() == []
    bench.say(c.JOB_CREATED, b"H:2")
    assert len(bench.fill()) == 2


def test_every_job_has_a_key_of_its_own() -> None:
    bench = Bench(window=3)
    bench.backlog.put([b"a", b"a", b"a"])

    keys = {unique for _, unique, _ in bench.fill()}

    assert len(keys) == 3
    assert all(0 < len(key) < 64 for key in keys)


def test_a_key_that_was_given_is_every_jobs_key() -> None:
    bench = Bench(window=2, unique=b"mine")
    bench.backlog.put([b"a", b"b"])

    assert {unique for _, unique, _ in bench.fill()} == {b"mine"}


def test_the_hash_sign_means_libgearmans_murmur_hash() -> None:
    bench = Bench(unique=b"#")
    bench.backlog.put([b"a"])

    ((_, unique, _),) = bench.fill()

    assert unique == b"2289228744"


def test_all_functions_of_a_record_count_as_one_of_the_window() -> None:
    bench = Bench(window=1, functions=[b"wc", b"up"])
    bench.backlog.put([b"x", b"y"])

    assert [one[0] for one in bench.fill()] == [b"wc", b"up"]
    bench.say(c.JOB_CREATED, b"H:1")
    bench.say(c.JOB_CREATED, b"H:2")
    bench.say(c.WORK_COMPLETE, b"H:1", b"1")
    assert bench.fill() == []
    bench.say(c.WORK_COMPLETE, b"H:2", b"X")
    assert workloads(bench.fill()) == [b"y", b"y"]


def test_what_was_under_way_is_sent_again_in_order_under_the_same_keys() -> None:
    bench = Bench(window=3)
    bench.backlog.put([b"1", b"2", b"3", b"4"])
    before = bench.fill()
    bench.say(c.JOB_CREATED, b"H:1")
    bench.say(c.JOB_CREATED, b"H:2")
    bench.say(c.WORK_COMPLETE, b"H:2", b"two")

    bench.lose()

    again = bench.fill()
    assert again[:2] == [before[0], before[2]]
    assert workloads(again[2:]) == [b"4"]
    assert bench.jobs.done == 1


def test_a_failed_job_is_sent_again_as_often_as_was_asked() -> None:
    bench = Bench(retries=1)
    bench.backlog.put([b"x"])
    for handle in (b"H:1", b"H:2"):
        assert workloads(bench.fill()) == [b"x"]
        bench.say(c.JOB_CREATED, handle)
        bench.say(c.WORK_FAIL, handle)

    assert bench.fill() == []
    assert (bench.jobs.failed, bench.ended) == (1, [(1, "failed")])
    assert bench.stderr() == b"Job failed\n"


def test_a_refused_job_is_counted_and_told() -> None:
    bench = Bench()
    bench.backlog.put([b"x"])
    bench.fill()
    bench.say(c.ERROR, b"QUEUE_ERROR", b"Job queue is full")

    assert bench.jobs.refused == 1
    assert bench.ended == [(1, "QUEUE_ERROR")]
    assert bench.complaints == ["the server refused a job for f: QUEUE_ERROR: Job queue is full"]


def test_a_spooled_job_that_is_refused_waits_and_comes_again() -> None:
    bench = Bench(never_drop=True)
    bench.backlog.put([b"x"])
    bench.fill()
    bench.say(c.ERROR, b"QUEUE_ERROR", b"Job queue is full")

    assert bench.fill() == []
    bench.now = bench.jobs.resting_until
    assert workloads(bench.fill()) == [b"x"]
    assert bench.ended == []


def test_fail_fast_sends_nothing_more_after_the_first_failure() -> None:
    bench = Bench(fail_fast=True)
    bench.backlog.put([b"1", b"2"])
    bench.fill()
    bench.say(c.JOB_CREATED, b"H:1")
    bench.say(c.WORK_EXCEPTION, b"H:1", b"boom\n")

    assert bench.jobs.stop
    assert bench.fill() == []
    assert bench.stderr() == b"boom\n"


def test_packets_are_printed_as_the_c_tool_prints_them() -> None:
    bench = Bench(prefix=True)
    bench.backlog.put([b"x"])
    bench.fill()
    bench.say(c.JOB_CREATED, b"H:1")
    bench.say(c.WORK_DATA, b"H:1", b"a\nb\n")
    bench.say(c.WORK_STATUS, b"H:1", b"2", b"3")
    bench.say(c.WORK_STATUS, b"H:1", b"5", b"0")
    bench.say(c.WORK_WARNING, b"H:1", b"careful")
    bench.say(c.WORK_COMPLETE, b"H:1", b"")

    assert bench.stdout() == b"f: a\nb\nf: 66% Complete\nf: 0% Complete\nf: "
    assert bench.stderr() == b"f: careful"


def test_stderr_never_overtakes_stdout() -> None:
    bench = Bench()
    bench.backlog.put([b"x"])
    bench.fill()
    bench.say(c.JOB_CREATED, b"H:1")
    bench.say(c.WORK_DATA, b"H:1", b"partial\n")
    bench.say(c.WORK_FAIL, b"H:1")

    assert bench.written == [(1, b"partial\n"), (2, b"Job failed\n")]


def three_jobs(mode: int) -> Bench:
    bench = Bench(mode=mode, window=3)
    bench.backlog.put([b"1", b"2", b"3"])
    bench.fill()
    for handle in (b"H:1", b"H:2", b"H:3"):
        bench.say(c.JOB_CREATED, handle)
    return bench


def test_a_job_that_has_begun_to_speak_is_not_interrupted() -> None:
    bench = three_jobs(GROUPED)
    bench.say(c.WORK_DATA, b"H:2", b"two ")
    bench.say(c.WORK_DATA, b"H:1", b"one ")
    bench.say(c.WORK_COMPLETE, b"H:3", b"three.")
    assert bench.stdout() == b"two "
    assert bench.printer.held == 10

    bench.say(c.WORK_COMPLETE, b"H:2", b"two.")
    assert bench.stdout() == b"two two.three.one "
    bench.say(c.WORK_COMPLETE, b"H:1", b"one.")

    assert bench.stdout() == b"two two.three.one one."
    assert bench.printer.held == 0


def test_kept_order_is_the_order_of_the_input() -> None:
    bench = three_jobs(ORDERED)
    bench.say(c.WORK_COMPLETE, b"H:3", b"three.")
    bench.say(c.WORK_DATA, b"H:2", b"two ")
    assert bench.stdout() == b""

    bench.say(c.WORK_COMPLETE, b"H:1", b"one.")
    assert bench.stdout() == b"one.two "
    bench.say(c.WORK_COMPLETE, b"H:2", b"two.")

    assert bench.stdout() == b"one.two two.three."


def test_what_a_lost_job_said_and_nobody_saw_is_forgotten() -> None:
    bench = three_jobs(ORDERED)
    bench.say(c.WORK_DATA, b"H:2", b"half")
    bench.lose()
    bench.fill()
    for handle in (b"H:4", b"H:5", b"H:6"):
        bench.say(c.JOB_CREATED, handle)
        bench.say(c.WORK_COMPLETE, handle, handle)

    assert bench.stdout() == b"H:4H:5H:6"
    assert bench.printer.held == 0


def test_a_job_that_says_nothing_holds_nobody_up() -> None:
    printer_out: list[bytes] = []
    printer = Printer(lambda fd, data: printer_out.append(data), ORDERED, prefix=False)
    tasks = [Task(n, b"f", b"", b"") for n in range(3)]
    for task in tasks:
        printer.begin(task)
    printer.out(tasks[2], b"3")
    for task in (tasks[2], tasks[1], tasks[0]):
        printer.end(task)
    printer.flush()

    assert printer_out == [b"3"]


@pytest.mark.parametrize(
    ("workload", "number"),  # as the C tool sends them
    [
        (b"a", 2289228744),
        (b"ab", 2181799184),
        (b"abc", 634628250),
        (b"abcd", 180520834),
        (b"hello world", 2727477341),
    ],
)
def test_the_hash_of_a_workload_is_libgearmans(workload: bytes, number: int) -> None:
    assert murmur3(workload) == number
