"""AsyncClient against real servers: the same names, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from geartrain.client.aio import AsyncClient
from geartrain.client.aio_admin import AsyncAdminClient
from geartrain.client.aio_waiting import AsyncTask
from geartrain.client.events import JobCreated, WorkComplete, WorkData, WorkStatus, WorkWarning
from geartrain.errors import (
    JobException,
    JobFailed,
    JobLost,
    NoWorkers,
    ResultTimeout,
    ServerError,
    ServerUnavailable,
)
from geartrain.retry import Retry
from tests.client.servers import KINDS, RawWorker, Server, raw_worker
from tests.support import free_port, patient


@pytest.fixture
async def aclient(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(str(server), timeout=20) as client:
        yield client


async def test_do(aclient: AsyncClient, worker: RawWorker) -> None:
    assert await aclient.do("reverse", "abc") == b"cba"
    assert await aclient.do("chatty") == b"abc"
    assert await (await aclient.submit("reverse", bytes(3_000_000) + b"x")) == b"x" + bytes(
        3_000_000
    )


async def test_events_and_data(aclient: AsyncClient, worker: RawWorker) -> None:
    task = await aclient.submit("chatty")
    events = [event async for event in task.events()]

    assert isinstance(events[0], JobCreated)
    assert events[1:] == [
        WorkData(b"a"),
        WorkWarning(b"careful"),
        WorkStatus(1, 4),
        WorkData(b"b"),
        WorkComplete(b"c"),
    ]
    assert [piece async for piece in (await aclient.submit("chatty")).data()] == [b"a", b"b", b"c"]


async def test_failures_raise(aclient: AsyncClient, worker: RawWorker) -> None:
    with pytest.raises(JobException, match="boom: x"):
        await aclient.do("boom", "x")
    with pytest.raises(JobFailed):
        await aclient.do("fail")
    assert isinstance(await (await aclient.submit("boom")).exception(), JobException)


async def test_callbacks(aclient: AsyncClient, worker: RawWorker) -> None:
    heard: list[object] = []
    task = await aclient.submit(
        "chatty",
        on_data=lambda t, d: heard.append(d),
        on_complete=lambda t: heard.append("over"),
    )
    task.add_done_callback(heard.append)
    assert await task == b"c"
    await asyncio.sleep(0)
    assert heard == [b"a", b"b", "over", task]


async def test_timeouts(aclient: AsyncClient) -> None:
    task = await aclient.submit("slow-to-come", timeout=0.02)
    with pytest.raises(ResultTimeout):
        await task
    assert (await task.status()).known
    assert await task.cancel()
    with pytest.raises(JobFailed):
        await task.result(20)


async def test_many(aclient: AsyncClient, worker: RawWorker) -> None:
    texts = [f"{n:03}" for n in range(300)]
    wanted = [text[::-1].encode() for text in texts]

    assert [r async for r in aclient.map("reverse", texts, window=10)] == wanted
    unordered = [r async for r in aclient.map("reverse", texts, window=10, ordered=False)]
    assert sorted(unordered) == sorted(wanted)
    tasks = [await aclient.submit("reverse", text) for text in texts]
    never = await aclient.submit("nobody-does-this")
    done, left = await aclient.wait([*tasks, never], timeout=patient(2.0))
    assert (done, left) == (set(tasks), {never})
    assert await aclient.gather(tasks) == wanted
    assert {t async for t in aclient.as_completed(tasks)} == set(tasks)
    with pytest.raises(ResultTimeout):
        await aclient.gather([never], timeout=0.02)
    await never.cancel()


async def test_events_of_several_tasks(aclient: AsyncClient, worker: RawWorker) -> None:
    tasks = [await aclient.submit("chatty") for _ in range(2)]
    heard = [pair async for pair in aclient.events(tasks, timeout=20)]
    for task in tasks:
        assert len([1 for t, _ in heard if t is task]) == 6


async def test_task_set(aclient: AsyncClient, worker: RawWorker) -> None:
    async with aclient.task_set() as ts:
        good = await ts.submit("reverse", "ab")
    assert good.outcome() == b"ba"
    with pytest.raises(ExceptionGroup) as caught:
        async with aclient.task_set() as ts:
            await ts.submit("reverse", "ab")
            await ts.submit("fail")
    assert [type(e) for e in caught.value.exceptions] == [JobFailed]


async def test_background_and_status(aclient: AsyncClient, server: Server) -> None:
    handle = await aclient.do_background("later", unique="one-aio", priority="high")
    assert handle.server == server.address
    assert (await aclient.status(handle)).known
    assert (await aclient.status(unique="one-aio")).known
    assert await aclient.cancel(handle)
    assert not await aclient.cancel("H:no:1")
    assert await aclient.ping() > 0


async def test_many_coroutines_share_one_client(aclient: AsyncClient, worker: RawWorker) -> None:
    async def one(text: str) -> bool:
        return await aclient.do("reverse", text) == text[::-1].encode()

    assert all(await asyncio.gather(*(one(f"{n}") for n in range(200))))


async def test_cancelled_waiter_leaves_the_task_alone(
    aclient: AsyncClient, worker: RawWorker
) -> None:
    task: AsyncTask[bytes] = await aclient.submit("nobody-does-this")
    waiter = asyncio.ensure_future(task.result())
    await task.wait_created(20)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert await aclient.do("reverse", "ab") == b"ba"
    assert await task.cancel()


async def test_require_worker(server: Server, worker: RawWorker) -> None:
    async with AsyncClient(str(server), require_worker=True) as client:
        assert await client.do("reverse", "ab") == b"ba"
        with pytest.raises(NoWorkers):
            await client.do("nobody")


async def test_dead_servers(server: Server, worker: RawWorker) -> None:
    dead = ("127.0.0.1", free_port())
    async with AsyncClient([dead, ("127.0.0.1", server.port)], routing="ordered") as client:
        assert await client.do("reverse", "ab", timeout=20) == b"ba"
        assert await client.ping() > 0
    async with AsyncClient([dead]) as client:
        with pytest.raises(ServerUnavailable):
            await client.do("reverse")


async def test_lost_and_retried() -> None:
    with Server(KINDS[0]) as server:
        async with AsyncClient(str(server)) as client:
            lost = await client.submit("reverse", "ab")
            retry = Retry(50, backoff=0.02, factor=1.2, max_backoff=0.3)
            kept = await client.submit("reverse", "cd", retry=retry)
            await lost.wait_created(20)
            await kept.wait_created(20)
            server.stop()
            with pytest.raises(JobLost):
                await lost.result(20)
            server.start()
            with raw_worker(server, reverse=lambda w, h, d: w.complete(h, d[::-1])):
                assert await kept.result(20) == b"dc"


async def test_close_ends_all_that_wait(server: Server) -> None:
    client = AsyncClient(str(server))
    task = await client.submit("nobody-does-this")
    await task.wait_created(20)
    waiter = asyncio.ensure_future(task.exception())
    await asyncio.sleep(0)
    await client.close()
    assert isinstance(await waiter, JobLost)
    with pytest.raises(ServerUnavailable):
        await client.do("reverse")


async def test_admin(server: Server, worker: RawWorker) -> None:
    async with AsyncAdminClient(str(server)) as admin:
        assert any("reverse" in info.functions for info in await admin.workers())
        assert await admin.version()
        assert await admin.verbose()
        assert await admin.getpid() > 0
        assert await admin.ping() > 0
        await admin.create_function("brand-new")
        await admin.max_queue("brand-new", 3)
        assert any(s.function == "brand-new" for s in await admin.status())
        assert any(s.function == "brand-new" for s in await admin.priority_status())
        await admin.drop_function("brand-new")
        await admin.show_jobs()
        await admin.show_unique_jobs()
        assert not await admin.cancel_job("H:no:1")
        with pytest.raises(ServerError):
            await admin.command("frobnicate")
    async with AsyncAdminClient(f"127.0.0.1:{free_port()}") as admin:
        with pytest.raises(ServerUnavailable):
            await admin.status()


@pytest.mark.parametrize("ordered", [True, False])
async def test_map_waits_no_longer_than_it_may(aclient: AsyncClient, ordered: bool) -> None:
    with pytest.raises(ResultTimeout):
        _ = [
            one
            async for one in aclient.map(
                "nobody-does-this", [b"a", b"b"], ordered=ordered, timeout=0.1
            )
        ]
