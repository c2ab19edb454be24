"""Typed functions from asyncio: called with ``aio``, done by ``AsyncWorker``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import geartrain
from geartrain.testing import EmbeddedServer
from geartrain.typed.app import App
from geartrain.worker.aio import AsyncWorker
from geartrain.worker.job import Job, Status, current_job

Ready = Callable[[App], AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["inline", "served"])
def ready(request: pytest.FixtureRequest, server: EmbeddedServer) -> Ready:
    """``async with ready(app):`` once inline, once through a server."""

    @asynccontextmanager
    async def inline(app: App) -> AsyncIterator[None]:
        with app.inline():
            yield

    @asynccontextmanager
    async def served(app: App) -> AsyncIterator[None]:
        app.servers = server.address
        worker = AsyncWorker(server.address, concurrency=4)
        app.register(worker)
        working = asyncio.create_task(worker.work())
        try:
            async with app:
                yield
        finally:
            worker.stop()
            await working
            await worker.close()

    return inline if request.param == "inline" else served


def make() -> App:
    app = App()

    @app.function
    async def double(n: int) -> int:
        current_job().send_status(n, n)
        return 2 * n

    @app.function
    def add(a: int, b: int = 1) -> int:
        current_job().send_status(1, 1)
        return a + b

    @app.function
    def count(n: int) -> Generator[Any, None, int]:
        for i in range(n):
            yield i
            yield Status(i, n)
        return n

    @app.function
    async def boom() -> None:
        raise KeyError("missing")

    return app


async def test_both_kinds_of_function_are_awaited(ready: Ready) -> None:
    app = make()
    double, add, count = (app.functions[name].aio for name in ("double", "add", "count"))

    async with ready(app):
        assert await double.do(21) == 42
        assert await add.do(1, b=3) == 4
        assert await count.do(3) == 3
        assert await (await double.submit(1)).result() == 2
        assert await double.do_background(1)
        assert (await (await add.submit_background(1)).wait_created()).server
        assert await add.options(unique="k", timeout=20).do(1) == 2


async def test_map_is_an_async_iterator(ready: Ready) -> None:
    app = make()
    add = app.functions["add"].aio

    async with ready(app):
        assert [n async for n in add.map(range(20), window=3)] == list(range(1, 21))
        assert [n async for n in add.starmap([(1, 1), (2, 2)])] == [2, 4]
        unordered = [n async for n in add.map(range(20), window=3, ordered=False)]
        assert sorted(unordered) == list(range(1, 21))


async def test_errors_arrive_as_from_a_plain_call(ready: Ready) -> None:
    app = make()

    async with ready(app):
        with pytest.raises(geartrain.JobException, match="missing") as caught:
            await app.functions["boom"].aio.do()
        with pytest.raises(TypeError):
            await app.functions["add"].aio.do()

    assert caught.value.type_name == "KeyError"


async def test_async_middleware_sees_the_end_of_both_kinds(ready: Ready) -> None:
    app = make()
    story: list[Any] = []

    @app.middleware
    async def note(job: Job, call_next: Callable[[Job], Any]) -> Any:
        result = await call_next(job)
        story.append((job.function, result))
        return result

    async with ready(app):
        await app.functions["double"].aio.do(1)
        await app.functions["add"].aio.do(1)
        assert await app.functions["count"].aio.do(2) == 2

    assert story == [("double", 2), ("add", 2), ("count", 2)]


async def test_async_functions_run_side_by_side(server: EmbeddedServer) -> None:
    app = App(servers=server.address)
    together = asyncio.Barrier(3)

    @app.function
    async def meet() -> int:
        async with asyncio.timeout(20):
            return await together.wait()

    worker = AsyncWorker(server.address, concurrency=3)
    app.register(worker)
    working = asyncio.create_task(worker.work())
    async with app:
        places = await asyncio.gather(*(meet.aio.do() for _ in range(3)))
    worker.stop()
    await working

    assert sorted(places) == [0, 1, 2]


async def test_a_job_on_a_loop_has_a_client_for_it_inline_too() -> None:
    app = App()

    @app.function
    async def inner(n: int) -> int:
        return n + 1

    @app.function
    async def outer(n: int) -> int:
        data = await geartrain.current_job().aio_client.do("inner", b'{"n": %d}' % n)
        return int(data)

    @app.function
    def plain(n: int) -> int:
        return int(geartrain.current_job().client.do("inner", b'{"n": %d}' % n))

    with app.inline():
        assert await outer.aio.do(1) == 2
    with app.inline():
        assert await asyncio.to_thread(plain.do, 1) == 2
