"""A job runs: reports, losses, time limits, cancelling. Source: reference, 2.7 to 2.11, 3.4."""

from __future__ import annotations

import pytest

from tests.broker.mind import COMPLETE, DATA, EXCEPTION, FAIL, STATUS, WARNING, Mind


@pytest.fixture
def mind() -> Mind:
    return Mind()


# ── reports: 2.9 ─────────────────────────────────────────────────────────────


def test_reports_come_in_the_order_in_which_they_were_made(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()

    worker.report(handle, b"1")
    worker.report(handle, b"2", WARNING)
    worker.progress(handle, 3, 10)
    worker.report(handle, b"4")
    worker.finish(handle, b"5")

    assert client.heard() == [
        ("update", DATA, handle, b"1"), ("update", WARNING, handle, b"2"),
        ("update", STATUS, handle, b"3\x0010"), ("update", DATA, handle, b"4"),
        ("update", COMPLETE, handle, b"5"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [COMPLETE, FAIL, EXCEPTION])
def test_any_end_is_the_end(mind: Mind, kind: int) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()

    assert worker.finish(handle, b"", kind)

    assert mind.status(handle) == (False, False, 0, 0, 0)
    assert mind.counts() == (0, 0, 1)
    assert not worker.report(handle)


def test_second_end_right_after_the_first_is_swallowed(mind: Mind) -> None:
    # Perl workers send WORK_EXCEPTION and then WORK_FAIL, and die on an ERROR.
    worker, client = mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()

    assert worker.finish(handle, b"", EXCEPTION)
    assert worker.finish(handle, b"", FAIL)

    assert len(client.heard()) == 1


def test_end_of_a_job_that_ended_before_the_last_one_is_not_found(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    first, second = client.submit(), client.submit()
    worker.grab_all()
    worker.finish(first)
    worker.finish(second)

    assert not worker.finish(first)


def test_only_the_worker_that_runs_a_job_may_report_on_it(mind: Mind) -> None:
    worker, stranger, client = mind.worker(), mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()

    assert not stranger.report(handle)
    assert not stranger.progress(handle, 1, 2)
    assert not stranger.finish(handle)
    assert not client.finish(handle)

    assert client.heard() == []


def test_background_job_reports_to_nobody_and_its_status_is_kept(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit(background=True)
    worker.grab()

    assert worker.report(handle, b"x")
    assert worker.progress(handle, 5, 10)

    assert mind.status(handle) == (True, True, 5, 10, 0)
    assert client.heard() == []


# ── clients leave: 2.7 ───────────────────────────────────────────────────────


def test_queued_job_goes_with_its_last_client(mind: Mind) -> None:
    one, other = mind.join(), mind.join()
    handle = one.submit(b"f", b"u")
    other.submit(b"f", b"u")

    one.leave()
    assert mind.status(handle)[0]
    other.leave()

    assert mind.counts() == (0, 0, 0)
    assert mind.join().submit(b"f", b"u") != handle


def test_running_job_goes_on_without_its_client(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()

    client.leave()

    assert worker.report(handle, b"x")
    assert worker.finish(handle)


def test_running_job_that_nobody_waits_for_is_not_given_out_again(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    client.submit()
    worker.grab()

    client.leave()
    worker.leave()

    assert mind.counts() == (0, 0, 0)


def test_client_that_waits_for_its_own_job_may_run_it_and_leave(mind: Mind) -> None:
    both = mind.worker()
    both.submit()
    both.grab()

    both.leave()

    assert mind.broker.idle


# ── workers leave: 2.8 ───────────────────────────────────────────────────────


def test_lost_job_goes_to_the_end_of_its_line_and_nobody_is_told(mind: Mind) -> None:
    client = mind.join()
    handle = client.submit(workload=b"1")
    client.submit(workload=b"2")
    worker = mind.worker()
    worker.grab()
    worker.progress(handle, 1, 2)
    client.heard()

    worker.leave()

    assert mind.status(handle) == (True, False, 0, 0, 1)
    assert client.heard() == []
    assert mind.worker().grab_all() == [b"2", b"1"]


@pytest.mark.parametrize("how", ["leave", "cant_do", "reset"])
def test_job_is_lost_in_any_way_its_worker_gives_it_up(mind: Mind, how: str) -> None:
    worker, client = mind.worker(b"f", b"g"), mind.join()
    handle, kept = client.submit(b"f"), client.submit(b"g")
    worker.grab_all()

    if how == "leave":
        worker.leave()
    elif how == "cant_do":
        worker.cant_do(b"f")
    else:
        worker.reset_abilities()

    assert not mind.status(handle)[1]
    assert mind.status(kept)[1] == (how == "cant_do")
    assert not worker.finish(handle)
    assert mind.worker(b"f").grab() is not None


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_job_is_given_out_so_often_and_then_it_has_failed(retries: int, attempts: int) -> None:
    mind = Mind(job_retries=retries)
    client = mind.join()
    handle = client.submit()
    quiet = client.submit(background=True)

    for _ in range(attempts):
        worker = mind.worker()
        assert len(worker.grab_all()) == 2
        worker.leave()

    assert client.heard() == [("fail", handle)]
    assert mind.status(quiet)[0] is False
    assert mind.worker().grab() is None


@pytest.mark.parametrize("end", ["leave", "cant_do", "late"])
def test_a_job_that_the_server_gives_up_is_noted_with_the_reason(end: str) -> None:
    mind = Mind(job_retries=2)
    handle = mind.join().submit(b"f")
    for _ in range(2):
        worker = mind.worker(b"f", seconds=5.0 if end == "late" else 0.0)
        assert worker.grab() is not None
        if end == "leave":
            worker.leave()
        elif end == "cant_do":
            worker.cant_do(b"f")
        else:
            mind.pass_time(6.0)

    [told] = mind.broker.take_surrenders()

    assert (told.handle, told.function, told.attempts) == (handle, b"f", 2)
    assert (
        told.reason
        == {
            "leave": "the worker's connection was lost",
            "cant_do": "the worker took back that it can do the function",
            "late": "its time limit was over",
        }[end]
    )
    assert mind.broker.take_surrenders() == []


def test_a_job_that_its_worker_calls_failed_is_not_given_up_by_the_server(mind: Mind) -> None:
    handle = mind.join().submit(b"f")
    worker = mind.worker(b"f")
    worker.grab()

    worker.finish(handle, kind=FAIL)

    assert mind.broker.take_surrenders() == []


def test_without_a_limit_a_job_is_given_out_for_ever() -> None:
    mind = Mind(job_retries=-1)
    client = mind.join()
    handle = client.submit()

    for _ in range(300):
        worker = mind.worker()
        assert worker.grab() is not None
        worker.leave()

    row = mind.broker.job_row(handle)
    assert row is not None
    assert row.attempts == 300
    assert client.heard() == []


def test_failure_told_by_the_worker_is_final(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()

    worker.finish(handle, b"", FAIL)

    assert worker.grab() is None
    assert client.heard() == [("update", FAIL, handle, b"")]


# ── time limits: 2.11 ────────────────────────────────────────────────────────


def test_job_over_its_time_goes_to_another_worker(mind: Mind) -> None:
    slow, other, client = mind.worker(seconds=5.0), mind.sleeper(), mind.join()
    handle = client.submit()
    assert other.was_woken
    slow.grab()
    other.sleep()

    mind.pass_time(4.9)
    assert mind.status(handle)[1]
    mind.pass_time(0.1)

    assert other.was_woken
    assert other.grab() is not None
    assert not slow.finish(handle)
    assert slow.abilities == {b"f": 5.0}
    assert other.finish(handle)


def test_each_job_of_a_worker_has_a_time_of_its_own(mind: Mind) -> None:
    worker, client = mind.worker(seconds=5.0), mind.join()
    first = client.submit()
    worker.grab()
    mind.pass_time(3.0)
    second = client.submit()
    worker.grab()

    mind.pass_time(2.0)
    assert (mind.status(first)[1], mind.status(second)[1]) == (False, True)
    mind.pass_time(3.0)

    assert not mind.status(second)[1]


def test_finished_job_leaves_no_alarm(mind: Mind) -> None:
    worker, client = mind.worker(seconds=5.0), mind.join()
    handle = client.submit()
    worker.grab()
    worker.finish(handle)

    mind.pass_time(100.0)

    assert mind.counts() == (0, 0, 1)
    assert mind.broker.next_deadline() == -1.0


def test_job_that_runs_again_runs_without_the_first_workers_limit(mind: Mind) -> None:
    slow, other, client = mind.worker(seconds=5.0), mind.worker(), mind.join()
    handle = client.submit()
    slow.grab()
    slow.leave()
    other.grab()

    mind.pass_time(100.0)

    assert mind.status(handle)[1]


def test_time_limit_counts_as_an_attempt() -> None:
    mind = Mind(job_retries=1)
    worker, client = mind.worker(seconds=1.0), mind.join()
    handle = client.submit()
    worker.grab()

    mind.pass_time(1.0)

    assert client.heard() == [("fail", handle)]


def test_job_over_its_time_fails_where_that_is_chosen() -> None:
    mind = Mind(fail_on_timeout=True)
    worker, client = mind.worker(seconds=1.0), mind.join()
    handle = client.submit()
    worker.grab()

    mind.pass_time(1.0)

    assert client.heard() == [("fail", handle)]
    assert worker.grab() is None


def test_time_set_back_changes_no_limit(mind: Mind) -> None:
    worker, client = mind.worker(seconds=5.0), mind.join()
    handle = client.submit()
    worker.grab()

    mind.pass_time(5.0, wall=-1000.0)

    assert not mind.status(handle)[1]


# ── cancelling: 3.4 ──────────────────────────────────────────────────────────


def test_cancelled_queued_job_is_gone(mind: Mind) -> None:
    one, other = mind.join(), mind.join()
    handle = one.submit(b"f", b"u")
    other.submit(b"f", b"u")

    assert mind.cancel(handle)

    assert one.heard() == other.heard() == [("fail", handle)]
    assert mind.counts() == (0, 0, 0)
    assert not mind.cancel(handle)
    assert one.submit(b"f", b"u") != handle


def test_cancelled_running_job_reports_to_nobody_and_is_not_given_out_again(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit(b"f", b"u", background=True)
    assert client.submit(b"f", b"u") == handle
    worker.grab()

    assert mind.cancel(handle)

    assert client.heard() == [("fail", handle)]
    again = client.submit(b"f", b"u")
    assert again != handle
    assert worker.report(handle, b"x")
    worker.leave()
    assert client.heard() == []
    assert mind.status(handle)[0] is False
    assert mind.status(again)[0] is True


def test_cancelled_epoch_job_does_not_come(mind: Mind) -> None:
    handle = mind.join().submit(background=True, when=int(mind.wall) + 10)

    mind.cancel(handle)
    mind.pass_time(20.0)

    assert mind.worker().grab() is None


# ── functions ────────────────────────────────────────────────────────────────


def test_function_is_dropped_only_when_nobody_has_to_do_with_it(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    assert mind.broker.drop_function(b"f") is False
    handle = client.submit()
    worker.leave()
    assert mind.broker.drop_function(b"f") is False
    mind.cancel(handle)

    assert mind.broker.drop_function(b"f") is True
    assert mind.broker.drop_function(b"f") is None


def test_function_of_a_cancelled_running_job_is_still_in_use(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit()
    worker.grab()
    mind.cancel(handle)

    assert mind.broker.drop_function(b"f") is False
    worker.leave()

    assert mind.broker.drop_function(b"f") is True
