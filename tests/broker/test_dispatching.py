"""Jobs and workers find each other. Source: protocol reference, 2.4 and 2.5."""

from __future__ import annotations

import pytest

from tests.broker.mind import HIGH, LOW, NORMAL, Mind


@pytest.fixture
def mind() -> Mind:
    return Mind()


def fill(
    mind: Mind, names: list[bytes], count: int, priorities: tuple[int, ...] = (NORMAL,)
) -> None:
    """Jobs ``a1 a2 ...`` of each function."""
    letters = {HIGH: b"H", NORMAL: b"", LOW: b"L"}
    client = mind.join()
    for name in names:
        for priority in priorities:
            for number in range(1, count + 1):
                workload = name + letters[priority] + b"%d" % number
                client.submit(name, workload=workload, priority=priority)


# ── the order of grabs: 2.4 ──────────────────────────────────────────────────


def test_first_in_is_first_out(mind: Mind) -> None:
    fill(mind, [b"f"], 4)

    assert mind.worker().grab_all() == [b"f1", b"f2", b"f3", b"f4"]


def test_high_goes_before_normal_before_low(mind: Mind) -> None:
    fill(mind, [b"f"], 2, (LOW, NORMAL, HIGH))

    assert mind.worker().grab_all() == [b"fH1", b"fH2", b"f1", b"f2", b"fL1", b"fL2"]


def test_priority_counts_over_all_functions_and_inside_it_they_take_turns(mind: Mind) -> None:
    fill(mind, [b"a", b"b", b"c"], 2, (LOW, HIGH, NORMAL))

    # As in the newest C server: the last registered has the first turn.
    assert b" ".join(mind.worker(b"a", b"b", b"c").grab_all()) == (
        b"cH1 bH1 aH1 cH2 bH2 aH2 c1 b1 a1 c2 b2 a2 cL1 bL1 aL1 cL2 bL2 aL2"
    )


def test_busy_function_does_not_keep_others_from_their_turn(mind: Mind) -> None:
    client = mind.join()
    worker = mind.worker(b"rare", b"busy")
    done: list[bytes] = []
    for number in range(50):
        client.submit(b"busy", workload=b"busy")
        client.submit(b"busy", workload=b"busy")
        if number % 10 == 0:
            client.submit(b"rare", workload=b"rare")
        for _ in range(2):
            done.append(worker.grab_workload() or b"")

    assert done.count(b"rare") == 5


def test_strict_order_is_the_order_of_registration() -> None:
    mind = Mind(strict_order=True)
    fill(mind, [b"c", b"b", b"a"], 2, (LOW, HIGH))

    assert b" ".join(mind.worker(b"a", b"b", b"c").grab_all()) == (
        b"aH1 aH2 aL1 aL2 bH1 bH2 bL1 bL2 cH1 cH2 cL1 cL2"
    )


def test_strict_order_is_each_workers_own() -> None:
    mind = Mind(strict_order=True)
    fill(mind, [b"a", b"b"], 2)
    one, other = mind.worker(b"a", b"b"), mind.worker(b"b", b"a")

    assert [one.grab_workload(), other.grab_workload()] == [b"a1", b"b1"]
    assert [one.grab_workload(), other.grab_workload()] == [b"a2", b"b2"]
    mind.join().submit(b"a", workload=b"a3")
    assert [other.grab_workload(), other.grab_workload()] == [b"a3", None]


def test_worker_gets_only_what_it_can_do(mind: Mind) -> None:
    fill(mind, [b"a", b"b"], 1)

    assert mind.join().grab() is None
    assert mind.worker(b"a").grab_all() == [b"a1"]
    assert mind.worker(b"c").grab() is None


def test_each_grab_takes_one_more(mind: Mind) -> None:
    fill(mind, [b"f"], 3)
    worker = mind.worker()

    assert worker.grab_all() == [b"f1", b"f2", b"f3"]
    assert mind.counts() == (3, 3, 1)


def test_registering_again_changes_the_limit_and_nothing_else(mind: Mind) -> None:
    worker = mind.worker(b"f", b"g")

    worker.can_do(b"f", seconds=5.0)

    assert mind.counts()[2] == 1
    assert list(worker.abilities) == [b"f", b"g"]
    fill(mind, [b"f"], 1)
    worker.grab()
    assert mind.broker.next_deadline() == 5.0


# ── sleep and wake-up: 2.5 ───────────────────────────────────────────────────


@pytest.mark.parametrize(("wakeup", "woken"), [(1, 1), (2, 2), (3, 3), (0, 5)])
def test_one_job_wakes_as_many_as_it_should(wakeup: int, woken: int) -> None:
    mind = Mind(worker_wakeup=wakeup)
    sleepers = [mind.sleeper() for _ in range(5)]

    mind.join().submit()

    assert sum(sleeper.was_woken for sleeper in sleepers) == woken


@pytest.mark.parametrize("wakeup", [1, 2])
def test_each_further_job_wakes_further_sleepers_longest_asleep_first(wakeup: int) -> None:
    mind = Mind(worker_wakeup=wakeup)
    sleepers = [mind.sleeper() for _ in range(4)]
    client = mind.join()

    for number in range(4 // wakeup):
        client.submit()
        woken = [sleeper.was_woken for sleeper in sleepers]
        assert woken == [number * wakeup <= at < (number + 1) * wakeup for at in range(4)]


def test_one_sleep_is_ended_once(mind: Mind) -> None:
    worker, client = mind.sleeper(), mind.join()

    for _ in range(5):
        client.submit()

    assert worker.heard() == [("noop",)]


def test_who_goes_to_sleep_beside_a_job_is_woken_every_time(mind: Mind) -> None:
    mind.join().submit()
    worker = mind.worker()

    for _ in range(3):
        worker.sleep()
        assert worker.was_woken


def test_worker_without_functions_sleeps_and_is_not_woken(mind: Mind) -> None:
    worker = mind.join().sleep()

    mind.join().submit()

    assert not worker.was_woken


def test_who_is_awake_is_not_woken(mind: Mind) -> None:
    worker = mind.sleeper()
    assert worker.grab() is None

    mind.join().submit()

    assert not worker.was_woken


def test_grab_in_vain_by_one_does_not_lose_the_wake_up_of_another(mind: Mind) -> None:
    first, second, client = mind.sleeper(), mind.sleeper(), mind.join()
    thief = mind.worker()
    client.submit()
    assert first.was_woken
    thief.grab()
    assert first.grab() is None
    first.sleep()

    client.submit()
    client.submit()

    assert first.was_woken
    assert second.was_woken


def test_requeued_job_wakes_a_sleeper(mind: Mind) -> None:
    worker, sleeper = mind.worker(), mind.join()
    mind.join().submit()
    worker.grab()
    sleeper.can_do(b"f").sleep()

    worker.leave()

    assert sleeper.was_woken


def test_worker_that_left_while_woken_leaves_the_job_to_whom_sleeps_next(mind: Mind) -> None:
    first = mind.sleeper()
    mind.join().submit()
    assert first.was_woken
    first.leave()

    second = mind.sleeper()

    assert second.was_woken


def test_nobody_is_passed_over_where_that_is_off() -> None:
    mind = Mind(wakeup_seconds=0.0)
    first, second = mind.sleeper(), mind.sleeper()
    mind.join().submit()
    assert first.was_woken

    mind.pass_time(1_000_000.0)

    assert not second.was_woken
    assert mind.broker.next_deadline() == -1.0


def test_passing_over_stops_when_everybody_was_asked(mind: Mind) -> None:
    sleepers = [mind.sleeper() for _ in range(3)]
    mind.join().submit()

    for _ in range(10):
        mind.pass_time(1.0)

    assert [sleeper.heard() for sleeper in sleepers] == [[("noop",)]] * 3
    assert mind.broker.next_deadline() == -1.0


@pytest.mark.parametrize("strict", [False, True])
def test_sleepers_of_different_crews_take_turns(strict: bool) -> None:
    mind = Mind(strict_order=strict)
    sleepers = [mind.sleeper(b"f", b"g%d" % number) for number in range(4)]
    client = mind.join()

    for _ in range(4):
        client.submit()

    assert all(sleeper.was_woken for sleeper in sleepers)


def test_sleeper_that_unlearns_one_function_still_wakes_for_the_other(mind: Mind) -> None:
    worker = mind.sleeper(b"a", b"b")
    worker.cant_do(b"a")
    client = mind.join()

    client.submit(b"a")
    assert not worker.was_woken
    client.submit(b"b")

    assert worker.was_woken


def test_sleeper_that_learns_a_thousand_functions_in_a_turn_finds_one_crew() -> None:
    mind = Mind(checked=False)
    worker = mind.join().sleep()

    for number in range(1000):
        mind.broker.can_do(worker, b"f%d" % number, 0.0)
    mind.agree()

    assert len(mind.broker.state.crews) == 1
    mind.join().submit(b"f500")
    assert worker.was_woken
