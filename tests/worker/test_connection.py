"""WorkerConnection without a socket: grabbing, sleeping, waking, reporting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.errors import JobFinished, ProtocolError
from geartrain.protocol import commands as c
from geartrain.protocol.packets import encode_request, encode_response
from geartrain.terms import FunctionName, JobHandle, Unique
from geartrain.worker.connection import (
    GRAB_PATIENCE_SECONDS,
    GRAB_PLAIN,
    GRAB_UNIQ,
    MAX_FRUITLESS,
    RESLEEP_SECONDS,
    WorkerConnection,
)
from geartrain.worker.events import (
    Complaint,
    Echoed,
    FellAsleep,
    JobAssigned,
    JobTaken,
    ServerVersion,
    Woken,
)

GRAB = encode_request(c.GRAB_JOB_ALL)
PRE_SLEEP = encode_request(c.PRE_SLEEP)
NOOP = encode_response(c.NOOP)
NO_JOB = encode_response(c.NO_JOB)
NOT_FOUND = encode_response(c.ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")


def assign(handle: bytes, workload: bytes = b"w") -> bytes:
    return encode_response(c.JOB_ASSIGN_UNIQ, handle, b"f", b"u", workload)


def sent(worker: WorkerConnection) -> bytes:
    return b"".join(worker.data_to_send())


@pytest.fixture
def worker() -> WorkerConnection:
    worker = WorkerConnection()
    worker.can_do(b"f")
    worker.want(1)
    assert sent(worker) == encode_request(c.CAN_DO, b"f") + GRAB
    return worker


@pytest.fixture
def asleep(worker: WorkerConnection) -> WorkerConnection:
    worker.receive_data(NO_JOB)
    assert sent(worker) == PRE_SLEEP
    return worker


def test_no_job_puts_to_sleep_and_noop_wakes(worker: WorkerConnection) -> None:
    assert worker.receive_data(NO_JOB) == [FellAsleep()]
    assert sent(worker) == PRE_SLEEP
    assert worker.receive_data(NOOP) == []
    assert sent(worker) == GRAB


def test_noop_that_crosses_a_grab_is_dropped(worker: WorkerConnection) -> None:
    assert worker.receive_data(NOOP + NOOP) == []
    assert sent(worker) == b""

    worker.receive_data(NO_JOB)

    assert sent(worker) == PRE_SLEEP


def test_next_grab_goes_out_with_the_result(worker: WorkerConnection) -> None:
    assert worker.receive_data(assign(b"H:1", b"a\0b")) == [
        JobAssigned(JobHandle(b"H:1"), FunctionName(b"f"), Unique(b"u"), b"a\0b")
    ]
    assert sent(worker) == b""

    worker.complete(b"H:1", b"done")

    assert sent(worker) == encode_request(c.WORK_COMPLETE, b"H:1", b"done") + GRAB


def test_one_more_is_asked_for_each_time_that_a_job_comes(worker: WorkerConnection) -> None:
    worker.most_grabs = 3
    worker.want(4)
    worker.receive_data(assign(b"H:1"))
    assert sent(worker) == GRAB * 2
    worker.receive_data(assign(b"H:2"))
    assert sent(worker) == GRAB
    assert worker.grabbing == 2  # two jobs and two questions: as many as are wanted

    worker.complete(b"H:1")

    assert sent(worker) == encode_request(c.WORK_COMPLETE, b"H:1", b"") + GRAB
    assert worker.grabbing == 3


def test_it_sleeps_when_the_last_of_many_questions_is_answered(worker: WorkerConnection) -> None:
    worker.most_grabs = 2
    worker.want(3)
    worker.receive_data(assign(b"H:1"))
    assert sent(worker) == GRAB * 2

    assert worker.receive_data(NO_JOB) == []
    worker.complete(b"H:1")
    assert GRAB not in sent(worker)
    assert worker.receive_data(NO_JOB) == [FellAsleep()]
    assert sent(worker) == PRE_SLEEP
    worker.receive_data(NOOP)
    assert sent(worker) == GRAB  # cautiously again


def test_all_three_ways_of_assigning_are_understood(worker: WorkerConnection) -> None:
    worker.want(3)
    events = worker.receive_data(
        encode_response(c.JOB_ASSIGN, b"H:1", b"f", b"w\0")
        + encode_response(c.JOB_ASSIGN_UNIQ, b"H:2", b"f", b"u", b"w\0")
        + encode_response(c.JOB_ASSIGN_ALL, b"H:3", b"f", b"u", b"r", b"w\0")
    )

    f, u, r = FunctionName(b"f"), Unique(b"u"), FunctionName(b"r")
    assert events == [
        JobAssigned(JobHandle(b"H:1"), f, Unique(b""), b"w\0"),
        JobAssigned(JobHandle(b"H:2"), f, u, b"w\0"),
        JobAssigned(JobHandle(b"H:3"), f, u, b"w\0", r),
    ]


@pytest.mark.parametrize("number", [c.JOB_ASSIGN, c.JOB_ASSIGN_UNIQ, c.JOB_ASSIGN_ALL])
def test_assignment_with_too_few_arguments_ends_the_connection(
    worker: WorkerConnection, number: int
) -> None:
    with pytest.raises(ProtocolError):
        worker.receive_data(encode_response(number, b"H:1", b"f"))


def test_several_jobs_in_flight() -> None:
    worker = WorkerConnection()
    worker.want(2)
    worker.receive_data(assign(b"H:1"))
    worker.receive_data(assign(b"H:2"))
    assert sent(worker) == GRAB + GRAB
    assert worker.running == 2

    worker.complete(b"H:2")

    assert sent(worker) == encode_request(c.WORK_COMPLETE, b"H:2", b"") + GRAB


def test_reports(worker: WorkerConnection) -> None:
    worker.receive_data(assign(b"H:1"))
    worker.send_data(b"H:1", b"x" * 20_000)
    worker.send_warning(b"H:1", b"w")
    worker.send_status(b"H:1", 1, 2)
    worker.exception(b"H:1", b"boom")

    assert sent(worker) == (
        encode_request(c.WORK_DATA, b"H:1", b"x" * 20_000)
        + encode_request(c.WORK_WARNING, b"H:1", b"w")
        + encode_request(c.WORK_STATUS, b"H:1", b"1", b"2")
        + encode_request(c.WORK_EXCEPTION, b"H:1", b"boom")
        + GRAB
    )


def test_job_ends_once(worker: WorkerConnection) -> None:
    worker.receive_data(assign(b"H:1"))
    worker.fail(b"H:1")

    with pytest.raises(JobFinished):
        worker.fail(b"H:1")
    with pytest.raises(JobFinished):
        worker.complete(b"H:1", b"")


def test_function_learnt_while_asleep_is_followed_by_a_look_at_its_queue(
    asleep: WorkerConnection,
) -> None:
    asleep.can_do(b"g", 2_500)

    assert sent(asleep) == encode_request(c.CAN_DO_TIMEOUT, b"g", b"2500") + PRE_SLEEP


def test_registering_is_idempotent_and_a_new_timeout_replaces_the_old(
    worker: WorkerConnection,
) -> None:
    worker.can_do(b"f")
    assert sent(worker) == b""

    worker.can_do(b"f", 1_000)

    assert sent(worker) == encode_request(c.CANT_DO, b"f") + encode_request(
        c.CAN_DO_TIMEOUT, b"f", b"1000"
    )
    worker.cant_do(b"f")
    worker.cant_do(b"f")
    assert sent(worker) == encode_request(c.CANT_DO, b"f")


def test_graceful_stop_grabs_no_more_and_takes_back_nothing(worker: WorkerConnection) -> None:
    worker.receive_data(assign(b"H:1"))
    worker.want(0)
    assert not worker.idle

    worker.complete(b"H:1", b"")

    assert sent(worker) == encode_request(c.WORK_COMPLETE, b"H:1", b"")
    assert worker.idle


def test_job_on_its_way_while_stopping_is_still_ours(worker: WorkerConnection) -> None:
    worker.want(0)
    assert not worker.idle

    assert len(worker.receive_data(assign(b"H:1"))) == 1


def test_sleeper_that_wants_nothing_is_told_that_there_is_work(asleep: WorkerConnection) -> None:
    asleep.want(0)
    assert asleep.receive_data(NOOP) == [Woken()]
    assert sent(asleep) == b""

    asleep.want(1)

    assert sent(asleep) == GRAB


def test_sleep_is_repeated_now_and_then(worker: WorkerConnection) -> None:
    worker.tick(100.0)
    worker.receive_data(NO_JOB)
    sent(worker)
    assert worker.next_deadline() == 100.0 + RESLEEP_SECONDS

    worker.tick(100.0 + RESLEEP_SECONDS)

    assert sent(worker) == PRE_SLEEP


def test_server_that_wakes_for_nothing_does_not_keep_us_busy(asleep: WorkerConnection) -> None:
    asleep.tick(10.0)
    rounds = 0
    while True:
        asleep.receive_data(NOOP)
        if sent(asleep) != GRAB:
            break
        rounds += 1
        asleep.receive_data(NO_JOB)
        assert sent(asleep) == PRE_SLEEP
    assert rounds == MAX_FRUITLESS
    assert asleep.next_deadline() == 11.0

    asleep.tick(11.0)

    assert sent(asleep) == GRAB


def test_server_that_refuses_a_way_to_grab_is_asked_in_an_older_one(
    worker: WorkerConnection,
) -> None:
    refusal = encode_response(c.ERROR, b"server_error", b"")
    worker.receive_data(refusal)
    assert sent(worker) == encode_request(c.GRAB_JOB_UNIQ)
    worker.receive_data(refusal)
    assert sent(worker) == encode_request(c.GRAB_JOB)
    assert worker.grab_mode == GRAB_PLAIN

    assert worker.receive_data(refusal) == [Complaint("server_error", "")]


def test_server_that_is_silent_about_a_grab_is_asked_in_an_older_way(
    worker: WorkerConnection,
) -> None:
    worker.tick(1.0)
    deadline = worker.next_deadline()
    assert deadline == 1.0 + GRAB_PATIENCE_SECONDS

    worker.tick(deadline)

    assert sent(worker) == encode_request(c.GRAB_JOB_UNIQ)
    assert worker.grab_mode == GRAB_UNIQ


def test_error_about_a_report_names_the_job_when_there_is_no_doubt(
    worker: WorkerConnection,
) -> None:
    worker.receive_data(assign(b"H:1"))
    worker.send_status(b"H:1", 1, 2)

    assert [
        event.handle for event in worker.receive_data(NOT_FOUND) if isinstance(event, JobTaken)
    ] == [b"H:1"]
    sent(worker)
    worker.drop(b"H:1")
    assert sent(worker) == GRAB


def test_error_that_may_be_about_an_ended_job_blames_no_other() -> None:
    worker = WorkerConnection()
    worker.want(2)
    worker.receive_data(assign(b"H:1"))
    worker.receive_data(assign(b"H:2"))
    worker.send_status(b"H:2", 1, 2)
    worker.complete(b"H:1", b"late")

    events = worker.receive_data(NOT_FOUND)

    assert [event.handle for event in events if isinstance(event, JobTaken)] == [b""]
    assert worker.running == 1


def test_late_result_is_refused_before_the_next_job_comes(worker: WorkerConnection) -> None:
    worker.receive_data(assign(b"H:1"))
    worker.complete(b"H:1", b"late")

    events = worker.receive_data(NOT_FOUND + assign(b"H:2"))
    worker.send_status(b"H:2", 1, 2)
    events += worker.receive_data(NOT_FOUND)

    assert [event.handle for event in events if isinstance(event, JobTaken)] == [b"", b"H:2"]


def test_version_echo_and_identity(worker: WorkerConnection) -> None:
    worker.set_client_id(b"me")
    worker.ask_version()
    worker.echo(b"x")
    assert sent(worker) == encode_request(c.SET_CLIENT_ID, b"me") + b"version\r\n" + encode_request(
        c.ECHO_REQ, b"x"
    )

    events = worker.receive_data(b"OK 1.1.20+ds\n" + encode_response(c.ECHO_RES, b"x") + b"?\n")

    assert events == [ServerVersion("1.1.20+ds"), Echoed(b"x")]


def test_eof_names_the_jobs_that_went(worker: WorkerConnection) -> None:
    worker.receive_data(assign(b"H:1"))

    assert worker.receive_eof() == [b"H:1"]
    with pytest.raises(JobFinished):
        worker.send_data(b"H:1", b"")


class ToyServer:
    """One queue and one worker, with the C server's rules for sleeping (reference, 2.5)."""

    def __init__(self) -> None:
        self.queued = 0
        self.asleep = False
        self.notified = False
        self.next = 0

    def add(self) -> bytes:
        self.queued += 1
        if self.asleep and not self.notified:
            self.notified = True
            return NOOP
        return b""

    def hear(self, data: bytes) -> bytes:
        reply = b""
        for at in range(0, len(data), 12):
            packet = data[at : at + 12]
            if packet == GRAB:
                self.asleep = self.notified = False
                if self.queued:
                    self.queued -= 1
                    self.next += 1
                    reply += assign(b"%9d" % self.next, b"")
                else:
                    reply += NO_JOB
            elif packet == PRE_SLEEP:
                if self.queued:
                    reply += NOOP
                else:
                    self.asleep = True
        return reply


@given(st.data())
def test_no_job_waits_while_the_worker_sleeps(data: st.DataObject) -> None:
    server = ToyServer()
    worker = WorkerConnection()
    worker.most_grabs = data.draw(st.integers(1, 4))
    worker.want(data.draw(st.integers(1, 4)))
    up, down = sent(worker), b""
    for _ in range(data.draw(st.integers(0, 40))):
        what = data.draw(st.sampled_from(["job", "server", "worker", "finish", "steal"]))
        if what == "job":
            down += server.add()
        elif what == "steal":  # another worker was faster
            server.queued = max(0, server.queued - 1)
        elif what == "server":
            down += server.hear(up)
            up = b""
        elif what == "worker":
            cut = data.draw(st.integers(0, len(down)))
            worker.receive_data(down[:cut])
            down = down[cut:]
            up += sent(worker)
        elif worker.handles:
            worker.drop(worker.handles[0])  # as complete(), without a packet of its own
            up += sent(worker)

    for _ in range(100):
        down += server.hear(up)
        worker.receive_data(down)
        for handle in worker.handles:
            worker.drop(handle)
        up, down = sent(worker), b""
        if not up:
            break

    assert server.queued == 0
    assert worker.asleep
