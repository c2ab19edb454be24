"""Stories that broke the broker once. Each was found by the story-teller, or by a user."""

from __future__ import annotations

from tests.broker.mind import Mind


def test_sleeper_that_gives_up_its_abilities_is_not_taken_for_one_of_its_old_crew() -> None:
    mind = Mind()
    leaver, stayer, client = mind.sleeper(b"f"), mind.sleeper(b"f"), mind.join()

    # All in one turn: the leaver has no crew yet when the job comes.
    mind.broker.reset_abilities(leaver)
    mind.broker.submit(client, b"f", b"", b"w", 1, False, 0, b"")
    mind.agree()

    assert stayer.was_woken
    assert not leaver.was_woken


def test_end_of_a_job_without_a_name_is_not_found_even_for_one_that_has_ended_none() -> None:
    mind = Mind()

    assert not mind.worker().finish(b"")


def test_sleeping_worker_is_woken_when_it_learns_a_function_with_jobs_waiting() -> None:
    mind = Mind()
    client, worker = mind.join(), mind.join()
    client.submit(b"f")
    worker.sleep()
    assert not worker.was_woken

    worker.can_do(b"f")

    assert worker.was_woken


def test_wake_up_that_was_not_used_is_given_anew_at_the_next_sleep() -> None:
    # The C server remembers that it has sent a NOOP until the next GRAB, so that
    # python-gearman, which sleeps again when it is busy, was never woken again.
    mind = Mind()
    lazy, quick, client = mind.sleeper(), mind.worker(), mind.join()
    client.submit()
    assert lazy.was_woken
    quick.grab()
    lazy.sleep()

    client.submit()

    assert lazy.was_woken


def test_woken_worker_that_grabs_something_else_hands_the_duty_on() -> None:
    mind = Mind()
    first, second, client = mind.sleeper(b"g", b"f"), mind.sleeper(b"f"), mind.join()
    client.submit(b"f")
    assert first.was_woken
    assert not second.was_woken
    client.submit(b"g", priority=0)

    job = first.grab()

    assert job is not None
    assert job.function.name == b"g"
    assert second.was_woken


def test_woken_worker_that_leaves_hands_the_duty_on() -> None:
    mind = Mind()
    first, second, client = mind.sleeper(), mind.sleeper(), mind.join()
    client.submit()
    assert first.was_woken

    first.leave()

    assert second.was_woken


def test_woken_worker_that_unlearns_the_function_hands_the_duty_on() -> None:
    mind = Mind()
    first, second, client = mind.sleeper(), mind.sleeper(), mind.join()
    client.submit()
    assert first.was_woken

    first.cant_do(b"f")

    assert second.was_woken


def test_woken_worker_that_does_not_stir_is_passed_over() -> None:
    mind = Mind(wakeup_seconds=1.0)
    first, second, client = mind.sleeper(), mind.sleeper(), mind.join()
    client.submit()
    assert first.was_woken

    mind.pass_time(0.5)
    assert not second.was_woken
    mind.pass_time(0.5)

    assert second.was_woken


def test_cancelled_function_name_can_be_used_again_after_a_drop() -> None:
    mind = Mind()
    worker, client = mind.worker(), mind.join()
    handle = client.submit(b"f", b"u")
    worker.leave()
    mind.cancel(handle)

    assert mind.broker.drop_function(b"f")
    again = client.submit(b"f", b"u")

    assert again != handle
    assert mind.worker().grab_all() == [b"w"]


def test_bytes_of_an_abandoned_job_do_not_lie_in_its_line() -> None:
    mind = Mind()
    client = mind.join()
    client.submit(b"f", workload=b"x" * 1000)
    job = next(iter(mind.broker.state.jobs.values()))

    client.leave()

    # The entry may lie there until it is swept; it must cost nothing.
    assert job.workload == b""
    assert mind.broker.state.memory == 0


def test_line_of_woken_workers_keeps_nobody_who_has_gone() -> None:
    mind = Mind()
    for _ in range(10):
        worker = mind.sleeper()
        mind.join().submit()
        worker.leave()

    mind.pass_time(2.0)

    assert mind.broker.state.roused.peers == []
