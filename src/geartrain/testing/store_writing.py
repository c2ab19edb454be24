"""What every store promises about writing: bodies, adding, coalescing, ending, giving."""

from __future__ import annotations

import pytest

from geartrain.stores.port import (
    Add,
    AddResult,
    Committed,
    Count,
    Ending,
    Give,
    QueueKey,
    StoredJob,
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


class WritingContract(StoreKit):
    """One server writes."""

    # ── bodies and fields ────────────────────────────────────────────────────

    @pytest.mark.parametrize(
        "body",
        [b"", b"\0", b"a\0b\0", b"\xff\xfe\x80", b"'; DROP TABLE gt_job; --", bytes(range(256))],
        ids=["empty", "nul", "nuls", "not-utf8", "quotes", "all-bytes"],
    )
    async def test_a_body_comes_back_as_it_was(self, one: FakeServer, body: bytes) -> None:
        await one.add(one.job(body))

        assert await one.bodies() == [body]

    async def test_a_body_of_64_mib_comes_back(self, one: FakeServer) -> None:
        body = bytes(range(256)) * (64 * 4096)
        await one.add(one.job(body))

        (job,) = await one.claim()

        assert job.body == body

    async def test_every_field_comes_back(self, one: FakeServer) -> None:
        queue = QueueKey("acme", b"mail\0\xff", 0)
        job = StoredJob(
            one.ids.next(), queue, b"body", b"u\xff", b"u\xff", None, b"sum", 7, {"trace": "ä"}
        )
        await one.add(job)

        assert await one.claim(queue) == [job]

    async def test_empty_fields_come_back_empty(self, one: FakeServer) -> None:
        queue = QueueKey("", b"", 2)
        job = one.job(b"", queue=queue)
        await one.add(job)

        assert await one.claim(queue) == [job]

    async def test_a_reducer_may_be_empty_or_absent(self, one: FakeServer) -> None:
        jobs = [one.job().but(reducer=reducer) for reducer in (None, b"", b"r")]
        await one.add(*jobs)

        assert [job.reducer for job in await one.claim()] == [None, b"", b"r"]

    async def test_a_job_keyed_by_its_workload_still_shows_a_dash(self, one: FakeServer) -> None:
        job = one.job(b"same", unique=b"-")
        await one.add(job)

        (claimed,) = await one.claim()

        assert (claimed.unique, claimed.key) == (b"-", job.key)

    async def test_an_empty_body_keyed_by_workload_coalesces_with_nobody(
        self, one: FakeServer
    ) -> None:
        answers = await one.add(one.job(b"", unique=b"-"), one.job(b"", unique=b"-"))

        assert [answer.outcome for answer in answers] == [STORED, STORED]
        assert [job.unique for job in await one.claim()] == [b"-", b"-"]

    async def test_a_unique_of_any_length_keeps_jobs_apart(self, one: FakeServer) -> None:
        uniques = [b"u" * 10_000, b"u" * 10_001, b"u" * 512, b"u" * 513]

        answers = await one.add(*[one.job(unique=u) for u in (*uniques, *uniques)])

        assert [answer.outcome for answer in answers] == [STORED] * 4 + [MERGED] * 4
        assert [job.unique for job in await one.claim()] == uniques

    async def test_a_body_that_is_too_large_is_refused_before_anything_is_written(
        self, one: FakeServer
    ) -> None:
        # Zeros that nobody looks at take no memory.
        huge = bytes(one.store.traits.max_body + 1)

        with pytest.raises(ValueError, match="by reference"):
            await one.add(one.job(b"small"), one.job(huge))

        assert await one.count() == Count()

    async def test_a_job_without_its_body_cannot_be_added(self, one: FakeServer) -> None:
        with pytest.raises(ValueError, match="no body"):
            await one.add(one.job().but(body=None))

    # ── adding ───────────────────────────────────────────────────────────────

    async def test_an_empty_commit_is_fine(self, one: FakeServer) -> None:
        assert await one.store.commit([], [], []) == Committed([], [])

    async def test_answers_come_in_the_order_of_the_adds(self, one: FakeServer) -> None:
        jobs = [one.job(b"%d" % n, unique=b"k%d" % (n % 3)) for n in range(6)]

        answers = await one.add(*jobs)

        assert [a.outcome for a in answers] == [STORED] * 3 + [MERGED] * 3
        assert [a.id for a in answers] == [j.id for j in jobs[:3]] * 2

    async def test_an_add_says_where_its_row_is(self, one: FakeServer) -> None:
        mine, pool, later = one.job(), one.job(), one.job(run_at=4e9)

        done = await one.store.commit([Add(mine, MINE), Add(pool, POOL), Add(later, MINE)], [], [])

        assert [a.placement for a in done.added] == [MINE, POOL, POOL]
        assert await one.where(mine.id) is Where.MINE
        assert await one.where(pool.id) is Where.POOL
        assert await one.where(later.id) is Where.DELAYED

    async def test_a_batch_of_ten_thousand(self, one: FakeServer) -> None:
        size = min(10_000, one.store.traits.max_batch)
        jobs = [one.job(b"%d" % n) for n in range(size)]
        await one.add(*jobs)

        claimed = await one.claim(limit=size)

        assert [job.id for job in claimed] == [job.id for job in jobs]
        assert await one.end(*[job.id for job in jobs]) == []
        assert await one.count() == Count()

    async def test_adding_again_changes_nothing(self, one: FakeServer) -> None:
        job = one.job(unique=b"k")
        await one.add(job)

        again = await one.add(job, one.job())

        assert again[0] == AddResult(STORED, job.id, POOL)
        assert await one.count() == Count(ready=2)

    async def test_adding_again_what_is_mine_says_so(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        assert await one.add(job, placement=MINE) == [AddResult(STORED, job.id, MINE)]

    # ── coalescing ───────────────────────────────────────────────────────────

    async def test_the_second_of_a_key_merges_with_the_first(self, one: FakeServer) -> None:
        first, second = one.job(b"1", unique=b"k"), one.job(b"2", unique=b"k")
        await one.add(first)

        assert await one.add(second) == [AddResult(MERGED, first.id, POOL)]
        assert await one.bodies() == [b"1"]

    async def test_two_of_a_key_in_one_batch_merge(self, one: FakeServer) -> None:
        first, second = one.job(b"1", unique=b"k"), one.job(b"2", unique=b"k")

        answers = await one.add(first, one.job(b"between"), second, placement=MINE)

        assert answers[2] == AddResult(MERGED, first.id, MINE)
        assert await one.where(second.id) is None

    async def test_merging_ignores_priority(self, one: FakeServer) -> None:
        low, high = QUEUE._replace(priority=2), QUEUE._replace(priority=0)
        first = one.job(unique=b"k", queue=low)
        await one.add(first)

        (answer,) = await one.add(one.job(unique=b"k", queue=high))

        assert answer.outcome is MERGED
        assert answer.id == first.id

    async def test_a_key_belongs_to_a_function_and_a_tenant(self, one: FakeServer) -> None:
        queues = [QUEUE, QUEUE._replace(function=b"other"), QUEUE._replace(tenant="acme")]

        answers = await one.add(*[one.job(unique=b"k", queue=queue) for queue in queues])

        assert [a.outcome for a in answers] == [STORED] * 3

    async def test_jobs_without_a_unique_never_merge(self, one: FakeServer) -> None:
        answers = await one.add(one.job(), one.job())

        assert [a.outcome for a in answers] == [STORED, STORED]

    async def test_a_workload_key_does_not_meet_an_equal_unique(self, one: FakeServer) -> None:
        by_workload, explicit = one.job(b"same", unique=b"-"), one.job(b"x", unique=b"same")

        answers = await one.add(by_workload, explicit, one.job(b"same", unique=b"-"))

        assert [a.outcome for a in answers] == [STORED, STORED, MERGED]

    async def test_a_key_is_free_again_when_its_job_has_ended(self, one: FakeServer) -> None:
        first = one.job(unique=b"k")
        await one.add(first, placement=MINE)
        await one.end(first.id)

        (answer,) = await one.add(one.job(unique=b"k"))

        assert answer.outcome is STORED

    async def test_a_key_freed_in_a_batch_can_be_taken_in_it(self, one: FakeServer) -> None:
        first, second = one.job(unique=b"k"), one.job(unique=b"k")
        await one.add(first, placement=MINE)

        done = await one.store.commit([Add(second, MINE)], [Ending(first.id)], [])

        assert done.added == [AddResult(STORED, second.id, MINE)]
        assert await one.where(first.id) is None
        assert await one.where(second.id) is Where.MINE

    async def test_a_job_merges_with_one_that_waits_for_its_time(self, one: FakeServer) -> None:
        later = one.job(unique=b"k", run_at=4e9)
        await one.add(later)

        (answer,) = await one.add(one.job(unique=b"k"))

        assert (answer.outcome, answer.id) == (MERGED, later.id)

    async def test_a_job_merges_with_one_that_runs(self, one: FakeServer) -> None:
        running = one.job(unique=b"k")
        await one.add(running)
        await one.claim()

        (answer,) = await one.add(one.job(unique=b"k"), placement=MINE)

        assert answer == AddResult(MERGED, running.id, MINE)

    # ── ending ───────────────────────────────────────────────────────────────

    async def test_what_has_ended_is_gone(self, one: FakeServer) -> None:
        jobs = [one.job(), one.job()]
        await one.add(*jobs, placement=MINE)

        assert await one.end(jobs[0].id) == []
        assert await one.where(jobs[0].id) is None
        assert await one.where(jobs[1].id) is Where.MINE

    async def test_a_row_of_the_pool_can_be_ended(self, one: FakeServer) -> None:
        ready, later = one.job(), one.job(run_at=4e9)
        await one.add(ready, later)

        assert await one.end(ready.id, later.id) == []
        assert await one.count() == Count()

    async def test_ending_what_is_not_there_is_told(self, one: FakeServer) -> None:
        job, nothing = one.job(), one.ids.next()
        await one.add(job, placement=MINE)

        assert await one.end(nothing, job.id) == [nothing]
        assert await one.where(job.id) is None

    async def test_ending_twice_in_one_batch_is_once(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job)

        assert await one.end(job.id, job.id) == []
        assert await one.count() == Count()

    async def test_a_job_over_before_it_was_stored_needs_no_row(self, one: FakeServer) -> None:
        job, next_of_key = one.job(unique=b"k"), one.job(unique=b"k")

        done = await one.store.commit(
            [Add(job, MINE), Add(next_of_key, MINE)], [Ending(job.id)], []
        )

        assert done.missed == []
        assert [a.outcome for a in done.added] == [STORED, STORED]
        assert await one.where(job.id) is None
        assert await one.where(next_of_key.id) is Where.MINE

    # ── giving ───────────────────────────────────────────────────────────────

    async def test_what_is_given_can_be_claimed(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)
        assert await one.claim() == []

        assert await one.give(Give(job.id)) == []

        assert await one.where(job.id) is Where.POOL
        assert await one.claim() == [job]

    async def test_what_is_given_goes_to_its_old_place(self, one: FakeServer) -> None:
        jobs = [one.job(b"%d" % n) for n in range(4)]
        await one.add(*jobs)
        await one.claim(limit=2)

        await one.give(Give(jobs[0].id))

        assert await one.bodies() == [b"0", b"2", b"3"]

    async def test_giving_notes_the_attempts(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        await one.give(Give(job.id, attempts=3))

        (claimed,) = await one.claim()
        assert claimed.attempts == 3

    async def test_attempts_are_noted_without_letting_go(
        self, one: FakeServer, servers: Servers
    ) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        await one.give(Give(job.id, MINE, attempts=2))

        assert await one.claim() == []
        facts = await one.store.find("", id=job.id)
        assert facts
        assert (facts.attempts, facts.where) == (2, Where.MINE)

    async def test_a_retry_can_wait_for_its_time(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        await one.give(Give(job.id, run_at=2000.0, attempts=1))

        assert await one.count() == Count(delayed=1)
        assert await one.claim() == []
        await one.store.due(2000.0, 10)
        assert await one.claim() == [job.but(attempts=1)]

    async def test_giving_what_is_not_mine_is_told(self, one: FakeServer) -> None:
        job, nothing = one.job(), one.ids.next()
        await one.add(job)

        assert sorted(await one.give(Give(job.id), Give(nothing))) == sorted([job.id, nothing])

    async def test_added_and_given_in_one_batch_is_in_the_pool(self, one: FakeServer) -> None:
        job = one.job()

        done = await one.store.commit([Add(job, MINE)], [], [Give(job.id, attempts=1)])

        assert done == Committed([AddResult(STORED, job.id, POOL)], [])
        assert await one.claim() == [job.but(attempts=1)]

    async def test_ended_and_given_in_one_batch_is_ended(self, one: FakeServer) -> None:
        job = one.job()
        await one.add(job, placement=MINE)

        done = await one.store.commit([], [Ending(job.id)], [Give(job.id)])

        assert done.missed == []
        assert await one.where(job.id) is None
