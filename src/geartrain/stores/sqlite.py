"""The SQLite store: one machine, one server, nothing to install.

Two threads: one writes, one reads beside it. A commit is one transaction and
one fsync, however many jobs are in it. What is plain shares a row with others, in
the log, and becomes a row of its own only if it is there for long, or somebody
wants to know more of it (``sqlite_log``); readers never look into the log.

Which rows the server holds is kept in memory only: a claim is a read that steps
over them. So a job costs two row writes in its life, whatever way it takes.

The parts: ``sqlite_session`` (the open file and its threads), ``sqlite_settling``,
``sqlite_claiming`` and ``sqlite_looking`` (the port's verbs, with those below that
write); under them ``sqlite_known`` (what is known without asking), ``sqlite_writer``
and ``sqlite_reader`` (every statement), and ``sqlite_file`` (what may be trusted).

``memory://`` is the same store on a file without a name: nothing survives, and
a long queue does not fill the memory.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from geartrain.stores import sqlite_reader as reader
from geartrain.stores.batch import Plan, complete, plan
from geartrain.stores.lone import Lone
from geartrain.stores.port import (
    Add,
    Committed,
    Due,
    Ending,
    Give,
    JobId,
    Lease,
    Placement,
    QueueKey,
    Renewed,
    Room,
    StoreRefused,
    Traits,
)
from geartrain.stores.sqlite_changes import Changes
from geartrain.stores.sqlite_claiming import Claiming
from geartrain.stores.sqlite_file import shrink
from geartrain.stores.sqlite_hold import held_of, hold, let_go
from geartrain.stores.sqlite_looking import Looking
from geartrain.stores.sqlite_queue import ALL
from geartrain.stores.sqlite_session import CACHE_BYTES
from geartrain.stores.sqlite_settling import SETTLE_IDLE
from geartrain.stores.sqlite_writer import SqliteWriter
from geartrain.stores.url import StoreUrl

#: SQLite's own limit for a row is 1,000,000,000 bytes.
MAX_BODY: Final = 999_000_000
MAX_BATCH: Final = 50_000

_DURABLE: Final = Traits(shared=False, durable="fsync", max_body=MAX_BODY, max_batch=MAX_BATCH)
_SPILLING: Final = _DURABLE._replace(durable="none")


def from_url(url: StoreUrl) -> SqliteStore:
    """``sqlite:///var/lib/geartrain/jobs.db``; with two slashes the path is relative."""
    url.only("cache")
    path = url.netloc + url.path
    if not path:
        raise StoreRefused(f"{url.text} names no file: sqlite:///var/lib/geartrain/jobs.db")
    return SqliteStore(Path(path), cache_bytes=url.size("cache", CACHE_BYTES))


def spill_from_url(url: StoreUrl) -> SqliteStore:
    """``memory://``, or ``memory://?spill-dir=/var/tmp`` for a disk with room."""
    url.only("cache", "spill-dir")
    return SqliteStore(
        None,
        spill_folder=url.options.get("spill-dir"),
        cache_bytes=url.size("cache", CACHE_BYTES),
    )


def spill_store(folder: str | None) -> SqliteStore:
    """A store on a file without a name, in this folder."""
    return SqliteStore(None, spill_folder=folder)


def _is_one(todo: Plan) -> bool:
    """A single job came, and nothing else is to be written."""
    return len(todo.adds) == 1 and not (todo.ends or todo.gives or todo.stillborn)


class SqliteStore(Claiming, Looking):
    """Keeps jobs in one file (see the port for what each method promises)."""

    #: Says when a commit may be made in the thread of whoever asks for it; None for never.
    lone: Lone | None = None

    @property
    def traits(self) -> Traits:
        return _DURABLE if self.path else _SPILLING

    # ── opening and closing ──────────────────────────────────────────────────

    async def open(self, server: str, ttl: float, *, takeover: bool = False) -> Lease:
        if self._open:
            raise StoreRefused(f"{self._name} is open already, for {self._server}")
        self._server = server
        self._writing.start()
        if self._reading is not self._writing:
            self._reading.start()
        try:
            lease = await self._writing.call(self._open_file)
        except BaseException:
            # Who waits may have been cancelled, and then the file is open all the same.
            self._writing.call(self._disconnect)
            self._stop()
            raise
        self._open = True
        return lease

    async def close(self, *, release: bool = True) -> None:
        if self._open:
            self._open = False
            try:
                await self._writing.call(self._disconnect)
            finally:
                self._stop()

    # ── writing ──────────────────────────────────────────────────────────────

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        todo = plan(adds, ends, gives, self.traits)
        known = self._known
        mine = known.mine
        missed: list[JobId] = []
        gives = todo.gives
        if gives:
            missed = [give.id for give in gives if give.id not in mine]
            gives = [give for give in gives if give.id in mine]
            todo = todo._replace(gives=gives)
        held = held_of(todo.ends, mine)
        hold(todo.adds, mine)
        ending = [end.id for end in todo.ends]
        known.ending.update(ending)
        changes = Changes()
        cancelled: asyncio.CancelledError | None = None
        try:
            if todo.adds or todo.ends or todo.stillborn or self._needs_writing(gives):
                here = self.lone is not None and self.lone.commits() and _is_one(todo)
                answer = self._write(lambda writer: self._timed(writer, todo, held), here=here)
                try:
                    changes = await answer
                except asyncio.CancelledError as error:
                    # What the file has done is counted here even if the caller goes away.
                    cancelled = error
                    changes = answer.result()
        except BaseException:
            known.untake(todo.adds)
            raise
        finally:
            known.ending.difference_update(ending)
        known.learn(changes)
        known.settle_adds(todo, changes.fresh)
        if self._claiming.locked():
            known.gone.update(ending)
            known.gone.update(give.id for give in gives if give.run_at is not None)
        for number, count in let_go(held, mine).items():
            known.queue(number).mine -= count
        for give in gives:
            if give.run_at is not None:
                known.let_go(give.id)
            elif give.placement is Placement.POOL:
                known.queue(known.let_go(give.id)).came(give.id)
        if cancelled is not None:
            raise cancelled
        return Committed(complete(todo.answers), missed + changes.missed)

    def _timed(self, writer: SqliteWriter, todo: Plan, held: dict[JobId, int]) -> Changes:
        if self.lone is None:
            return writer.commit(todo, held)
        began = time.monotonic()
        try:
            return writer.commit(todo, held)
        finally:
            self.lone.took(time.monotonic() - began)

    def _needs_writing(self, gives: Sequence[Give]) -> bool:
        if any(give.attempts is not None or give.run_at is not None for give in gives):
            return True
        # Nobody holds it any more, so it must not hide in the log.
        log = self._writer.log if self._writer is not None else None
        return log is not None and any(give.id in log.where for give in gives)

    async def due(self, now: float, limit: int) -> Due:
        return await asyncio.shield(asyncio.ensure_future(self._due(now, limit)))

    async def _due(self, now: float, limit: int) -> Due:
        if not any(queue.delayed for queue in self._known.queues.values()):
            self._check_open()
            return Due({}, None)
        changes, first = await self._write(lambda writer: writer.due(now, limit))
        self._known.learn(changes)
        moved = {self._known.queue(q).key: ready for q, (ready, _) in changes.counts.items()}
        return Due(moved, first)

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        return await asyncio.shield(asyncio.ensure_future(self._dead_retry(ids)))

    async def _dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        changes, went = await self._write(lambda writer: writer.dead_retry(ids))
        self._known.learn(changes)
        return went

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        return await self._write(lambda writer: writer.dead_delete(ids))

    # ── the lease, which nobody can take away ────────────────────────────────

    async def heartbeat(self) -> float:
        self._check_open()
        return math.inf

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        return await asyncio.shield(asyncio.ensure_future(self._renew(keep, ended)))

    async def _renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        def work(writer: SqliteWriter) -> tuple[Lease, list[tuple[JobId, int]]]:
            # What an ambiguous commit has done to the counters is in the file.
            self._known.mine.clear()
            self._known.recall(writer)
            self._known.learn(writer.commit(plan([], ended, [], self.traits), {}))
            return self._new_lease(), [*writer.logged(keep), *reader.present(writer.db, keep)]

        async with self._claiming:
            lease, kept = await self._write(work)
            for id, number in kept:
                self._known.hold(id, number)
        return Renewed(lease, [id for id, _ in kept])

    async def adopt(self) -> int:
        self._check_open()
        return 0

    def on_news(self, call: Callable[[QueueKey], None]) -> None:
        """There are no other servers, so there is no news."""

    async def ask(self, id: JobId, question: bytes) -> bytes | None:
        return None  # nobody else has this file

    def on_asked(self, call: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Nobody will ask."""

    # ── housekeeping ─────────────────────────────────────────────────────────

    def room(self) -> Room | None:
        folder = str(self.path.parent if self.path else self._spill_folder or tempfile.gettempdir())
        try:
            disk = os.statvfs(folder)
        except OSError:
            return None
        return Room(folder, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)

    async def tidy(self) -> bool:
        writer = self._writer
        if writer is not None and writer.log.entries:
            await self._settle(ALL, SETTLE_IDLE)
            return True
        more = await self._write(SqliteWriter.tidy)
        # What was read and written in busier times is in the file, and the system has it too.
        await self._write(lambda writer: shrink(writer.db))
        await self._read(shrink)
        return more
