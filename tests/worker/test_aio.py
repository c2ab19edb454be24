"""AsyncWorker against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from geartrain.client.aio import AsyncClient
from geartrain.client.events import WorkComplete, WorkData, WorkStatus
from geartrain.errors import ConfigurationError, Fail, JobException, JobFailed, Requeue, StopWorker
from geartrain.worker.aio import AsyncWorker
from geartrain.worker.job import Job, Status, current_job
from tests.client.servers import KINDS, Server
from tests.support import free_port, patient


@pytest.fixture
async def aclient(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(str(server), timeout=20) as client:
        yield client


@contextlib.asynccontextmanager
async def running(worker: AsyncWorker) -> AsyncIterator[AsyncWorker]:
    work = asyncio.ensure_future(worker.work())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(patient(40)):
            await work
            await worker.close()


async def reverse(job: Job) -> bytes:
    return job.workload[::-1]


@pytest.fixture
def worker(server: Server) -> AsyncWorker:
    worker = AsyncWorker(str(server), worker_id="async worker")
    worker.add_function("reverse", reverse)
    return worker


async def test_coroutines_generators_and_plain_functions(
    aclient: AsyncClient, worker: AsyncWorker
) -> None:
    @worker.function
    async def lines(job: Job) -> AsyncIterator[object]:
        for n, line in enumerate(job.text().split(), 1):
            yield line
            yield Status(n, 2)

    @worker.function("in-thread", codec="json")
    def in_thread(job: Job) -> list[object]:
        assert current_job() is job
        job.send_data(b"data ")
        return [threading.current_thread() is threading.main_thread(), job.args]

    @worker.function
    def plain_lines(job: Job) -> Iterator[object]:
        yield from (b"a", Status(1, 1), b"b")

    async with running(worker):
        assert await aclient.do("reverse", "ab") == b"ba"
        task = await aclient.submit("lines", "a b")
        assert [event async for event in task.events()][1:] == [
            WorkData(b"a"),
            WorkStatus(1, 2),
            WorkData(b"b"),
            WorkStatus(2, 2),
            WorkComplete(b""),
        ]
        assert await aclient.do("in-thread", "7") == b"data [false,7]"
        assert await aclient.do("plain_lines") == b"ab"


async def test_failures(aclient: AsyncClient, worker: AsyncWorker) -> None:
    @worker.function
    async def bad(job: Job) -> None:
        await asyncio.sleep(0)
        raise Fail(job.text()) if job.workload else KeyError("k")

    def bad_thread(job: Job) -> None:
        raise Fail

    worker.add_function("bad_thread", bad_thread)
    async with running(worker):
        with pytest.raises(JobException) as caught:
            await aclient.do("bad")
        assert caught.value.type_name == "KeyError"
        with pytest.raises(JobException, match=r"^why$"):
            await aclient.do("bad", "why")
        with pytest.raises(JobFailed):
            await aclient.do("bad_thread")
        assert await aclient.do("reverse", "ab") == b"ba"


@pytest.mark.parametrize("multiplex", [False, True])
async def test_jobs_at_once(server: Server, aclient: AsyncClient, multiplex: bool) -> None:
    meeting = asyncio.Barrier(8)
    worker = AsyncWorker(str(server), concurrency=8, multiplex=multiplex)

    @worker.function
    async def meet(job: Job) -> str:
        return str(await meeting.wait())

    async with running(worker):
        tasks = [await aclient.submit("meet") for _ in range(8)]
        results = await aclient.gather(tasks, timeout=20)
    assert sorted(results) == [b"%d" % n for n in range(8)]


async def test_burst_max_jobs_max_time(aclient: AsyncClient, worker: AsyncWorker) -> None:
    for _ in range(7):
        await aclient.do_background("reverse")
    assert await worker.work(max_jobs=3) == 3
    assert await worker.work(burst=True) == 4
    assert await worker.work(burst=True) == 0
    assert await worker.work(max_time=0.05) == 0


async def test_requeue_and_stop(aclient: AsyncClient, worker: AsyncWorker) -> None:
    runs: list[int] = []

    @worker.function
    async def shy(job: Job) -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Requeue
        raise StopWorker("second time")

    task = await aclient.submit("shy")
    assert await worker.work() == 2
    assert await task == b"second time"


async def test_grab(aclient: AsyncClient, worker: AsyncWorker) -> None:
    async with worker:
        assert await worker.grab(0.05) is None
        task = await aclient.submit("reverse", "ab")
        job = await worker.grab(20)
        assert job is not None
        with job:
            job.send_complete(job.workload.upper())
        assert await task == b"AB"
        task = await aclient.submit("reverse", "ab")
        assert await worker.work_one(20)
        assert await task == b"ba"
        assert not await worker.work_one(0.01)


async def test_graceful_stop_runs_nothing_twice(aclient: AsyncClient, server: Server) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    runs: list[bytes] = []
    worker = AsyncWorker(str(server), concurrency=2)

    @worker.function
    async def slow(job: Job) -> str:
        runs.append(job.workload)
        if len(runs) == 2:
            started.set()
        await go_on.wait()
        return "finished"

    tasks = [await aclient.submit("slow", f"{n}") for n in range(4)]
    work = asyncio.ensure_future(worker.work())
    await started.wait()
    worker.stop()
    await asyncio.sleep(0)
    go_on.set()
    assert await work == 2
    done, left = await aclient.wait(tasks, timeout=0.2)
    assert [task.outcome() for task in done] == [b"finished"] * 2
    assert len(left) == 2
    assert await worker.work(burst=True) == 2
    assert sorted(runs) == [b"0", b"1", b"2", b"3"]


async def test_stop_now_gives_jobs_back(aclient: AsyncClient, worker: AsyncWorker) -> None:
    started = asyncio.Event()

    @worker.function
    async def endless(job: Job) -> None:
        started.set()
        await asyncio.sleep(3600)

    task = await aclient.submit("endless")
    work = asyncio.ensure_future(worker.work())
    await started.wait()
    worker.stop(now=True)
    assert await work == 0
    async with asyncio.timeout(patient(10)):
        while (await task.status()).running:
            await asyncio.sleep(0.01)
    await task.cancel()


async def test_functions_come_while_working(aclient: AsyncClient, worker: AsyncWorker) -> None:
    async with running(worker):
        assert await aclient.do("reverse", "ab") == b"ba"
        task = await aclient.submit("learnt-later-aio")
        await task.wait_created(20)
        worker.add_function("learnt-later-aio", reverse, timeout=30)
        assert await task == b""


async def test_several_servers_and_a_restart(server: Server) -> None:
    with Server(KINDS[0]) as other:
        worker = AsyncWorker([str(server), str(other), ("127.0.0.1", free_port())])
        worker.add_function("reverse", reverse, timeout=30)
        async with (
            running(worker),
            AsyncClient(str(server), timeout=20) as one,
            AsyncClient(str(other), timeout=20, retry=3) as two,
        ):
            for _ in range(5):
                assert await one.do("reverse", "ab") == b"ba"
                assert await two.do("reverse", "cd") == b"dc"
            tasks = [await one.submit("reverse", "ab") for _ in range(20)]
            others = [await two.submit("reverse", "ab") for _ in range(20)]
            assert await one.gather(tasks) == await two.gather(others) == [b"ba"] * 20
            other.stop()
            other.start()
            assert await two.do("reverse", "ef") == b"fe"
            assert await one.do("reverse", "gh") == b"hg"


async def test_job_that_went_with_its_connection_is_dropped_and_run_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    runs: list[str] = []
    with Server(KINDS[0]) as server:
        worker = AsyncWorker(str(server))
        worker.add_function("reverse", reverse)

        @worker.function
        async def slow(job: Job) -> str:
            runs.append(job.handle)
            started.set()
            await go_on.wait()
            return f"run {len(runs)}"

        async with running(worker), AsyncClient(str(server), timeout=20) as client:
            task = await client.submit("slow", retry=3)
            await started.wait()
            server.stop()
            server.start()
            assert await client.do("reverse", "ab", retry=3) == b"ba"
            go_on.set()
            assert await task == b"run 2"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_mistakes(server: Server) -> None:
    with pytest.raises(ConfigurationError):
        AsyncWorker(concurrency=0)
    with pytest.raises(ConfigurationError, match="without functions"):
        await AsyncWorker(str(server)).work()


async def test_a_job_has_a_client_for_further_jobs(
    aclient: AsyncClient, worker: AsyncWorker
) -> None:
    worker.concurrency = 3

    @worker.function
    async def awaits(job: Job) -> bytes:
        return await job.aio_client.do("reverse", job.workload)

    @worker.function
    def waits(job: Job) -> bytes:
        return job.client.do("reverse", job.workload)

    @worker.function
    async def blocks(job: Job) -> bytes:
        return job.client.do("reverse", job.workload)

    async with running(worker):
        assert await aclient.do("awaits", b"ab") == b"ba"
        assert await aclient.do("waits", b"ab") == b"ba"
        with pytest.raises(JobException, match="would keep the event loop waiting"):
            await aclient.do("blocks")


async def test_signals_can_be_left_to_the_program(server: Server) -> None:
    loop = asyncio.get_running_loop()
    worker = AsyncWorker(str(server))
    worker.add_function("left-alone", reverse)

    assert await worker.work(burst=True, signals=False) == 0
    asked: list[int] = []
    loop.add_signal_handler = lambda number, call: asked.append(number)  # type: ignore[assignment,misc]
    try:
        await worker.work(burst=True, signals=False)
        assert not asked
        await worker.work(burst=True)
        assert asked
    finally:
        del loop.add_signal_handler
