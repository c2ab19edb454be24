"""One task is called, and goes on at once."""

from __future__ import annotations

import asyncio

import pytest

from geartrain.server.whistle import Whistle


async def waiting(whistle: Whistle, seen: list[str], name: str = "on") -> None:
    await whistle.wait()
    seen.append(name)


async def test_whoever_waits_goes_on_before_the_call_returns() -> None:
    loop = asyncio.get_running_loop()
    whistle, seen = Whistle(), list[str]()
    task = asyncio.create_task(waiting(whistle, seen))
    await asyncio.sleep(0)

    def blow() -> None:
        whistle.blow()
        seen.append("returned")

    loop.call_soon(blow)
    await task
    await asyncio.sleep(0)

    assert seen == ["on", "returned"]


async def test_a_task_that_blows_it_pauses_first() -> None:
    whistle, seen = Whistle(), list[str]()
    task = asyncio.create_task(waiting(whistle, seen))
    await asyncio.sleep(0)

    whistle.blow()
    seen.append("returned")
    await task

    assert seen == ["returned", "on"]


async def test_it_is_heard_by_who_comes_later_until_it_is_forgotten() -> None:
    whistle = Whistle()
    whistle.blow()
    await whistle.wait()
    await whistle.wait()

    whistle.forget()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await whistle.wait()


async def test_who_was_cancelled_is_not_called() -> None:
    whistle, seen = Whistle(), list[str]()
    task = asyncio.create_task(waiting(whistle, seen))
    await asyncio.sleep(0)

    assert task.cancel()
    whistle.blow()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == []
    later = asyncio.create_task(waiting(whistle, seen, "later"))
    await later
    assert seen == ["later"]


async def test_who_was_called_and_then_cancelled_is_cancelled() -> None:
    whistle, seen = Whistle(), list[str]()
    task = asyncio.create_task(waiting(whistle, seen))
    await asyncio.sleep(0)

    whistle.blow()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == []
