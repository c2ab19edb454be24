"""A lane: calls in a thread of its own, and what they answer."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from geartrain.stores.lane import Answer, Lane


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane("test-lane")
    lane.start()
    yield lane
    lane.stop()


async def test_calls_are_made_in_order_in_one_other_thread(lane: Lane) -> None:
    seen: list[int] = []

    def note(n: int) -> str:
        seen.append(n)
        return threading.current_thread().name

    answers = [lane.call(lambda n=n: note(n)) for n in range(100)]  # type: ignore[misc]

    assert {await answer for answer in answers} == {"test-lane"}
    assert seen == list(range(100))


async def test_call_is_made_here_only_while_no_other_is_under_way(lane: Lane) -> None:
    going, go_on = threading.Event(), threading.Event()

    def name() -> str:
        return threading.current_thread().name

    def hold() -> None:
        going.set()
        go_on.wait()

    def fail() -> None:
        raise OSError("the disk")

    here = threading.current_thread().name
    assert await lane.call(name, here=True) == here
    with pytest.raises(OSError, match="the disk"):
        await lane.call(fail, here=True)
    held = lane.call(hold)
    behind = lane.call(name, here=True)
    go_on.set()

    assert await behind == "test-lane"
    await held
    assert await lane.call(name, here=True) == here


async def test_what_a_call_raises_is_raised_where_it_is_awaited(lane: Lane) -> None:
    def fail() -> None:
        raise OSError("the disk")

    answer = lane.call(fail)

    with pytest.raises(OSError, match="the disk"):
        await answer
    with pytest.raises(OSError, match="the disk"):
        answer.result()
    await asyncio.sleep(0)
    with pytest.raises(asyncio.InvalidStateError, match="whoever waited for it was told"):
        answer.result()
    assert await lane.call(lambda: 1) == 1  # and the lane goes on


async def test_whoever_waits_goes_on_before_anything_else_in_the_loop(lane: Lane) -> None:
    answer: Answer[int] = Answer(asyncio.get_running_loop())
    order: list[str] = []

    async def wait() -> None:
        await answer
        order.append("waited")

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)

    asyncio.get_running_loop().call_soon(answer.settle)
    asyncio.get_running_loop().call_soon(order.append, "queued before")
    await waiting

    assert order == ["waited", "queued before"]


async def test_task_cancelled_meanwhile_is_cancelled_when_the_answer_has_come(lane: Lane) -> None:
    going, go_on = threading.Event(), threading.Event()
    found: list[int] = []

    def slow() -> int:
        going.set()
        go_on.wait()
        return 7

    async def wait() -> None:
        answer = lane.call(slow)
        try:
            await answer
        except asyncio.CancelledError:
            found.append(answer.result())
            raise

    waiting = asyncio.create_task(wait())
    await asyncio.to_thread(going.wait)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert found == [7]


async def test_answer_works_where_asyncio_wants_a_future(lane: Lane) -> None:
    go_on = threading.Event()
    held = lane.call(go_on.wait)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.shield(_of(held))
    with pytest.raises(asyncio.InvalidStateError):
        held.result()
    go_on.set()

    assert list(await asyncio.gather(_of(lane.call(lambda: 1)), _of(lane.call(lambda: 2)))) == [
        1,
        2,
    ]
    assert held.done()
    assert held.result()


async def test_callbacks_are_called_once_and_can_be_taken_back() -> None:
    loop = asyncio.get_running_loop()
    answer: Answer[str] = Answer(loop)
    heard: list[str] = []

    def note(one: Answer[str]) -> None:
        heard.append(one.result())

    def never(one: Answer[str]) -> None:
        raise AssertionError

    answer.add_done_callback(note)
    answer.add_done_callback(never)
    assert answer.remove_done_callback(never) == 1
    assert not answer.cancel()
    answer.value = "a"
    answer.settle()
    answer.add_done_callback(note)  # too late: with the next round
    assert heard == ["a"]
    await asyncio.sleep(0)

    assert heard == ["a", "a"]
    assert answer.get_loop() is loop


async def test_lane_does_not_keep_what_it_was_given() -> None:
    """A body of some hundred MB would stay until the next call."""
    lane = Lane("test-lane")
    lane.start()

    class Body:
        gone = threading.Event()

        def __del__(self) -> None:
            self.gone.set()

    body = Body()
    answer = lane.call(lambda body=body: None)  # type: ignore[misc]
    del body
    await answer
    del answer

    assert await asyncio.to_thread(Body.gone.wait, 5.0)
    lane.stop()


async def test_error_of_a_call_leaves_no_circle(lane: Lane) -> None:
    """gearmand collects none, and with the frames that a traceback knows would stay what is in them."""

    class LostError(Exception):
        pass

    def fail() -> None:
        raise LostError

    async def ask() -> None:
        answer = lane.call(fail)
        await answer

    gc.disable()
    try:
        gone = []
        for call in (ask, lambda: asyncio.shield(asyncio.ensure_future(ask()))):
            try:
                await call()
            except LostError as error:
                gone.append(weakref.ref(error))
            await lane.call(int)  # the lane has let go of the call before
            await asyncio.sleep(0)
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


async def _of(answer: Answer[int] | Answer[bool]) -> int:
    return await answer
