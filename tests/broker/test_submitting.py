"""A job comes in: keys, limits, times. Source: protocol reference, 2.2, 2.6, 2.12, 2.13."""

from __future__ import annotations

import pytest

from tests.broker.mind import COMPLETE, HIGH, LOW, NORMAL, Mind


@pytest.fixture
def mind() -> Mind:
    return Mind()


# ── coalescing: 2.6 ──────────────────────────────────────────────────────────


def test_same_key_is_the_same_job(mind: Mind) -> None:
    one, other = mind.join(), mind.join()

    first = one.submit(b"f", b"u", b"first", priority=LOW)
    second = other.submit(b"f", b"u", b"second", priority=HIGH)

    assert first == second
    assert mind.counts() == (1, 0, 0)
    job = mind.worker().grab()
    assert job is not None
    assert (job.workload, job.priority) == (b"first", LOW)


def test_key_counts_inside_its_function_only(mind: Mind) -> None:
    client = mind.join()

    assert client.submit(b"f", b"u") != client.submit(b"g", b"u")


def test_no_key_is_no_key(mind: Mind) -> None:
    client = mind.join()

    assert client.submit(b"f", b"") != client.submit(b"f", b"")


def test_dash_is_the_workload_as_key(mind: Mind) -> None:
    client = mind.join()
    first = client.submit(b"f", b"-", b"same")

    assert client.submit(b"f", b"-", b"same") == first
    assert client.submit(b"f", b"-", b"other") != first
    assert client.submit(b"f", b"same", b"same") != first
    assert client.submit(b"f", b"-", b"") != client.submit(b"f", b"-", b"")


def test_job_known_by_its_workload_is_not_found_by_a_name(mind: Mind) -> None:
    mind.join().submit(b"f", b"-", b"same")

    assert not mind.broker.status_unique(b"-").known
    assert not mind.broker.status_unique(b"same").known


def test_running_job_is_joined_too_and_a_finished_one_is_not(mind: Mind) -> None:
    worker, one, other = mind.worker(), mind.join(), mind.join()
    handle = one.submit(b"f", b"u")
    worker.grab()

    assert other.submit(b"f", b"u") == handle
    worker.finish(handle, b"done")

    assert one.heard() == other.heard() == [("update", COMPLETE, handle, b"done")]
    assert other.submit(b"f", b"u") != handle


def test_who_submitted_twice_hears_everything_twice(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = client.submit(b"f", b"u")
    client.submit(b"f", b"u")
    assert mind.status(handle)[4] == 2
    worker.grab()

    worker.report(handle, b"x")
    worker.finish(handle)

    assert [one[0] for one in client.heard()] == ["update"] * 4


def test_joining_wakes_nobody_and_passes_a_full_queue(mind: Mind) -> None:
    client = mind.join()
    mind.broker.limit_function(b"f", 1, 1, 1)
    handle = client.submit(b"f", b"u")
    worker = mind.worker()
    worker.grab()
    worker.sleep()

    assert client.submit(b"f", b"u") == handle
    assert client.submit(b"f", b"v") == b"QUEUE_ERROR"
    assert not worker.was_woken


@pytest.mark.parametrize("joins", ["background", "foreground"])
@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize("event", ["client leaves", "worker dies", "both"])
def test_job_that_somebody_wanted_in_the_background_runs_whoever_leaves(
    mind: Mind, joins: str, state: str, event: str
) -> None:
    client, poster = mind.join(), mind.join()
    submits = [
        lambda: client.submit(b"f", b"u"),
        lambda: poster.submit(b"f", b"u", background=True),
    ]
    if joins == "foreground":
        submits.reverse()
    handle = submits[0]()
    assert submits[1]() == handle
    worker = mind.worker()
    if state == "running":
        worker.grab()

    if event in ("client leaves", "both"):
        client.leave()
        poster.leave()
    if event in ("worker dies", "both"):
        worker.leave()

    if state == "running" and event == "client leaves":
        assert worker.finish(handle)
        assert client.heard() == []
    else:
        assert mind.worker().grab_all() == [b"w"]
    if event == "worker dies":
        assert mind.status(handle)[4] == 1


def test_unique_of_the_longest_kind_is_whole_and_a_longer_one_refused(mind: Mind) -> None:
    client = mind.join()
    handle = client.submit(b"f", b"u" * 64)

    assert client.submit(b"f", b"u" * 64) == handle
    assert client.submit(b"f", b"u" * 63) != handle
    assert client.submit(b"f", b"u" * 65) == b"ARGUMENT_TOO_LARGE"


def test_question_by_key_finds_a_job_as_long_as_there_is_one(mind: Mind) -> None:
    client = mind.join()
    handles = [client.submit(name, b"u") for name in (b"a", b"b", b"c")]

    for handle in handles:
        assert mind.broker.status_unique(b"u").known
        mind.cancel(handle)

    assert not mind.broker.status_unique(b"u").known


# ── limits: 2.13 ─────────────────────────────────────────────────────────────


def test_limit_of_a_priority_counts_the_jobs_of_all_priorities(mind: Mind) -> None:
    client = mind.join()
    mind.broker.limit_function(b"f", 1, 0, 2)

    assert client.submit(priority=NORMAL).startswith(b"H:")
    assert client.submit(priority=HIGH) == b"QUEUE_ERROR"
    assert client.submit(priority=LOW).startswith(b"H:")
    assert client.submit(priority=LOW) == b"QUEUE_ERROR"
    assert client.submit(priority=NORMAL).startswith(b"H:")


def test_running_and_waiting_epoch_jobs_count_and_abandoned_ones_do_not(mind: Mind) -> None:
    worker, client, gone = mind.worker(), mind.join(), mind.join()
    mind.broker.limit_function(b"f", 3, 3, 3)
    client.submit()
    worker.grab()
    client.submit(background=True, when=int(mind.wall) + 60)
    gone.submit()
    assert client.submit() == b"QUEUE_ERROR"

    gone.leave()

    assert client.submit().startswith(b"H:")


def test_every_function_may_have_a_limit_from_the_start() -> None:
    mind = Mind(max_jobs_per_function=1)
    client = mind.join()
    client.submit(b"f")

    assert client.submit(b"f") == b"QUEUE_ERROR"
    assert client.submit(b"g").startswith(b"H:")
    mind.broker.limit_function(b"f", 0, 0, 0)
    assert client.submit(b"f").startswith(b"H:")


def test_budget_of_memory_refuses_what_does_not_fit_and_takes_it_later() -> None:
    mind = Mind(max_memory_bytes=10_000)
    worker, client = mind.worker(), mind.join()
    handle = client.submit(workload=b"x" * 8_000)

    assert client.submit(workload=b"x" * 8_000) == b"QUEUE_FULL"
    worker.grab()
    worker.finish(handle)

    assert client.submit(workload=b"x" * 8_000).startswith(b"H:")


def test_name_of_the_reducer_counts_in_the_budget_as_long_as_the_job_lives() -> None:
    mind = Mind(max_memory_bytes=10_000)
    worker, client = mind.worker(), mind.join()
    handle = client.submit(reducer=b"r" * 8_000)

    assert mind.broker.state.memory >= 8_000
    assert client.submit(reducer=b"r" * 8_000) == b"QUEUE_FULL"
    worker.grab()
    worker.finish(handle)

    assert mind.broker.state.memory == 0


def test_no_more_functions_than_max_functions_by_any_way() -> None:
    mind = Mind(max_functions=1)
    client, worker = mind.join(), mind.join()
    client.submit(b"f")

    assert client.submit(b"g") == b"QUEUE_ERROR"
    worker.can_do(b"g")
    assert worker.heard()[0][:2] == ("refused", b"QUEUE_ERROR")
    assert not mind.broker.create_function(b"g")
    assert not mind.broker.limit_function(b"g", 1, 1, 1)
    assert mind.broker.function_names() == [b"f"]


def test_shutting_down_takes_no_new_job_but_lets_others_join(mind: Mind) -> None:
    client = mind.join()
    handle = client.submit(b"f", b"u")
    mind.rules.accept_new_work = False

    assert client.submit(b"f", b"v") == b"QUEUE_ERROR"
    assert client.submit(b"f", b"u") == handle


# ── epoch: 2.12 ──────────────────────────────────────────────────────────────


def test_epoch_job_waits_for_its_time_and_hides_nothing(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    client.submit(workload=b"later", background=True, when=int(mind.wall) + 10)
    client.submit(workload=b"low", priority=LOW)

    assert worker.grab_all() == [b"low"]
    worker.sleep()
    assert worker.heard() == []
    mind.pass_time(10.0)

    assert worker.was_woken
    assert worker.grab_all() == [b"later"]


def test_epoch_jobs_come_in_the_order_of_their_times(mind: Mind) -> None:
    client = mind.join()
    for delay in (3, 1, 2, 1):
        client.submit(workload=b"%d" % delay, background=True, when=int(mind.wall) + delay)

    mind.pass_time(10.0)

    assert mind.worker().grab_all() == [b"1", b"1", b"2", b"3"]


def test_next_deadline_is_the_epoch_jobs_and_follows_the_wall(mind: Mind) -> None:
    client = mind.join()
    assert mind.broker.next_deadline() == -1.0
    handle = client.submit(background=True, when=int(mind.wall) + 60)
    assert mind.broker.next_deadline() == 60.0

    mind.pass_time(10.0, wall=-30.0)
    assert mind.broker.next_deadline() == 90.0
    mind.cancel(handle)

    assert mind.broker.next_deadline() == -1.0


def test_foreground_job_joins_an_epoch_job_and_waits_for_it(mind: Mind) -> None:
    worker, client = mind.worker(), mind.join()
    handle = mind.join().submit(b"f", b"u", background=True, when=int(mind.wall) + 10)

    assert client.submit(b"f", b"u") == handle
    assert worker.grab() is None
    mind.pass_time(10.0)
    worker.grab()
    worker.finish(handle)

    assert client.heard() == [("update", COMPLETE, handle, b"")]
