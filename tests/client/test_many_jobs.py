"""Many jobs of one client at a time: map, sets of tasks, whoever is first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from geartrain.client.sync import Client
from geartrain.errors import (
    JobException,
    JobFailed,
    ResultTimeout,
)
from tests.client.servers import RawWorker, Server, raw_worker
from tests.support import patient


def test_map_is_ordered_and_lazy(client: Client, worker: RawWorker) -> None:
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield f"<{n}>"

    results = client.map("reverse", source(), window=10)

    assert [next(results) for _ in range(3)] == [b">0<", b">1<", b">2<"]
    assert taken <= 13
    assert sum(1 for _ in results) == 997


def test_map_unordered_gives_all(client: Client, worker: RawWorker) -> None:
    results = client.map("reverse", (f"{n:03}" for n in range(300)), window=20, ordered=False)

    assert sorted(results) == sorted(f"{n:03}"[::-1].encode() for n in range(300))


def test_map_over_a_list_keeps_to_its_window(client: Client, worker: RawWorker) -> None:
    words = [f"{n:03}" for n in range(300)]
    backwards = [word[::-1].encode() for word in words]

    assert list(client.map("reverse", words, window=20)) == backwards
    assert list(client.map("reverse", words, window=1)) == backwards
    assert list(client.map("reverse", [])) == []
    assert sorted(client.map("reverse", words, window=7, ordered=False)) == sorted(backwards)


@pytest.mark.parametrize("ordered", [True, False])
def test_an_item_leaves_before_a_source_is_asked_for_the_next(
    client: Client, worker: RawWorker, ordered: bool
) -> None:
    heard: list[bytes] = []

    def source() -> Iterator[bytes]:
        yield b"ab"
        while not heard:  # the second depends on the first
            client.wait_until(lambda: heard, timeout=20)
        yield heard[0]

    tell = {"on_complete": lambda task: heard.append(task.outcome())}
    results = client.map("reverse", source(), ordered=ordered, **tell)  # type: ignore[arg-type]

    assert sorted(results) == [b"ab", b"ba"]


@pytest.mark.parametrize("ordered", [True, False])
def test_map_waits_no_longer_than_it_may(client: Client, ordered: bool) -> None:
    with pytest.raises(ResultTimeout):
        list(client.map("nobody-does-this", [b"a", b"b"], ordered=ordered, timeout=0.1))


def test_as_completed_wait_and_gather(client: Client, worker: RawWorker) -> None:
    tasks = [client.submit("reverse", str(n)) for n in range(20)]
    never = client.submit("nobody-does-this")

    done, left = client.wait([*tasks, never], timeout=patient(2.0))
    assert (done, left) == (set(tasks), {never})
    assert set(client.as_completed(tasks)) == set(tasks)
    assert client.gather(tasks) == [str(n)[::-1].encode() for n in range(20)]
    with pytest.raises(ResultTimeout):
        list(client.as_completed([*tasks, never], timeout=0.02))
    with pytest.raises(ResultTimeout):
        client.gather([never], timeout=0.02)
    first, _ = client.wait([never, client.submit("reverse", "a")], return_when="FIRST_COMPLETED")
    assert [task.outcome() for task in first] == [b"a"]
    never.cancel()


def test_events_of_several_tasks(client: Client, worker: RawWorker) -> None:
    tasks = [client.submit("chatty"), client.submit("chatty")]

    heard = list(client.events(tasks, timeout=20))

    for task in tasks:
        assert [type(event).__name__ for t, event in heard if t is task] == [
            "JobCreated",
            "WorkData",
            "WorkWarning",
            "WorkStatus",
            "WorkData",
            "WorkComplete",
        ]


def test_task_set_waits_and_tells_all_failures(client: Client, worker: RawWorker) -> None:
    with client.task_set() as ts:
        good = ts.submit("reverse", "ab")
    assert good.outcome() == b"ba"

    with pytest.raises(ExceptionGroup) as caught, client.task_set() as ts:
        ts.submit("reverse", "a")
        ts.submit("fail")
        ts.submit("boom")
    assert [type(e) for e in caught.value.exceptions] == [JobFailed, JobException]


def test_merged_jobs_are_all_answered(client: Client, server: Server) -> None:
    tasks = [client.submit("reverse", "ab", unique="same") for _ in range(3)]
    for task in tasks:
        task.wait_created(20)
    assert len({task.handle for task in tasks}) == 1
    assert client.status(unique="same").waiting == 3
    with raw_worker(server, reverse=lambda w, h, data: w.complete(h, data[::-1])):
        assert client.gather(tasks, timeout=20) == [b"ba"] * 3
