"""GearmanExecutor: what concurrent.futures promises, and what signing adds."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hmac
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import geartrain
from geartrain.errors import ConfigurationError
from geartrain.executor import Calls, GearmanExecutor, GearmanFuture, gearman_target
from geartrain.executor.sealed import Seal
from geartrain.testing import EmbeddedServer
from tests import remote_calls
from tests.support import patient, wait_until

KEY = b"0123456789abcdef0123456789abcdef"
OTHER_KEY = b"fedcba9876543210fedcba9876543210"
LONG = patient(20)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="module")
def workers(server: EmbeddedServer) -> Iterator[geartrain.Worker]:
    worker = geartrain.Worker(server.address, concurrency=2)
    Calls(KEY, serializer="cloudpickle").register(worker)
    thread = threading.Thread(target=worker.work)
    thread.start()
    yield worker
    remote_calls.gate.set()
    worker.stop()
    thread.join(patient(40))


@pytest.fixture
def pool(server: EmbeddedServer, workers: object) -> Iterator[GearmanExecutor]:
    remote_calls.made.clear()
    remote_calls.gate.clear()
    while remote_calls.held.acquire(blocking=False):
        pass
    with GearmanExecutor(server.address, key=KEY) as pool:
        yield pool
        remote_calls.gate.set()


# ── the interface of Executor ────────────────────────────────────────────────


def test_a_call_gives_a_future(pool: GearmanExecutor) -> None:
    assert pool.submit(remote_calls.add, 1, b=2).result(LONG) == 3
    assert pool.submit(pow, 2, 10).result(LONG) == 1024


def test_wait_and_as_completed_know_the_futures(pool: GearmanExecutor) -> None:
    futures = {pool.submit(remote_calls.add, n): n for n in range(20)}

    seen = {futures[f]: f.result() for f in concurrent.futures.as_completed(futures, LONG)}
    done, left = concurrent.futures.wait(futures, LONG)

    assert seen == {n: n + 1 for n in range(20)}
    assert (len(done), len(left)) == (20, 0)


@pytest.mark.parametrize("chunksize", [1, 7, 100])
@pytest.mark.parametrize("buffersize", [None, 2])
def test_map_keeps_the_order(pool: GearmanExecutor, chunksize: int, buffersize: int | None) -> None:
    results = pool.map(
        remote_calls.add, range(30), range(30), chunksize=chunksize, buffersize=buffersize
    )

    assert list(results) == [2 * n for n in range(30)]


def test_map_with_a_buffer_reads_its_arguments_lazily(pool: GearmanExecutor) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for n in range(1000):
            read.append(n)
            yield n

    results = pool.map(remote_calls.add, numbers(), buffersize=3)

    assert [next(results) for _ in range(4)] == [1, 2, 3, 4]
    assert len(read) <= 8
    results.close()  # type: ignore[attr-defined]


def test_map_gives_up_after_its_timeout(pool: GearmanExecutor) -> None:
    with pytest.raises(TimeoutError):
        list(pool.map(remote_calls.hold, [1], timeout=0.05))


async def test_run_in_executor_awaits_a_call(pool: GearmanExecutor) -> None:
    loop = asyncio.get_running_loop()

    results = await asyncio.gather(
        *(loop.run_in_executor(pool, remote_calls.add, n) for n in range(5))
    )

    assert results == [1, 2, 3, 4, 5]


def test_an_exception_arrives_as_itself_with_the_remote_traceback(pool: GearmanExecutor) -> None:
    with pytest.raises(KeyError, match="lost") as caught:
        pool.submit(remote_calls.fail, "lost").result(LONG)

    assert "remote_calls.py" in caught.value.__notes__[0]
    assert "raise KeyError(text)" in caught.value.__notes__[0]


def test_an_exception_that_cannot_travel_arrives_as_text(pool: GearmanExecutor) -> None:
    with pytest.raises(geartrain.JobException, match="one two") as caught:
        pool.submit(remote_calls.odd).result(LONG)

    assert caught.value.type_name == "tests.remote_calls.Odd"
    assert "in odd" in caught.value.remote_traceback


def test_what_cannot_be_pickled_is_said_where_it_happens(
    server: EmbeddedServer, workers: object, pool: GearmanExecutor
) -> None:
    with pytest.raises(geartrain.EncodeError, match="take serializer='cloudpickle'"):
        pool.submit(lambda: 1)
    with pytest.raises(geartrain.JobException, match="the result cannot be pickled"):
        pool.submit(remote_calls.unpicklable).result(LONG)


def test_cloudpickle_carries_lambdas(server: EmbeddedServer, workers: object) -> None:
    pytest.importorskip("cloudpickle")
    base = 40

    with GearmanExecutor(server.address, key=KEY, serializer="cloudpickle") as pool:
        assert pool.submit(lambda n: base + n, 2).result(LONG) == 42


def test_a_call_that_no_worker_has_can_be_cancelled(pool: GearmanExecutor) -> None:
    running = [pool.submit(remote_calls.hold, n) for n in range(2)]
    for _ in running:
        assert remote_calls.held.acquire(timeout=LONG)
    queued = pool.submit(remote_calls.hold, 3)

    assert queued.cancel()
    assert not running[0].cancel()
    remote_calls.gate.set()

    assert [future.result(LONG) for future in running] == [0, 1]
    assert queued.cancelled()
    assert remote_calls.made["hold"] == 2


def test_shutdown_waits_and_may_cancel_what_waits(server: EmbeddedServer, workers: object) -> None:
    remote_calls.gate.clear()
    pool = GearmanExecutor(server.address, key=KEY, max_pending=3)
    futures = [pool.submit(remote_calls.hold, n) for n in range(10)]
    for _ in range(2):
        assert remote_calls.held.acquire(timeout=LONG)

    pool.shutdown(wait=False, cancel_futures=True)
    remote_calls.gate.set()
    pool.shutdown()

    assert [future.result(LONG) for future in futures[:2]] == [0, 1]
    assert all(future.cancelled() for future in futures[2:])
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(remote_calls.add, 1)


def test_max_pending_bounds_what_is_at_the_server(server: EmbeddedServer, workers: object) -> None:
    with GearmanExecutor(server.address, key=KEY, max_pending=2) as pool:
        futures = [pool.submit(remote_calls.add, n) for n in range(50)]
        assert len(pool._out) <= 2
        assert [future.result(LONG) for future in futures] == list(range(1, 51))


def test_no_thread_is_left_when_nothing_is_out(pool: GearmanExecutor) -> None:
    pool.submit(remote_calls.add, 1).result(LONG)

    wait_until(lambda: pool._thread is None)
    assert pool.submit(remote_calls.add, 2).result(LONG) == 3


def test_a_program_that_ends_waits_for_its_calls(server: EmbeddedServer, workers: object) -> None:
    code = f"""
from geartrain.executor import GearmanExecutor
from tests import remote_calls
pool = GearmanExecutor({server.address!r}, key={KEY!r})
pool.submit(remote_calls.add, 1).add_done_callback(lambda future: print(future.result()))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=patient(30)
    )

    assert (result.stdout, result.stderr, result.returncode) == ("2\n", "", 0)


def test_no_server_fails_the_future_and_not_the_program() -> None:
    with GearmanExecutor("127.0.0.1:1", key=KEY) as pool:
        future = pool.submit(remote_calls.add, 1)

        with pytest.raises(geartrain.ServerUnavailable):
            future.result(LONG)


# ── pure ─────────────────────────────────────────────────────────────────────


def test_equal_calls_of_a_pure_executor_are_made_once(
    server: EmbeddedServer, workers: object
) -> None:
    remote_calls.made.clear()
    remote_calls.gate.clear()
    with GearmanExecutor(server.address, key=KEY, pure=True) as pool:
        futures = [pool.submit(remote_calls.hold, 7) for _ in range(5)]
        futures.append(pool.submit(remote_calls.hold, 8))
        for future in futures:
            assert isinstance(future, GearmanFuture)
            task = future.task
            assert task is not None
            task.wait_created(LONG)
        remote_calls.gate.set()

        assert [future.result(LONG) for future in futures] == [7] * 5 + [8]
    assert remote_calls.made["hold"] == 2


# ── signatures ───────────────────────────────────────────────────────────────


class Trap:
    """Unpickling it is noticed."""

    sprung = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _spring, ()


def _spring() -> None:
    Trap.sprung += 1


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_a_call_without_our_signature_is_refused_before_unpickling(
    server: EmbeddedServer, workers: object, key: bytes | None
) -> None:
    data = pickle.dumps((Trap(), (), {}))
    call = data if key is None else hmac.digest(key, data, "sha256") + data

    with (
        geartrain.Client(server.address) as client,
        pytest.raises(geartrain.JobException, match="not signed with our key"),
    ):
        client.do("geartrain.call", call, timeout=LONG)

    assert Trap.sprung == 0


def test_an_answer_is_signed_for_its_own_call_alone() -> None:
    seal = Seal(KEY)
    call, other = seal.call(pow, (2, 3), {}), seal.call(pow, (2, 4), {})
    answer = seal.answer(call, 8)

    assert seal.open_answer(call, answer) == 8
    with pytest.raises(geartrain.DecodeError, match="not signed"):
        seal.open_answer(other, answer)
    with pytest.raises(geartrain.DecodeError, match="not signed"):
        seal.open_call(answer)


def test_a_worker_without_the_right_key_is_not_believed(server: EmbeddedServer) -> None:
    worker = geartrain.Worker(server.address)
    worker.add_function("impostor", lambda job: pickle.dumps(Trap()))
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        with (
            GearmanExecutor(server.address, key=KEY, function="impostor") as pool,
            pytest.raises(geartrain.DecodeError, match="not signed"),
        ):
            pool.submit(pow, 1, 1).result(LONG)
    finally:
        worker.stop()
        thread.join(patient(40))

    assert Trap.sprung == 0


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="a key of 5 bytes"):
        GearmanExecutor(key=b"short")
    with pytest.raises(ConfigurationError, match="max_pending = 0"):
        GearmanExecutor(key=KEY, max_pending=0)
    with pytest.raises(ConfigurationError, match="want pickle or cloudpickle"):
        GearmanExecutor(key=KEY, serializer="dill")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="--key-file"):
        gearman_target(key=None)
