"""What every store promises about reading: claims, time, counts, the dead, restart."""

from __future__ import annotations

import asyncio
import time

import pytest

from geartrain.stores.ids import made_at
from geartrain.stores.port import (
    FIRST,
    Add,
    AddResult,
    Ambiguous,
    Count,
    Ending,
    Give,
    JobId,
    QueueKey,
    StoreDown,
    Where,
)
from geartrain.testing.store_kit import (
    MERGED,
    MINE,
    POOL,
    QUEUE,
    STORED,
    FakeServer,
    Servers,
    StoreKit,
)


class ReadingContract(StoreKit):
    """One server reads what it wrote, now and after a restart."""

    # ── claiming ─────────────────────────────────────────────────────────────

    async def test_the_oldest_come_first(self, one: FakeServer) -> None:
        jobs = [one.job(b"%d" % n) for n in range(5)]
        await one.add(*jobs[3:])
        await one.add(*jobs[:3])

        assert await one.bodies() == [b"0", b"1", b"2", b"3", b"4"]

    async def test_an_older_row_that_comes_late_is_still_claimed(self, one: FakeServer) -> None:
        older, newer, newest = one.job(b"older"), one.job(b"newer"), one.job(b"newest")
        await one.add(newer)
        assert await one.bodies() == [b"newer"]

        await one.add(newest, older)

        assert await one.bodies() == [b"older", b"newest"]

    async def test_no_more_than_asked_for(self, one: FakeServer) -> None:
        await one.add(*[one.job(b"%d" % n) for n in range(5)])

        assert [j.body for j in await one.claim(limit=2)] == [b"0", b"1"]
        assert [j.body for j in await one.claim(limit=2)] == [b"2", b"3"]
        assert [j.body for j in await one.claim(limit=2)] == [b"4"]
        assert await one.claim(limit=2) == []

    async def test_claiming_stops_at_so_many_bytes(self, one: FakeServer) -> None:
        await one.add(*[one.job(b"x" * 100) for _ in range(5)])

        assert len(await one.store.claim(QUEUE, 10, 250)) == 2
        assert len(await one.store.claim(QUEUE, 10, 1)) == 1
        assert len(await one.store.claim(QUEUE, 10, 200)) == 2

    async def test_large_bodies_can_be_left_where_they_are(self, one: FakeServer) -> None:
        small, large = one.job(b"s"), one.job(b"L" * 5000)
        await one.add(large, small)

        claimed = await one.store.claim(QUEUE, 10, 100, max_body=1000)

        assert [job.body for job in sorted(claimed, key=lambda job: job.id)] == [b"s", None]
        assert await one.store.load([large.id]) == {large.id: large.body}

    async def test_queues_are_separate(self, one: FakeServer) -> None:
        queues = [
            QUEUE,
            QUEUE._replace(priority=0),
            QUEUE._replace(function=b"other"),
            QUEUE._replace(tenant="acme"),
        ]
        for queue in queues:
            await one.add(one.job(repr(queue).encode(), queue=queue))

        for queue in queues:
            assert await one.bodies(queue) == [repr(queue).encode()]

    async def test_an_unknown_queue_is_an_empty_queue(self, one: FakeServer) -> None:
        assert await one.claim(QueueKey("nobody", b"knows", 1)) == []

    async def test_what_is_claimed_is_not_claimed_twice(self, one: FakeServer) -> None:
        await one.add(*[one.job() for _ in range(200)])

        pages = await asyncio.gather(*[one.claim(limit=30) for _ in range(10)])

        ids = [job.id for page in pages for job in page]
        assert len(ids) == len(set(ids)) == 200

    async def test_claims_beside_commits_neither_lose_nor_repeat(self, one: FakeServer) -> None:
        total = 600
        seen: list[JobId] = []

        async def fill() -> None:
            for n in range(0, total, 20):
                placement = POOL if n % 40 else MINE
                jobs = [one.job(b"%d" % i) for i in range(n, n + 20)]
                await one.add(*jobs, placement=placement)
                if placement is MINE:
                    await one.give(*[Give(job.id) for job in jobs])

        async def drain() -> None:
            while len(seen) < total:
                page = await one.claim(limit=17)
                await one.give(*[Give(job.id) for job in page[10:]])
                seen.extend(job.id for job in page[:10])
                await one.end(*[job.id for job in page[:10]])

        await asyncio.gather(fill(), drain())

        assert len(seen) == len(set(seen)) == total
        assert await one.count() == Count()

    async def test_load_leaves_out_what_is_gone(self, one: FakeServer) -> None:
        job = one.job(b"here")
        await one.add(job, placement=MINE)

        assert await one.store.load([job.id, one.ids.next()]) == {job.id: b"here"}

    # ── time ─────────────────────────────────────────────────────────────────

    async def test_a_delayed_job_is_not_claimed_before_its_time(self, one: FakeServer) -> None:
        await one.add(one.job(run_at=1000.5))

        assert await one.claim() == []
        due = await one.store.due(1000.0, 10)
        assert (dict(due.moved), due.next) == ({}, 1000.5)
        due = await one.store.due(1000.5, 10)
        assert (dict(due.moved), due.next) == ({QUEUE: 1}, None)
        (job,) = await one.claim()
        assert job.run_at is None

    async def test_the_most_overdue_moves_first(self, one: FakeServer) -> None:
        await one.add(*[one.job(b"%d" % at, run_at=float(at)) for at in (30, 10, 20)])

        due = await one.store.due(25.0, 1)

        assert (dict(due.moved), due.next) == ({QUEUE: 1}, 20.0)
        assert await one.bodies() == [b"10"]

    async def test_due_keeps_queues_apart(self, one: FakeServer) -> None:
        other = QUEUE._replace(priority=0)
        await one.add(one.job(run_at=1.0), one.job(run_at=2.0), one.job(run_at=1.0, queue=other))

        due = await one.store.due(5.0, 10)

        assert dict(due.moved) == {QUEUE: 2, other: 1}

    async def test_nothing_delayed_nothing_due(self, one: FakeServer) -> None:
        due = await one.store.due(1e10, 10)

        assert (dict(due.moved), due.next) == ({}, None)

    # ── counting and looking ─────────────────────────────────────────────────

    async def test_counts_are_exact_through_every_move(self, one: FakeServer) -> None:
        jobs = [one.job() for _ in range(10)]
        await one.add(*jobs)
        await one.add(one.job(run_at=1.0), one.job(run_at=4e9))
        assert await one.count() == Count(10, 2)

        claimed = await one.claim(limit=4)
        assert await one.count() == Count(6, 2)
        await one.give(Give(claimed[0].id), Give(claimed[1].id, run_at=5e9))
        assert await one.count() == Count(7, 3)
        await one.end(claimed[2].id, jobs[9].id)
        assert await one.count() == Count(6, 3)
        await one.store.due(2.0, 10)
        assert await one.count() == Count(7, 2)

    async def test_counts_know_only_queues_that_had_rows(self, one: FakeServer) -> None:
        assert dict(await one.store.counts()) == {}

    async def test_a_job_is_found_by_id_in_its_tenant_only(self, one: FakeServer) -> None:
        job = one.job(b"12345", queue=QUEUE._replace(tenant="acme"), unique=b"u")
        await one.add(job)

        facts = await one.store.find("acme", id=job.id)

        assert facts
        assert (facts.id, facts.queue, facts.unique, facts.size) == (job.id, job.queue, b"u", 5)
        assert await one.store.find("", id=job.id) is None
        assert await one.store.find("acme", id=one.ids.next()) is None

    async def test_a_job_is_found_by_function_and_key(self, one: FakeServer) -> None:
        job = one.job(unique=b"k")
        await one.add(job)

        facts = await one.store.find("", key=(b"resize", b"k"))

        assert facts
        assert facts.id == job.id
        assert await one.store.find("", key=(b"other", b"k")) is None
        assert await one.store.find("acme", key=(b"resize", b"k")) is None

    async def test_all_holders_of_a_key_are_found(self, one: FakeServer) -> None:
        jobs = [
            one.job(unique=b"k", queue=QueueKey(tenant, name, 1))
            for tenant, name in (("", b"a"), ("", b"b"), ("acme", b"a"))
        ]
        await one.add(*jobs, one.job(unique=b"other"))

        found = await one.store.holders("", b"k")

        assert {facts.id for facts in found} == {job.id for job in jobs[:2]}
        assert await one.store.holders("", b"nobody's") == []
        await one.end(jobs[0].id)
        assert [facts.id for facts in await one.store.holders("", b"k")] == [jobs[1].id]

    async def test_a_scan_pages_through_everything_by_id(self, one: FakeServer) -> None:
        jobs = [one.job() for _ in range(7)]
        await one.add(*jobs[:3], placement=MINE)
        await one.add(*jobs[3:])

        seen: list[JobId] = []
        while page := await one.store.scan(None, seen[-1] if seen else FIRST, 3):
            seen += [facts.id for facts in page]

        assert seen == [job.id for job in jobs]

    async def test_a_scan_keeps_to_tenant_and_function(self, one: FakeServer) -> None:
        acme = one.job(queue=QueueKey("acme", b"f", 1))
        other = one.job(queue=QueueKey("acme", b"g", 1))
        await one.add(acme, other, one.job(queue=QueueKey("", b"f", 1)))

        assert [f.id for f in await one.store.scan("acme", FIRST, 9)] == [acme.id, other.id]
        page = await one.store.scan("acme", FIRST, 9, function=b"f")
        assert [f.id for f in page] == [acme.id]

    # ── the dead ─────────────────────────────────────────────────────────────

    async def test_the_dead_set_keeps_body_reason_attempts_and_worker(
        self, one: FakeServer
    ) -> None:
        job = one.job(b"poison\0", unique=b"u")

        await one.bury(job, "out of attempts")

        assert await one.where(job.id) is None
        dead = await one.store.dead_show(job.id)
        assert dead
        assert dead.job == job.but(attempts=3)
        assert (dead.reason, dead.worker, dead.size) == ("out of attempts", "w1", 7)
        assert dead.died == pytest.approx(time.time(), abs=600)

    async def test_a_reason_may_be_any_text(self, one: FakeServer) -> None:
        job = one.job().but(headers={"nul\0": "lone \udc80"})

        await one.bury(job, "said \0 and \udc80 and ä")

        dead = await one.store.dead_show(job.id)
        assert dead
        assert dead.reason.startswith("said ")
        assert dead.reason.endswith(" and ä")
        assert dead.job.headers == job.headers

    async def test_the_dead_free_their_key(self, one: FakeServer) -> None:
        await one.bury(one.job(unique=b"k"))

        (answer,) = await one.add(one.job(unique=b"k"))

        assert answer.outcome is STORED

    async def test_a_job_dead_before_it_was_stored_is_in_the_dead_set(
        self, one: FakeServer
    ) -> None:
        job = one.job(b"quick")

        done = await one.store.commit([Add(job, MINE)], [Ending(job.id, "timeout", 2, "w")], [])

        assert done.missed == []
        dead = await one.store.dead_show(job.id)
        assert dead
        assert (dead.job.body, dead.reason, dead.job.attempts) == (b"quick", "timeout", 2)

    async def test_the_dead_are_listed_by_page_function_and_tenant(self, one: FakeServer) -> None:
        jobs = [one.job() for _ in range(3)]
        other = one.job(queue=QueueKey("acme", b"f", 1))
        for job in (*jobs, other):
            await one.bury(job)

        first = await one.store.dead_list("", FIRST, 2)
        rest = await one.store.dead_list("", first[-1].job.id, 2)

        assert [d.job.id for d in (*first, *rest)] == [job.id for job in jobs]
        assert [d.job.body for d in first] == [None, None]
        assert [d.size for d in first] == [4, 4]
        assert len(await one.store.dead_list(None, FIRST, 9)) == 4
        (found,) = await one.store.dead_list("acme", FIRST, 9, function=b"f", bodies=True)
        assert found.job == other.but(attempts=3)

    async def test_the_dead_rise_with_their_attempts_forgotten(self, one: FakeServer) -> None:
        job = one.job(unique=b"u")
        await one.bury(job)

        assert await one.store.dead_retry([job.id, one.ids.next()]) == [job.id]

        assert await one.count() == Count(ready=1)
        assert await one.claim() == [job]
        assert await one.store.dead_show(job.id) is None

    async def test_the_dead_stay_dead_while_another_has_their_key(self, one: FakeServer) -> None:
        job = one.job(unique=b"k")
        await one.bury(job)
        await one.add(one.job(unique=b"k"))

        assert await one.store.dead_retry([job.id]) == []
        assert await one.store.dead_show(job.id)

    async def test_of_the_dead_with_one_key_the_oldest_rises(self, one: FakeServer) -> None:
        old, young = one.job(unique=b"k"), one.job(unique=b"k")
        await one.bury(young)
        await one.bury(old)

        assert await one.store.dead_retry([young.id, old.id, old.id]) == [old.id]
        assert await one.store.dead_show(young.id)
        assert await one.claim() == [old]

    @pytest.mark.parametrize("unique", [b"", b"k"])
    async def test_the_dead_stay_dead_while_they_are_there_again(
        self, one: FakeServer, unique: bytes
    ) -> None:
        job = one.job(unique=unique)
        await one.bury(job)
        (answer,) = await one.add(job, placement=MINE)
        assert answer == AddResult(STORED, job.id, MINE)

        assert await one.store.dead_retry([job.id]) == []

        assert await one.where(job.id) is Where.MINE
        assert await one.count() == Count()
        assert await one.end(job.id) == []
        assert await one.store.dead_retry([job.id]) == [job.id]
        assert await one.claim() == [job]

    async def test_who_dies_again_stays_dead_as_the_first_time(self, one: FakeServer) -> None:
        job = one.job()
        await one.bury(job, "first")
        await one.add(job, placement=MINE)
        await one.store.commit([], [Ending(job.id, "second", 4, "w2")], [])

        dead = await one.store.dead_show(job.id)

        assert dead
        assert (dead.reason, dead.job.attempts, dead.worker) == ("first", 3, "w1")
        assert await one.where(job.id) is None

    async def test_the_dead_can_be_forgotten(self, one: FakeServer) -> None:
        jobs = [one.job(), one.job()]
        for job in jobs:
            await one.bury(job)

        assert await one.store.dead_delete([jobs[0].id, one.ids.next()]) == 1
        assert [d.job.id for d in await one.store.dead_list(None, FIRST, 9)] == [jobs[1].id]

    async def test_what_is_not_mine_is_not_buried(self, one: FakeServer) -> None:
        done = await one.store.commit([], [Ending(gone := one.ids.next(), "why")], [])

        assert done.missed == [gone]
        assert await one.store.dead_show(gone) is None

    # ── restart ──────────────────────────────────────────────────────────────

    async def test_everything_is_there_after_a_restart(
        self, one: FakeServer, servers: Servers
    ) -> None:
        mine, pool, later, dead = (one.job(b"%d" % n) for n in range(4))
        later = later.but(run_at=4e9)
        await one.add(mine, placement=MINE)
        await one.add(pool, later)
        await one.bury(dead)

        again = await self.restart(one, servers)

        assert await again.count() == Count(ready=2, delayed=1)
        assert await again.claim() == [mine, pool]
        assert await again.where(later.id) is Where.DELAYED
        assert await again.store.dead_show(dead.id)

    async def test_keys_hold_across_a_restart(self, one: FakeServer, servers: Servers) -> None:
        job = one.job(unique=b"k")
        await one.add(job, placement=MINE)

        again = await self.restart(one, servers)

        assert await again.add(again.job(unique=b"k")) == [AddResult(MERGED, job.id, POOL)]

    async def test_a_lease_is_never_used_twice(self, one: FakeServer, servers: Servers) -> None:
        first = one.lease.id

        again = await self.restart(one, servers)

        assert again.lease.id > first

    async def test_new_ids_are_above_all_old_ones(self, one: FakeServer, servers: Servers) -> None:
        for _ in range(5000):
            one.ids.next()
        live, dead = one.job(), one.job()
        await one.bury(dead)
        await one.add(live)

        again = await self.restart(one, servers)

        assert again.ids.next() > max(live.id, dead.id)
        assert again.lease.floor >= max(live.id, dead.id)

    async def test_an_id_leads_to_its_age(self, one: FakeServer) -> None:
        assert made_at(one.ids.next()) == pytest.approx(time.time(), abs=600)

    async def test_closing_twice_is_fine(self, one: FakeServer) -> None:
        await one.store.close()
        await one.store.close()

    async def test_tidying_ends(self, one: FakeServer) -> None:
        jobs = [one.job(b"x" * 1000) for _ in range(500)]
        await one.add(*jobs, placement=MINE)
        await one.end(*[job.id for job in jobs])

        for _ in range(10_000):
            if not await one.store.tidy():
                break
        else:
            pytest.fail("there is always something left to tidy")

    # ── going away and coming back ───────────────────────────────────────────

    async def test_while_it_is_away_nothing_is_kept_and_the_text_says_so(
        self, one: FakeServer
    ) -> None:
        await one.add(one.job(b"before"))
        await self.take_away(one.store)

        with pytest.raises(StoreDown) as caught:
            await one.add(one.job(b"lost" * 25_000))

        assert str(caught.value)
        await self.bring_back(one.store)
        await one.add(one.job(b"after"))
        assert await one.bodies() == [b"before", b"after"]

    async def test_an_ambiguous_commit_can_be_repeated(self, one: FakeServer) -> None:
        old, new = one.job(b"old"), one.job(b"new", unique=b"k")
        await one.add(old, placement=MINE)
        await self.lose_next_answer(one.store)
        adds, ends = [Add(new, MINE)], [Ending(old.id)]
        with pytest.raises(Ambiguous):
            await one.store.commit(adds, ends, [])

        renewed = await one.renew([new.id], ends)
        done = await one.store.commit(adds, ends, [])

        assert list(renewed.kept) == [new.id]
        assert list(done.added) == [AddResult(STORED, new.id, MINE)]
        assert await one.where(old.id) is None
        assert await one.where(new.id) is Where.MINE
