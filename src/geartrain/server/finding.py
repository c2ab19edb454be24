"""Questions about jobs that are only in the store: status, lists, cancellation.

The desk brings them here, beside the commits. What the store says is corrected by
what memory knows: a job may have come from the store meanwhile, and one that is over
may have its row for a moment longer. So a job that had ended before somebody asked is
never said to be there. Of a job that another server holds, that one is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from geartrain.broker.broker import Broker
from geartrain.broker.inspection import JobRow, JobStatus
from geartrain.frontends.admin import job_line
from geartrain.frontends.port import Question
from geartrain.frontends.voice import status_packet, status_unique_packet
from geartrain.server.backlog import NOBODY
from geartrain.server.letters import CANCEL, STATUS, HeldElsewhere, Letters
from geartrain.stores.ids import coalescing_key, handle_of, id_of
from geartrain.stores.port import JobFacts, JobId, QueueStore, Where

#: Rows in one piece of a list.
PAGE: Final = 500

_UNKNOWN: Final = JobStatus(False, False, 0, 0, 0)
_QUEUED: Final = JobStatus(True, False, 0, 0, 0)


class Cancelling(Protocol):
    """Who takes jobs out of the store, between the claims."""

    async def cancel(self, id: JobId) -> bool:
        """False when there is no such job.

        Raises:
            HeldElsewhere: another server has it.
        """


class Finder:
    """Looks jobs up.

    Args:
        store: open, when the first question comes.
        broker: whose jobs these are.
        prefix: what handles begin with.
        is_over: a row is to be ended, or is just being.
        backlog: cancels.
        letters: asks other servers.
    """

    def __init__(
        self,
        store: QueueStore,
        broker: Broker,
        prefix: bytes,
        is_over: Callable[[JobId], bool],
        backlog: Cancelling,
        letters: Letters,
    ) -> None:
        self._store = store
        self._broker = broker
        self._prefix = prefix
        self._is_over = is_over
        self._backlog = backlog
        self._letters = letters
        letters.learn({STATUS: self._status_here, CANCEL: self._cancel_here})

    def verbs(self) -> Mapping[bytes, Callable[[Question], Awaitable[None]]]:
        """What it can be asked."""
        return {
            b"get status": self._status,
            b"get status unique": self._status_unique,
            b"cancel job": self._cancel,
            b"show jobs": self._list,
            b"show unique jobs": self._list,
            b"jobs": self._list,
        }

    async def _status(self, question: Question) -> None:
        handle = question.words[0]
        id = id_of(handle)
        facts = None
        known_as = self._broker.known_as(handle)
        if id is not None and known_as == handle_of(self._prefix, id) and not self._is_over(id):
            facts = await self._store.find(NOBODY, id=id)
        question.answer(status_packet(handle, await self._now(facts)))

    async def _status_unique(self, question: Question) -> None:
        unique = question.words[0]
        status = _UNKNOWN
        key = coalescing_key(unique, b"")
        for facts in await self._store.holders(NOBODY, key) if key is not None else ():
            status = await self._now(facts)
            if status.known:
                break
        # It may have come to memory, under whatever key that has it there.
        here = self._broker.status_unique(unique)
        question.answer(status_unique_packet(unique, here if here.known else status))

    async def _now(self, facts: JobFacts | None) -> JobStatus:
        """The state of what was found, as things are now."""
        if facts is None or self._is_over(facts.id):
            return _UNKNOWN
        status = self._broker.status(handle_of(self._prefix, facts.id))
        if status.known or facts.where is not Where.ELSEWHERE:
            return status if status.known else _QUEUED
        said = await self._letters.ask(STATUS, facts.id)
        if not said:
            return _QUEUED
        known, running, numerator, denominator, clients = map(int, said.split())
        return JobStatus(bool(known), bool(running), numerator, denominator, clients)

    async def _status_here(self, id: JobId) -> bytes:
        """For another server: see ``_now``."""
        status = _UNKNOWN
        if not self._is_over(id):
            status = self._broker.status(handle_of(self._prefix, id))
        numbers = (status.numerator, status.denominator, status.clients)
        return b"%d %d %d %d %d" % (status.known, status.running, *numbers)

    async def _cancel(self, question: Question) -> None:
        id = id_of(question.words[0])
        known = False
        if id is not None:
            try:
                known = await self._backlog.cancel(id)
            except HeldElsewhere:
                said = await self._letters.ask(CANCEL, id)
                if not said:
                    raise
                known = said == b"1"
        question.answer(b"OK\r\n" if known else b"ERR UNKNOWN_JOB\r\n")

    async def _cancel_here(self, id: JobId) -> bytes:
        """For another server."""
        return b"%d" % await self._backlog.cancel(id)

    async def _list(self, question: Question) -> None:
        rows = await self._store.scan(NOBODY, JobId(question.cursor), PAGE)
        said = set(question.words)
        lines = []
        for facts in rows:
            handle = handle_of(self._prefix, facts.id)
            if handle in said or self._is_over(facts.id):
                continue
            row = self._broker.job_row(handle)
            if row is None:
                state = "delayed" if facts.where is Where.DELAYED else "queued"
                row = JobRow(
                    handle, facts.queue.function, facts.unique, state, facts.attempts,
                    True, 0, facts.server.encode() if facts.where is Where.ELSEWHERE else b"",
                )  # fmt: skip
            lines.append(job_line(question.verb, row))
        if rows:
            question.cursor = rows[-1].id
        more = len(rows) == PAGE
        if not more:
            lines.append(b".\n")
        question.answer(b"".join(lines), more)
