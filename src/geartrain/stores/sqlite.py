"""The SQLite store: one machine, one server, nothing to install.

Two threads: one writes, one reads beside it. A commit is one transaction and
one fsync, however many jobs are in it. What is plain shares a row with others, in
the log, and becomes a row of its own only if it is there for long, or somebody
wants to know more of it (``sqlite_log``); readers never look into the log.

Which rows the server holds is kept in memory only (``_mine``): a claim is a
read that steps over them, and after a crash every row is in the pool again by
itself. So a job costs two row writes in its life, whatever way it takes.

How rows are claimed while others are written, without a lock between the two
threads:

* an id goes into ``_mine`` *before* its row is written, so that no claim can
  see the row and not the id;
* an id whose row is being deleted is in ``_ending`` meanwhile, and stays in
  ``_gone`` while a claim is reading, for that claim may look at the file as it
  was before; what it read of these is dropped;
* claims are made one at a time, so each sees what the one before took;
* a claim stops below the oldest job in the log that nobody holds (``KnownQueue.below``),
  and has its queue's part of the log settled when that was not enough.

``memory://`` is the same store on a file without a name: nothing survives, and
a long queue does not fill the memory.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from geartrain.stores import sqlite_reader as reader
from geartrain.stores.batch import Plan, complete, plan
from geartrain.stores.lane import Answer, Lane
from geartrain.stores.port import (
    Add,
    Committed,
    Count,
    DeadJob,
    Due,
    Ending,
    Give,
    JobFacts,
    JobId,
    Lease,
    LeaseId,
    Placement,
    QueueKey,
    Renewed,
    Room,
    StoredJob,
    StoreDown,
    StoreRefused,
    Traits,
)
from geartrain.stores.sqlite_file import (
    FileLock,
    check_place,
    connect,
    explain,
    log_of,
    open_file,
    open_spill,
)
from geartrain.stores.sqlite_hold import WRITING, held_of, hold, let_go, settle
from geartrain.stores.sqlite_queue import ALL, KnownQueue
from geartrain.stores.sqlite_writer import Changes, SqliteWriter
from geartrain.stores.url import StoreUrl

T = TypeVar("T")

log = logging.getLogger("geartrain.stores")

#: SQLite's own limit for a row is 1,000,000,000 bytes.
MAX_BODY: Final = 999_000_000
MAX_BATCH: Final = 50_000
CACHE_BYTES: Final = 16 << 20
#: Jobs that get rows at a time, between two commits ...
SETTLE: Final = 1000
#: ... and when there is nothing else to do.
SETTLE_IDLE: Final = 4000

#: Errors after which the connection is made anew: the disk may be well again.
_STALE: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
                 sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # fmt: skip


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


def _inode_of(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


class SqliteStore:
    """Keeps jobs in one file (see the port for what each method promises)."""

    def __init__(
        self,
        path: Path | None,
        *,
        spill_folder: str | None = None,
        cache_bytes: int = CACHE_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            path: the file; None for one without a name, which ends with the process.
            spill_folder: where that one is; None for the system's folder for such things.
            cache_bytes: of pages, for each of the two connections.
            wall: seconds since 1970.
        """
        self.path = path
        self._spill_folder = spill_folder
        self._cache_bytes = cache_bytes
        self._wall = wall
        self._name = path or Path("the spill file")
        self._server = ""
        self._lock: FileLock | None = None
        self._inode = (0, 0)
        #: SQLite's own, beside the file: what is in it may be nowhere else.
        self._sqlite_log = ""
        self._log_inode = (0, 0)
        self._lease = LeaseId(0)
        self._open = False
        self._writing = Lane("geartrain-store-writer")
        # A file without a name has one connection for both.
        self._reading = Lane("geartrain-store-reader") if path else self._writing
        self._writer: SqliteWriter | None = None
        self._reader: sqlite3.Connection | None = None
        self._stale = False
        #: {number: (tenant, function)} and the reverse.
        self._functions: dict[int, tuple[str, bytes]] = {}
        self._numbers: dict[tuple[str, bytes], int] = {}
        #: {queue number: KnownQueue}
        self._queues: dict[int, KnownQueue] = {}
        #: Entries of the log up to this number are gone.
        self._cut = 0
        #: Rows that the server holds, with their queues; -1 while being written.
        self._mine: dict[JobId, int] = {}
        #: Rows that are being ended.
        self._ending: set[JobId] = set()
        #: Rows that ended, or were put off, while a claim was reading.
        self._gone: set[JobId] = set()
        self._claiming = asyncio.Lock()

    @property
    def traits(self) -> Traits:
        durable: Final = "fsync" if self.path else "none"
        return Traits(shared=False, durable=durable, max_body=MAX_BODY, max_batch=MAX_BATCH)

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

    def _open_file(self) -> Lease:
        if self.path is not None:
            check_place(self.path)
            self._lock = FileLock(self.path, self._server)
        try:
            self._connect()
            return self._new_lease()
        except BaseException as error:
            self._disconnect()
            cause = error.__cause__
            if (
                isinstance(error, StoreDown)
                and isinstance(cause, sqlite3.Error)
                and cause.sqlite_errorcode & 0xFF in _STALE
            ):
                raise StoreRefused(str(error)) from cause  # trying again changes nothing
            raise

    def _connect(self, *, again: bool = False) -> None:
        self._disconnect()
        if self.path is None:
            db = open_spill(self._spill_folder, cache_bytes=self._cache_bytes)
            self._reader = db
        else:
            db = open_file(self.path, cache_bytes=self._cache_bytes, again=again)
            try:
                self._inode = _inode_of(self.path)
                self._reader = connect(self.path, cache_bytes=self._cache_bytes, read_only=True)
            except BaseException:
                db.close()
                raise
        self._writer = SqliteWriter(db, self._name, self._wall)
        self._recall()
        if self.path is not None:
            self._sqlite_log = log_of(self.path)
            self._log_inode = _inode_of(self._sqlite_log)
        self._stale = False

    def _recall(self) -> None:
        """Know again what the file says."""
        assert self._writer is not None
        functions, counters = self._writer.load()
        self._functions = {number: (tenant, name) for tenant, name, number in functions}
        self._numbers = {names: number for number, names in self._functions.items()}
        self._queues = {}
        for number, (ready, delayed) in counters.items():
            queue = self._queue(number)
            queue.ready = ready
            queue.delayed = delayed
        self._cut = 0
        for entry, number, low in self._writer.log.pools():
            self._queue(number).logged.append((entry, entry, low))
        for number in self._mine.values():
            if number >= 0:
                self._queue(number).mine += 1

    def _disconnect(self) -> None:
        for db in (self._reader, self._writer.db if self._writer else None):
            if db is not None:
                db.close()
        self._reader = self._writer = None

    def _new_lease(self) -> Lease:
        assert self._writer is not None
        self._lease = LeaseId(self._writer.next_lease())
        return Lease(self._lease, self._writer.floor)

    async def close(self, *, release: bool = True) -> None:
        if self._open:
            self._open = False
            try:
                await self._writing.call(self._disconnect)
            finally:
                self._stop()

    def _stop(self) -> None:
        self._reading.stop()
        self._writing.stop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ── calls to the threads ─────────────────────────────────────────────────

    def _write(self, work: Callable[[SqliteWriter], T]) -> Answer[T]:
        def run() -> T:
            writer = self._ready_writer()
            try:
                return work(writer)
            except Exception as error:
                cause = error.__cause__
                if isinstance(cause, sqlite3.Error) and cause.sqlite_errorcode & 0xFF in _STALE:
                    self._stale = True
                raise

        self._check_open()
        return self._writing.call(run)

    def _ready_writer(self) -> SqliteWriter:
        if self.path is not None:
            try:
                inode = _inode_of(self.path)
            except OSError as error:
                raise StoreDown(
                    f"{self.path} is gone ({error.strerror}); put it back, or restart"
                ) from error
            if inode != self._inode:
                # What is written now would be written to a file without a name.
                raise StoreDown(
                    f"{self.path} was replaced by another file; put it back, or restart"
                )
            if self._stale:
                try:
                    self._connect(again=True)
                except StoreRefused as error:
                    raise StoreDown(str(error)) from error
            self._keep_log()
        assert self._writer is not None
        return self._writer

    def _keep_log(self) -> None:
        """See to it that SQLite writes to a log that would be found after a crash."""
        assert self.path is not None
        assert self._writer is not None
        try:
            inode = _inode_of(self._sqlite_log)
        except OSError:
            # It is still open: all that is in it goes to the file, and then it has a new one.
            self._writer.bring_home()
            self._connect(again=True)
            log.error("%s was removed; what was in it is in %s", self._sqlite_log, self.path)
            return
        if inode != self._log_inode:
            raise StoreDown(
                f"{self._sqlite_log} was replaced by another file; put it back, or remove it"
            )

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            if self._reader is None:
                raise StoreDown(f"{self._name} could not be opened again")
            try:
                return work(self._reader)
            except sqlite3.Error as error:
                raise explain(error, self._name) from error

        self._check_open()
        return await self._reading.call(run)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreDown(f"{self._name} is closed")

    # ── writing ──────────────────────────────────────────────────────────────

    async def commit(
        self, adds: Sequence[Add], ends: Sequence[Ending], gives: Sequence[Give]
    ) -> Committed:
        todo = plan(adds, ends, gives, self.traits)
        mine = self._mine
        missed: list[JobId] = []
        gives = todo.gives
        if gives:
            missed = [give.id for give in gives if give.id not in mine]
            gives = [give for give in gives if give.id in mine]
            todo = todo._replace(gives=gives)
        known = held_of(todo.ends, mine)
        hold(todo.adds, mine)
        ending = [end.id for end in todo.ends]
        self._ending.update(ending)
        changes = Changes()
        cancelled: asyncio.CancelledError | None = None
        try:
            if todo.adds or todo.ends or todo.stillborn or self._needs_writing(gives):
                answer = self._write(lambda writer: writer.commit(todo, known))
                try:
                    changes = await answer
                except asyncio.CancelledError as error:
                    # What the file has done is counted here even if the caller goes away.
                    cancelled = error
                    changes = answer.result()
        except BaseException:
            self._untake(todo.adds)
            raise
        finally:
            self._ending.difference_update(ending)
        self._learn(changes)
        self._settle_adds(todo)
        if self._claiming.locked():
            self._gone.update(ending)
            self._gone.update(give.id for give in gives if give.run_at is not None)
        for number, count in let_go(known, mine).items():
            self._queue(number).mine -= count
        for give in gives:
            if give.run_at is not None:
                self._let_go(give.id)
            elif give.placement is Placement.POOL:
                self._queue(self._let_go(give.id)).came(give.id)
        if cancelled is not None:
            raise cancelled
        return Committed(complete(todo.answers), missed + changes.missed)

    def _settle_adds(self, todo: Plan) -> None:
        """Hold what was stored as mine, and let each answer say who holds the row."""
        mine, answers = self._mine, todo.answers
        held, others = settle(todo.adds, answers, mine, self._numbers)
        for number, count in held.items():
            self._queue(number).mine += count
        if others:
            self._untake(others)
        for place, _ in others:
            answer = answers[place]
            assert answer is not None
            placement = Placement.MINE if answer.id in mine else Placement.POOL
            if placement is not answer.placement:
                answers[place] = answer._replace(placement=placement)

    def _untake(self, adds: Sequence[tuple[int, Add]]) -> None:
        """What was to be mine and is not: it merged, or its row was in the pool already."""
        mine = self._mine
        for _, (job, _) in adds:
            if mine.get(job.id) == WRITING:
                del mine[job.id]
                number = self._numbers.get(job.queue[:2])
                if number is not None:
                    # A claim may have stepped over it meanwhile.
                    self._queue(number << 2 | job.queue.priority).came(job.id)

    def _learn(self, changes: Changes) -> None:
        """Count along with what is durable now."""
        for tenant, name, number in changes.functions:
            self._functions[number] = (tenant, name)
            self._numbers[tenant, name] = number
        for number, (ready, delayed) in changes.counts.items():
            queue = self._queue(number)
            queue.ready += ready
            queue.delayed += delayed
        for number, id in changes.pooled:
            self._queue(number).came(id)
        for number, low in changes.lows.items():
            self._queue(number).logged.append((*changes.entries, low))
        self._cut = max(self._cut, changes.cut)

    def _queue(self, number: int) -> KnownQueue:
        queue = self._queues.get(number)
        if queue is None:
            key = QueueKey(*self._functions[number >> 2], number & 3)
            queue = self._queues[number] = KnownQueue(key, number)
        return queue

    def _number(self, key: QueueKey) -> int:
        return self._numbers[key.tenant, key.function] << 2 | key.priority

    def _hold(self, id: JobId, number: int) -> None:
        self._mine[id] = number
        self._queue(number).mine += 1

    def _let_go(self, id: JobId) -> int:
        number = self._mine.pop(id)
        self._queue(number).mine -= 1
        return number

    async def claim(
        self, queue: QueueKey, limit: int, max_bytes: int, *, max_body: int | None = None
    ) -> Sequence[StoredJob]:
        return await asyncio.shield(
            asyncio.ensure_future(self._claim(queue, limit, max_bytes, max_body))
        )

    async def _claim(
        self, key: QueueKey, limit: int, max_bytes: int, max_body: int | None
    ) -> Sequence[StoredJob]:
        async with self._claiming:
            number = self._numbers.get((key.tenant, key.function))
            queue = self._queues.get(-1 if number is None else number << 2 | key.priority)
            self._check_open()
            if queue is None or queue.ready == queue.mine:
                return []
            queue.lowered = ALL
            self._gone.clear()
            while True:
                below = queue.below(self._cut)
                found, enough = await self._read(
                    lambda db: reader.ready_rows(
                        db, queue.key, queue.number, queue.mark, below,  # noqa: B023
                        self._mine, limit, max_bytes, max_body,
                    )
                )  # fmt: skip
                if enough or below == ALL:
                    break
                await self._settle_queue(queue)
            jobs = [job for job in found if not (job.id in self._gone or job.id in self._ending)]
            if found:
                queue.mark = min(found[-1].id, queue.lowered)
            for job in found if len(jobs) < len(found) else ():
                if job.id in self._ending:
                    # That commit may still fail: the row must not be passed for good.
                    queue.came(job.id)
            for job in jobs:
                self._hold(job.id, queue.number)
            return jobs

    async def _settle(self, upto: int, most: int) -> bool:
        """Have old jobs of the log made rows; whether there are more of them."""

        async def settle() -> bool:
            changes, more = await self._write(lambda writer: writer.settle(upto, most))
            self._learn(changes)
            return more

        return await asyncio.shield(asyncio.ensure_future(settle()))

    async def _settle_queue(self, queue: KnownQueue) -> None:
        """Have the oldest jobs of a queue that are in the log made rows; other queues wait."""
        where = [(first, last) for first, last, _ in islice(queue.logged, SETTLE)]
        changes, done = await self._write(
            lambda writer: writer.settle_queue(queue.number, where, SETTLE)
        )
        self._learn(changes)
        queue.pass_by(done)

    async def _settle_all(self) -> None:
        """What was answered for before this call has a row after it."""
        writer = self._writer
        if writer is not None and writer.log.entries:
            upto = writer.log.last
            while await self._settle(upto, SETTLE):
                pass

    async def _settle_these(self, ids: Sequence[JobId]) -> None:
        writer = self._writer
        if writer is not None and any(id in writer.log.where for id in ids):

            async def settle() -> None:
                self._learn(await self._write(lambda writer: writer.settle_these(ids)))

            await asyncio.shield(asyncio.ensure_future(settle()))

    def _needs_writing(self, gives: Sequence[Give]) -> bool:
        if any(give.attempts is not None or give.run_at is not None for give in gives):
            return True
        # Nobody holds it any more, so it must not hide in the log.
        log = self._writer.log if self._writer is not None else None
        return log is not None and any(give.id in log.where for give in gives)

    async def due(self, now: float, limit: int) -> Due:
        return await asyncio.shield(asyncio.ensure_future(self._due(now, limit)))

    async def _due(self, now: float, limit: int) -> Due:
        if not any(queue.delayed for queue in self._queues.values()):
            self._check_open()
            return Due({}, None)
        changes, first = await self._write(lambda writer: writer.due(now, limit))
        self._learn(changes)
        moved = {self._queue(q).key: ready for q, (ready, _) in changes.counts.items()}
        return Due(moved, first)

    # ── the lease, which nobody can take away ────────────────────────────────

    async def heartbeat(self) -> float:
        self._check_open()
        return math.inf

    async def renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        return await asyncio.shield(asyncio.ensure_future(self._renew(keep, ended)))

    async def _renew(self, keep: Sequence[JobId], ended: Sequence[Ending]) -> Renewed:
        def work(writer: SqliteWriter) -> tuple[Lease, list[tuple[JobId, int]]]:
            # What an ambiguous commit has done to the counters is in the file.
            self._mine.clear()
            self._recall()
            self._learn(writer.commit(plan([], ended, [], self.traits), {}))
            return self._new_lease(), [*writer.logged(keep), *reader.present(writer.db, keep)]

        async with self._claiming:
            lease, kept = await self._write(work)
            for id, number in kept:
                self._hold(id, number)
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

    # ── looking ──────────────────────────────────────────────────────────────

    async def load(self, ids: Sequence[JobId]) -> Mapping[JobId, bytes]:
        await self._settle_these(ids)
        return await self._read(lambda db: reader.bodies(db, ids))

    async def counts(self) -> Mapping[QueueKey, Count]:
        self._check_open()
        return {q.key: Count(q.ready - q.mine, q.delayed) for q in self._queues.values()}

    async def find(
        self, tenant: str, *, id: JobId | None = None, key: tuple[bytes, bytes] | None = None
    ) -> JobFacts | None:
        if key is not None:
            writer, number = self._writer, self._numbers.get((tenant, key[0]))
            if writer is not None and number is not None:
                await self._settle_these([JobId(writer.log.holder(number, key[1]))])
        elif id is not None:
            await self._settle_these([id])
        return await self._read(
            lambda db: reader.find(db, tenant, id, key, self._mine, self._server)
        )

    async def holders(self, tenant: str, key: bytes) -> Sequence[JobFacts]:
        writer = self._writer
        numbers = [no for (owner, _), no in self._numbers.items() if owner == tenant]
        if writer is not None:
            await self._settle_these([JobId(writer.log.holder(no, key)) for no in numbers])
        return await self._read(
            lambda db: reader.holders(db, tenant, key, self._mine, self._server)
        )

    async def scan(
        self, tenant: str | None, after: JobId, limit: int, *, function: bytes | None = None
    ) -> Sequence[JobFacts]:
        await self._settle_all()
        return await self._read(
            lambda db: reader.scan(db, tenant, after, limit, function, self._mine, self._server)
        )

    # ── the dead ─────────────────────────────────────────────────────────────

    async def dead_list(
        self,
        tenant: str | None,
        after: JobId,
        limit: int,
        *,
        function: bytes | None = None,
        bodies: bool = False,
    ) -> Sequence[DeadJob]:
        return await self._read(
            lambda db: reader.dead_list(db, tenant, after, limit, function, bodies)
        )

    async def dead_show(self, id: JobId) -> DeadJob | None:
        return await self._read(lambda db: reader.dead_show(db, id))

    async def dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        return await asyncio.shield(asyncio.ensure_future(self._dead_retry(ids)))

    async def _dead_retry(self, ids: Sequence[JobId]) -> Sequence[JobId]:
        changes, went = await self._write(lambda writer: writer.dead_retry(ids))
        self._learn(changes)
        return went

    async def dead_delete(self, ids: Sequence[JobId]) -> int:
        return await self._write(lambda writer: writer.dead_delete(ids))

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
        return await self._write(SqliteWriter.tidy)
