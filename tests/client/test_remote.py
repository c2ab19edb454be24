"""Functions that nobody declared in Python, asked for values through a codec."""

from __future__ import annotations

import pytest

from geartrain import AsyncClient, Client, CodecError, JobException
from tests.client.servers import RawWorker, Server


def test_values_go_through_the_codec_both_ways(client: Client, worker: RawWorker) -> None:
    reverse = client.function("reverse", codec="text")

    assert reverse.do("ab") == "ba"
    assert reverse.submit("abc", timeout=20).result() == "cba"
    assert list(reverse.map(["ab", "cd"], window=1)) == ["ba", "dc"]
    assert sorted(reverse.map(["ab", "cd"], ordered=False)) == ["ba", "dc"]
    assert client.status(reverse.do_background("ef", unique="k")) is not None
    assert reverse.submit_background("gh").wait_created(20)
    assert repr(reverse) == "<RemoteFunction reverse (text)>"


def test_what_is_no_value_of_the_codec_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(CodecError, match="is no text"):
        client.function("reverse", codec="text").do(3)


async def test_values_go_through_the_codec_with_asyncio(server: Server, worker: RawWorker) -> None:
    async with AsyncClient(str(server), timeout=20) as client:
        reverse = client.function("reverse", codec="text")

        assert await reverse.do("ab") == "ba"
        assert await (await reverse.submit("abc")).result() == "cba"
        assert [text async for text in reverse.map(["ab", "cd"], window=1)] == ["ba", "dc"]
        assert {text async for text in reverse.map(["ab", "cd"], ordered=False)} == {"ba", "dc"}
        assert await reverse.do_background("ef", unique="k")
        assert await (await reverse.submit_background("gh")).wait_created(20)
        with pytest.raises(JobException):
            await client.function("boom", codec="text").do("x")


async def test_a_set_of_tasks_can_be_gone_through(server: Server, worker: RawWorker) -> None:
    async with AsyncClient(str(server), timeout=20) as client:
        async with client.task_set() as tasks:
            for text in ("ab", "cd"):
                await tasks.submit("reverse", text)

        assert len(tasks) == 2
        assert [await task for task in tasks] == [b"ba", b"dc"]
