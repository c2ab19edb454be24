"""The desk: questions of connections that only the store can answer.

A front-end puts such a question to the house (``frontends.port.Question``); here it
is answered, in a task of its own, beside the commits, so that neither jobs nor other
questions wait for it. Answers are JSON, an object a line, in ASCII; bytes that are no
UTF-8 are lone surrogates there, as Python's ``surrogateescape`` makes them. A list is
answered a page at a time and ends with a dot; what goes wrong in the middle of one is
its last object, ``{"error": ...}``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from geartrain.frontends.port import Question
from geartrain.server.desk_words import (
    BadQuestion,
    Object,
    Wanted,
    arguments,
    dead_object,
    filters,
    handle_in,
    line,
    text_of,
)
from geartrain.stores.ids import handle_of, id_of, made_at
from geartrain.stores.port import DeadJob, DeadSet, JobId, QueueKey, StoreError

log = logging.getLogger("geartrain.server")

#: Objects in one piece of a list; and of an export, with their bodies.
PAGE: Final = 500
EXPORT_PAGE: Final = 100
#: Bodies in one piece of an export, unless a single one is larger.
EXPORT_BYTES: Final = 4 * 2**20


class Desk:
    """Answers what connections ask.

    Args:
        dead: the dead set.
        prefix: what handles begin with.
        tell: called when something was said, to have it sent.
        revived: called with the queues of jobs that were made ready again.
    """

    def __init__(
        self,
        dead: DeadSet,
        prefix: bytes,
        tell: Callable[[], None],
        revived: Callable[[Mapping[QueueKey, int]], Awaitable[None]],
    ) -> None:
        self._dead = dead
        self._prefix = prefix
        self._tell = tell
        self._revived = revived
        self._tasks: set[asyncio.Task[None]] = set()
        self._verbs: dict[bytes, Callable[[Question], Awaitable[None]]] = {
            b"dead list": self._dead_list,
            b"dead export": self._dead_export,
            b"dead show": self._dead_show,
            b"dead retry": self._dead_retry,
            b"dead delete": self._dead_delete,
        }

    def learn(self, verbs: Mapping[bytes, Callable[[Question], Awaitable[None]]]) -> None:
        """Somebody else answers these."""
        self._verbs.update(verbs)

    def take(self, question: Question) -> None:
        """Answer this, some time soon. Call it on the loop."""
        task = asyncio.create_task(self._answer(question), name="desk")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave what is not answered unanswered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, question: Question) -> None:
        if question.peer.gone:
            return
        try:
            await self._verbs[question.verb](question)
        except BadQuestion as error:
            question.answer(f"ERR {error}\r\n".encode())
        except StoreError as error:
            self._fail(question, str(error))
        except Exception:
            log.exception("%s could not be answered", question.verb.decode())
            self._fail(question, "a fault in the server; its log says more")
        self._tell()

    def _fail(self, question: Question, text: str) -> None:
        if question.cursor:
            question.answer(line({"error": text}) + b".\n")
        else:
            flat = " ".join(text.split()).encode("ascii", "backslashreplace")
            question.answer(b"ERR QUEUE_ERROR " + flat + b"\r\n")

    # ── the dead set ─────────────────────────────────────────────────────────

    async def _dead_list(self, question: Question) -> None:
        wanted = Wanted(filters(question, "function", "after").get(b"function"))
        page = await self._dead.dead_list(None, JobId(question.cursor), PAGE, function=wanted.name)
        if page:
            question.cursor = page[-1].job.id
        self._say(question, _of(page, wanted), len(page) == PAGE)

    async def _dead_export(self, question: Question) -> None:
        wanted = Wanted(filters(question, "function", "after").get(b"function"))
        after = JobId(question.cursor)
        limit = PAGE if wanted.is_pattern else EXPORT_PAGE
        sizes = await self._dead.dead_list(None, after, limit, function=wanted.name)
        room, count = EXPORT_BYTES, 0
        taken: list[DeadJob] = []
        for one in sizes:
            if wanted.has(one.job.queue.function):
                room -= one.size
                if taken and (room < 0 or len(taken) == EXPORT_PAGE):
                    break
                taken.append(one)
            count += 1
        if wanted.is_pattern:
            # One by one, or the bodies of all that is not meant would be read too.
            shown = [await self._dead.dead_show(one.job.id) for one in taken]
            dead: Sequence[DeadJob] = [one for one in shown if one is not None]
        elif taken:
            dead = await self._dead.dead_list(None, after, count, function=wanted.name, bodies=True)
        else:
            dead = []
        if count:
            # Of rows that have gone meanwhile others have taken the places.
            last = dead[-1] if dead and not wanted.is_pattern else sizes[count - 1]
            question.cursor = last.job.id
        self._say(question, dead, count < len(sizes) or len(sizes) == limit)

    def _say(self, question: Question, dead: Sequence[DeadJob], more: bool) -> None:
        lines = [line(self._object(one)) for one in dead]
        if not more:
            lines.append(b".\n")
        question.answer(b"".join(lines), more)

    async def _dead_show(self, question: Question) -> None:
        id = id_of(handle_in(question))
        found = await self._dead.dead_show(id) if id is not None else None
        if found is None:
            raise BadQuestion("UNKNOWN_JOB")
        question.answer(line(self._object(found)))

    async def _dead_retry(self, question: Question) -> None:
        handles, named = arguments(question)
        kept: list[str] = []
        unknown: list[str] = []
        count = 0
        async for page in self._named(handles, named, "retry", unknown):
            went = set(await self._dead.dead_retry([one.job.id for one in page]))
            moved: dict[QueueKey, int] = {}
            for one in page:
                if one.job.id in went:
                    moved[one.job.queue] = moved.get(one.job.queue, 0) + 1
                else:
                    kept.append(self._handle(one.job.id))
            count += len(went)
            await self._revived(moved)
        found = {"retried": count, "kept": kept[:PAGE], "stayed": len(kept), "unknown": unknown}
        question.answer(line(found))

    async def _dead_delete(self, question: Question) -> None:
        handles, named = arguments(question)
        unknown: list[str] = []
        count = 0
        async for page in self._named(handles, named, "delete", unknown):
            count += await self._dead.dead_delete([one.job.id for one in page])
        question.answer(line({"deleted": count, "unknown": unknown}))

    async def _named(
        self, handles: list[bytes], named: dict[bytes, bytes], verb: str, unknown: list[str]
    ) -> AsyncIterator[Sequence[DeadJob]]:
        """The dead jobs that are meant, a page at a time; handles of no dead job go to ``unknown``."""
        if handles == [b"all"] and b"after" not in named:
            wanted = Wanted(named.get(b"function"))
            after = JobId(0)
            while page := await self._dead.dead_list(None, after, PAGE, function=wanted.name):
                after = page[-1].job.id
                if meant := _of(page, wanted):
                    yield meant
            return
        if not handles or named:
            raise BadQuestion(f"INVALID_ARGUMENTS dead {verb} HANDLE... or all [function=NAME]")
        found: list[DeadJob] = []
        for handle in handles:
            id = id_of(handle)
            page = await self._dead.dead_list(None, JobId(id - 1), 1) if id else []
            if page and page[0].job.id == id:
                found.append(page[0])
            else:
                unknown.append(text_of(handle))
        yield found

    # ── how jobs are written ─────────────────────────────────────────────────

    def _handle(self, id: JobId) -> str:
        return handle_of(self._prefix, id).decode()

    def _object(self, dead: DeadJob) -> Object:
        id = dead.job.id
        return dead_object(handle_of(self._prefix, id), dead, made_at(id))


def _of(page: Sequence[DeadJob], wanted: Wanted) -> Sequence[DeadJob]:
    """Those of a page that are meant."""
    if not wanted.is_pattern:
        return page
    return [one for one in page if wanted.has(one.job.queue.function)]
