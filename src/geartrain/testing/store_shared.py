"""What a store promises to several servers: leases, fences, adoption, news."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from geartrain.stores.port import (
    AddResult,
    Count,
    Ending,
    Give,
    JobId,
    LeaseLost,
    QueueKey,
    StoreRefused,
    Where,
)
from geartrain.testing.store_kit import (
    MERGED,
    MINE,
    POOL,
    QUEUE,
    TTL,
    FakeServer,
    MakeStore,
    StoreKit,
)


class SharedContract(StoreKit):
    """Several servers; skipped where ``traits.shared`` is false, but for renewing."""

    # ── leases ───────────────────────────────────────────────────────────────

    async def test_a_heartbeat_gives_time_to_hand_out_jobs(self, one: FakeServer) -> None:
        assert await one.store.heartbeat() > time.monotonic() - 1e9

    async def test_a_lease_says_how_long_it_lives(self, one: FakeServer) -> None:
        lives = TTL if one.store.traits.shared else math.inf
        assert one.lease.ttl == lives
        assert (await one.renew([])).lease.ttl == lives

    async def test_renewing_keeps_what_is_kept(self, one: FakeServer) -> None:
        kept, left, over = one.job(b"kept"), one.job(b"left"), one.job(b"over")
        await one.add(kept, left, over, placement=MINE)
        before = one.lease.id

        renewed = await one.renew([kept.id, one.ids.next()], [Ending(over.id)])

        assert renewed.lease.id > before
        assert list(renewed.kept) == [kept.id]
        assert await one.where(over.id) is None
        await one.store.adopt()
        assert await one.bodies() == [b"left"]

    async def test_renewing_can_end_to_the_dead_set(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        await one.renew([], [Ending(job.id, "timeout", 1)])

        assert await one.where(job.id) is None
        assert await one.store.dead_show(job.id)

    async def test_two_servers_do_not_claim_the_same_job(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        await one.add(*[one.job() for _ in range(300)])
        claimed: list[JobId] = []

        async def drain(server: FakeServer) -> None:
            while await server.count() != Count():
                claimed.extend(job.id for job in await server.claim(limit=20))

        await asyncio.gather(drain(one), drain(two))

        assert len(claimed) == len(set(claimed)) == 300

    async def test_a_job_of_one_server_is_seen_from_the_other(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        job = one.job(unique=b"k")
        await one.add(job, placement=MINE)

        facts = await two.store.find("", id=job.id)

        assert facts
        assert (facts.where, facts.server) == (Where.ELSEWHERE, "one")
        assert await two.claim() == []

    async def test_keys_coalesce_across_servers(self, one: FakeServer, two: FakeServer) -> None:
        job = one.job(unique=b"k")
        await one.add(job, placement=MINE)

        answers = await two.add(two.job(unique=b"k"), placement=MINE)

        assert answers == [AddResult(MERGED, job.id, POOL)]

    async def test_ids_of_two_servers_differ(self, one: FakeServer, two: FakeServer) -> None:
        ids = {server.ids.next() for _ in range(5000) for server in (one, two)}

        assert len(ids) == 10_000

    async def test_one_server_cannot_end_or_give_what_the_other_holds(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        assert await two.end(job.id) == [job.id]
        assert await two.give(Give(job.id)) == [job.id]
        assert await one.where(job.id) is Where.MINE

    async def test_what_one_gives_the_other_claims(self, one: FakeServer, two: FakeServer) -> None:
        jobs = [one.job(b"%d" % n) for n in range(3)]
        await one.add(*jobs, placement=MINE)

        await one.give(*[Give(job.id) for job in jobs])

        assert await two.claim() == jobs

    async def test_an_older_row_given_by_another_is_claimed_in_the_end(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        old, new = one.job(b"old"), one.job(b"new")
        await one.add(old, placement=MINE)
        await one.add(new)
        assert await two.bodies() == [b"new"]

        await one.give(Give(old.id))

        assert await two.bodies() == [b"old"]

    async def test_a_name_is_taken_while_its_server_lives(
        self, one: FakeServer, make_store: MakeStore
    ) -> None:
        second = FakeServer(make_store(), "one")

        with pytest.raises(StoreRefused):
            await second.open()

        await second.store.close()

    async def test_a_name_can_be_taken_over(self, two: FakeServer, make_store: MakeStore) -> None:
        second = FakeServer(make_store(), "two")

        await second.open(takeover=True)

        with pytest.raises(LeaseLost):
            await two.store.heartbeat()
        await second.store.close()

    async def test_closing_gives_everything_back(self, one: FakeServer, two: FakeServer) -> None:
        await one.add(one.job(b"queued"), placement=MINE)

        await one.store.close()

        assert await two.bodies() == [b"queued"]

    async def test_the_jobs_of_the_dead_are_adopted(self, one: FakeServer, two: FakeServer) -> None:
        jobs = [one.job(b"%d" % n) for n in range(3)]
        await one.add(*jobs, placement=MINE)
        await one.store.close(release=False)
        assert await two.store.adopt() == 0
        assert await two.claim() == []

        await self.expire(two.store, one.lease)

        assert await two.store.adopt() == 3
        assert await two.count() == Count(ready=3)
        assert await two.claim() == jobs
        assert await two.store.adopt() == 0

    async def test_a_fenced_server_cannot_add(self, one: FakeServer, two: FakeServer) -> None:
        await self.fence(one, by=two)

        with pytest.raises(LeaseLost):
            await one.add(one.job(b"late"))

        assert await two.count() == Count()

    async def test_a_fenced_server_cannot_end(self, one: FakeServer, two: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)
        await self.fence(one, by=two)

        with pytest.raises(LeaseLost):
            await one.end(job.id)

        assert await two.claim() == [job]

    async def test_a_fenced_server_cannot_claim(self, one: FakeServer, two: FakeServer) -> None:
        await two.add(two.job())
        await self.fence(one, by=two)

        with pytest.raises(LeaseLost):
            await one.claim()

        assert await two.count() == Count(ready=1)

    async def test_a_fenced_server_has_no_time_left(self, one: FakeServer, two: FakeServer) -> None:
        await self.fence(one, by=two)

        with pytest.raises(LeaseLost):
            await one.store.heartbeat()

    async def test_a_fenced_server_gets_back_what_nobody_took(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        jobs = [one.job(b"%d" % n) for n in range(3)]
        await one.add(*jobs, placement=MINE)
        await self.fence(one, by=two)
        (taken,) = await two.claim(limit=1)

        renewed = await one.renew([job.id for job in jobs], [])

        assert taken == jobs[0]
        assert sorted(renewed.kept) == [job.id for job in jobs[1:]]
        assert await one.where(jobs[1].id) is Where.MINE
        assert await two.count() == Count()

    async def test_an_end_after_the_fence_counts_if_nobody_took_the_job(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        taken, left = one.job(b"taken"), one.job(b"left")
        await one.add(taken, left, placement=MINE)
        await self.fence(one, by=two)
        await two.claim(limit=1)

        await one.renew([], [Ending(taken.id), Ending(left.id)])

        assert await two.where(taken.id) is Where.MINE
        assert await two.where(left.id) is None
        assert await two.count() == Count()

    async def test_due_happens_once_for_all(self, one: FakeServer, two: FakeServer) -> None:
        await one.add(*[one.job(run_at=float(n)) for n in range(50)])

        dues = await asyncio.gather(*[s.store.due(100.0, 20) for s in (one, two) for _ in "123"])

        assert sum(sum(due.moved.values()) for due in dues) == 50
        assert await two.count() == Count(ready=50)

    async def test_news_of_the_pool_reach_the_other_server(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        if not one.store.traits.news:
            pytest.skip("tells no news")
        heard: asyncio.Queue[QueueKey] = asyncio.Queue()
        two.store.on_news(heard.put_nowait)

        # News are hints: the first may be told before the other one listens.
        async with asyncio.timeout(30):
            while heard.empty():
                await one.add(one.job())
                await asyncio.sleep(0.05)

        assert heard.get_nowait() == QUEUE

    async def test_the_holder_of_a_job_is_asked(self, one: FakeServer, two: FakeServer) -> None:
        if not one.store.traits.news:
            pytest.skip("tells no news")
        held, pooled = one.job(b"held"), one.job(b"pooled")
        await one.add(held, placement=MINE)
        await one.add(pooled)
        asked: list[bytes] = []

        async def answer(question: bytes) -> bytes:
            asked.append(question)
            return question[::-1] + b"\0\xff"

        one.store.on_asked(answer)

        async def answered() -> bytes:
            # A letter may get lost while a server begins to listen.
            while (said := await two.store.ask(held.id, b"\0why")) is None:
                pass
            return said

        assert await asyncio.wait_for(answered(), 30) == b"yhw\0\0\xff"
        assert asked[0] == b"\0why"
        count = len(asked)
        assert await one.store.ask(held.id, b"mine") is None
        assert await two.store.ask(pooled.id, b"nobody's") is None
        assert len(asked) == count

    async def test_a_holder_that_does_not_answer_is_not_waited_for(
        self, one: FakeServer, two: FakeServer
    ) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        assert await asyncio.wait_for(two.store.ask(job.id, b"why"), 30) is None
