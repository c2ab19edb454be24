"""Jobs for people: listed, shown, and explained, wherever they are.

A job may be in memory, in the store, at another server that shares the store, or in
the dead set. What is in memory is known best: its state, its worker, who waits for it.
Lists go by id, which is by age, through the store and through what is not stored, and show
of each row what memory knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from geartrain.broker.broker import Broker
from geartrain.broker.explaining import span, stored_of, why
from geartrain.broker.tables import DELAYED, KEPT, PAGED, RUNNING, STORING, Job
from geartrain.frontends.port import Question
from geartrain.server.desk_words import (
    BadQuestion,
    Object,
    Wanted,
    dead_object,
    filters,
    handle_in,
    line,
    text_of,
    with_body,
)
from geartrain.server.letters import WHY, Letters
from geartrain.stores.ids import handle_of, id_of, made_at
from geartrain.stores.port import DeadSet, JobFacts, JobId, QueueStore, Where
from geartrain.terms import PRIORITY_NAMES

#: Objects in one piece of a list.
PAGE: Final = 500
#: What the states in memory are called here; the rest are called queued.
_STATES: Final = {RUNNING: "running", DELAYED: "delayed", STORING: "storing"}
#: Seconds that a question about a job that has just ended waits for the commit of that.
WRITTEN_SECONDS: Final = 2.0
_KNOWN_STATES: Final = ("queued", "running", "delayed", "storing", "elsewhere")


class JobReports:
    """Answers about jobs that are not over.

    Args:
        broker: it knows what is in memory.
        store: it knows the rest; None where there is none.
        dead: it knows those that were given up.
        prefix: what handles begin with.
        wall: seconds since 1970.
        is_over: a row is to be ended, or is just being.
        letters: asks other servers.
    """

    def __init__(
        self,
        broker: Broker,
        store: QueueStore | None,
        dead: DeadSet,
        prefix: bytes,
        wall: Callable[[], float],
        is_over: Callable[[JobId], bool],
        letters: Letters | None = None,
    ) -> None:
        self._broker = broker
        self._dead = dead
        self._store = store
        self._prefix = prefix
        self._wall = wall
        self._is_over = is_over
        self._letters = letters
        if letters is not None:
            letters.learn({WHY: self._why_here})

    def verbs(self) -> Mapping[bytes, Callable[[Question], Awaitable[None]]]:
        """What it can be asked."""
        return {b"job list": self._list, b"job show": self._show, b"why": self._explain}

    # ── lists ────────────────────────────────────────────────────────────────

    async def _list(self, question: Question) -> None:
        """One piece of a list, oldest first: the store's rows, and between them what is not stored."""
        named = filters(question, "function", "after", "state")
        wanted = Wanted(named.get(b"function"))
        state = text_of(named.get(b"state", b""))
        if state and state not in _KNOWN_STATES:
            raise BadQuestion(f"INVALID_ARGUMENTS state= is one of {', '.join(_KNOWN_STATES)}")
        after = JobId(question.cursor)
        if question.notes is None:
            question.notes = self._unstored(wanted, after)
        left = question.notes
        assert isinstance(left, list)
        rows: Sequence[JobFacts] = ()
        if self._store is not None:
            rows = await self._store.scan("", after, PAGE, function=wanted.name)
        last = rows[-1].id if len(rows) == PAGE else None
        others: list[JobId] = []
        while left and len(others) < PAGE and (last is None or left[-1] < last):
            others.append(left.pop())
        if len(others) == PAGE:
            # The rows behind these come again with the next piece.
            last = others[-1]
        found: dict[JobId, Object] = {}
        jobs = self._broker.state.jobs
        for id in others:
            job = jobs.get(handle_of(self._prefix, id))
            if job is not None:
                found[id] = self._job(job)
        for facts in rows:
            if last is not None and facts.id > last:
                break
            if wanted.has(facts.queue.function) and not self._is_over(facts.id):
                found[facts.id] = self._row(facts)
        if last is not None:
            question.cursor = last
        pieces = [found[id] for id in sorted(found)]
        lines = [line(one) for one in pieces if not state or one["state"] == state]
        if last is None:
            lines.append(b".\n")
        question.answer(b"".join(lines), last is not None)

    def _unstored(self, wanted: Wanted, after: JobId) -> list[JobId]:
        """What only memory knows, the newest first."""
        found = []
        for handle, job in self._broker.state.jobs.items():
            if (job.kept != KEPT or self._store is None) and wanted.has(job.function.name):
                id = id_of(handle)
                if id is not None and id > after:
                    found.append(id)
        found.sort(reverse=True)
        return found

    # ── one job ──────────────────────────────────────────────────────────────

    async def _show(self, question: Question) -> None:
        """All that is known of a job, with its workload."""
        handle = self._broker.known_as(handle_in(question))
        job = self._broker.state.jobs.get(handle)
        if job is not None and job.state != PAGED and not job.away:
            found = with_body(self._job(job), job.workload)
        else:
            facts = await self._find(handle)
            if facts is None or self._store is None:
                raise BadQuestion("UNKNOWN_JOB")
            found = await self._told(facts) or self._row(facts)
            found.pop("why", None)
            bodies = await self._store.load([facts.id])
            if facts.id in bodies:
                with_body(found, bodies[facts.id])
        question.answer(line(found))

    async def _explain(self, question: Question) -> None:
        """Why a job is not running, or that it is; and what became of it, if that is known."""
        handle = self._broker.known_as(handle_in(question))
        state = self._broker.state
        job = state.jobs.get(handle)
        facts = None
        if job is None or job.state == PAGED:
            facts = await self._find(handle)
        if job is not None and (facts is None or facts.where is Where.MINE):
            question.answer(line({**self._job(job), "why": why(state, job)}))
        elif facts is not None:
            found = await self._told(facts)
            question.answer(line(found or {**self._row(facts), "why": self._why_stored(facts)}))
        else:
            question.answer(line(await self._dead_or_unknown(handle)))

    async def _told(self, facts: JobFacts) -> Object:
        """What the server says that holds this job; nothing if none does, or it is silent."""
        if facts.where is not Where.ELSEWHERE or self._letters is None:
            return {}
        said = await self._letters.ask(WHY, facts.id)
        found: Object = json.loads(said) if said else {}
        if found:
            found["handle"] = text_of(handle_of(self._prefix, facts.id))
            found["where"] = f"server {facts.server}"
        return found

    async def _why_here(self, id: JobId) -> bytes:
        """For another server."""
        job = self._broker.state.jobs.get(handle_of(self._prefix, id))
        if job is None or job.state == PAGED:
            return b""
        return line({**self._job(job), "why": why(self._broker.state, job)})

    async def _dead_or_unknown(self, handle: bytes) -> Object:
        id = id_of(handle)
        if id is not None:
            await self._written(id)
        dead = await self._dead.dead_show(id) if id is not None else None
        if dead is None:
            said = (
                "It is not known here: it is done, was cancelled, has failed for good, or never"
                " was at this server."
            )
            return {"handle": text_of(handle), "state": "unknown", "why": [said]}
        found = dead_object(
            handle, dead._replace(job=dead.job.but(body=None)), made_at(dead.job.id)
        )
        ago = span(self._wall() - dead.died)
        tries = "one attempt" if dead.job.attempts == 1 else f"{dead.job.attempts} attempts"
        return {
            **found,
            "state": "dead",
            "why": [
                f"It was given up {ago} ago, after {tries}: {dead.reason}.",
                "It is in the dead set: gearadmin dead show, dead retry, dead delete.",
            ],
        }

    async def _written(self, id: JobId) -> None:
        """What has just ended is on its way to the dead set, or to nowhere: wait until it is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_SECONDS):
                while self._is_over(id):  # noqa: ASYNC110 - commits take milliseconds
                    await asyncio.sleep(0.005)

    def _why_stored(self, facts: JobFacts) -> list[str]:
        """Sentences about a row that is not in memory."""
        said: list[str] = []
        state = self._broker.state
        function = state.functions.get(facts.queue.function)
        if facts.where is Where.DELAYED and facts.run_at is not None:
            left = span(facts.run_at - self._wall())
            if facts.attempts:
                policy = function.policy if function is not None else None
                most = (
                    f" of {policy.attempts}" if policy is not None and policy.attempts > 0 else ""
                )
                said.append(f"It pauses before attempt {facts.attempts + 1}{most}, for {left}.")
            else:
                said.append(f"It was submitted for later, and is due in {left}.")
        elif facts.where is Where.ELSEWHERE:
            said.append(
                f"Server {facts.server} has it, to be done by a worker there, and does not answer now."
            )
        elif facts.where is Where.MINE:
            said.append("Its row is just being changed: it is over, or pauses before an attempt.")
        elif function is None:
            said.append("It waits in the store.")
            said.append("No worker that is connected here can do its function.")
        else:
            said += stored_of(state, function, facts.queue.priority)
        if facts.attempts and facts.where is not Where.DELAYED:
            times = "once" if facts.attempts == 1 else f"{facts.attempts} times"
            said.append(f"It was given out {times} before, and did not come to an end.")
        return said

    async def _find(self, handle: bytes) -> JobFacts | None:
        id = id_of(handle)
        if id is None or self._store is None or self._is_over(id):
            return None
        return await self._store.find("", id=id)

    # ── how jobs are written ─────────────────────────────────────────────────

    def _job(self, job: Job) -> Object:
        """What memory knows."""
        id = id_of(job.handle)
        worker = job.worker
        until: float | None = None
        if job.state == DELAYED and job.limit is not None:
            until = round(job.limit.due, 3)
        state = self._broker.state
        return {
            "handle": text_of(job.handle),
            "function": text_of(job.function.name),
            "unique": text_of(job.unique),
            "priority": PRIORITY_NAMES[job.priority],
            "size": len(job.workload),
            "state": _STATES.get(job.state, "queued"),
            "attempts": job.attempts,
            "submitted": round(made_at(id), 3) if id is not None else None,
            "until": until,
            "where": "memory",
            "stored": job.kept == KEPT,
            "background": job.background,
            "clients": job.attached,
            "worker": f"{text_of(worker.address)} {text_of(worker.client_id)}" if worker else "",
            "started": round(state.wall - (state.steady - job.started), 3) if worker else None,
        }

    def _row(self, facts: JobFacts) -> Object:
        """What the store knows, and memory if it has the job."""
        handle = handle_of(self._prefix, facts.id)
        job = self._broker.state.jobs.get(handle)
        if job is not None and job.state != PAGED:
            return {**self._job(job), "size": facts.size}
        where = {Where.ELSEWHERE: f"server {facts.server}"}.get(facts.where, "store")
        states = {
            Where.DELAYED: "delayed", Where.ELSEWHERE: "elsewhere", Where.MINE: "storing",
        }  # fmt: skip
        return {
            "handle": text_of(handle),
            "function": text_of(facts.queue.function),
            "unique": text_of(facts.unique),
            "priority": PRIORITY_NAMES[facts.queue.priority],
            "size": facts.size,
            "state": states.get(facts.where, "queued"),
            "attempts": facts.attempts,
            "submitted": round(made_at(facts.id), 3),
            "until": facts.run_at,
            "where": where,
            "stored": True,
            "background": True,
            "clients": job.attached if job is not None else 0,
            "worker": "",
            "started": None,
        }
