"""The log of a SQLite store: jobs as they came, a row for each commit, or few.

A row of its own costs a job three pages in three trees. So what is plain (ready,
small, told by id, queue, key and body) is first written to the log, many jobs in
one row; when it is over before anybody asked for it, an id in a later commit
says so, and that was all. From the old end the log is cut off: where nothing is
left of a commit its row goes, and where something is left and the log is long,
or there is time, that becomes rows (``rest_of`` reads them).

Whether a job is in the log must be known without asking the file, so what is in it
is remembered here, but for the bodies. When a transaction fails this memory is wrong
and is read anew (``SqliteWriter.transaction``).

Ids in the log only go up: a job with an older id is not plain. So whatever is cut
off is older than all that stays.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from struct import pack, unpack
from typing import Any, Final, cast

from geartrain.stores.port import (
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    QueueKey,
    StoredJob,
)

#: A larger body is worth a row at once.
LARGEST_BODY: Final = 8192
#: With more in it, as many as come are moved on to rows of their own.
MOST_JOBS: Final = 131_072
MOST_BYTES: Final = 64 * 2**20
#: Of bodies in one row of the log. A damaged page takes a whole row with it.
ENTRY_BYTES: Final = 16 * 2**10
#: What each job in it counts beside its body, over or not: a start reads them all.
JOB_BYTES: Final = 100

_WRITE: Final = (
    "INSERT INTO log (no, top, ids, queues, sizes, data, over) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

# As ``AddResult(...)``, which is a function of Python.
_added: Final = cast("Callable[[tuple[Any, ...]], AddResult]", partial(tuple.__new__, AddResult))
_STORED: Final = Added.STORED
_MERGED: Final = Added.MERGED
_MINE: Final = Placement.MINE
_POOL: Final = Placement.POOL
_NO_HEADERS: Final = StoredJob._field_defaults["headers"]

#: Id, queue, key and body.
Plain = tuple[int, int, bytes | None, bytes]
#: Adds with their place among the answers, as ``batch.Plan`` has them.
Adds = list[tuple[int, Add]]


class Entry:
    """One row of the log."""

    def __init__(self, no: int, top: int, live: int, size: int) -> None:
        self.no = no
        #: The highest id ever stored when it was written.
        self.top = top
        #: Jobs of it that are still in the log.
        self.live = live
        #: Bytes.
        self.size = size


class JobLog:
    """What is in the log, and how it changes."""

    def __init__(self) -> None:
        self.most_jobs = MOST_JOBS
        self.most_bytes = MOST_BYTES
        #: Oldest first.
        self.entries: deque[Entry] = deque()
        #: {id: (entry, queue, key)}
        self.where: dict[int, tuple[Entry, int, bytes | None]] = {}
        #: {function: {key: id}}
        self.keys: dict[int, dict[bytes, int]] = {}
        #: Bytes of all entries.
        self.size = 0
        #: Number of the newest entry that there ever was.
        self.last = 0
        #: Ids that have left since the last ``write``, with their entries.
        self._left: list[tuple[Entry, int]] = []
        self._cut = 0

    @property
    def crowded(self) -> bool:
        """More is in it than should be."""
        return len(self.where) > self.most_jobs or self.size > self.most_bytes

    def load(self, db: sqlite3.Connection) -> None:
        """Know what the file says."""
        self.entries.clear()
        self.where.clear()
        self.keys.clear()
        self._left.clear()
        self._cut = 0
        self.size = 0
        where = self.where
        #: From the newest to the oldest: so what is over costs next to nothing. A single
        #: job may keep millions of these in the log.
        gone: set[int] = set()
        for no, top, ids, queues, sizes, data, over in db.execute(
            "SELECT no, top, ids, queues, sizes, data, over FROM log ORDER BY no DESC"
        ):
            self.last = max(self.last, no)
            count = len(ids) // 8
            size = len(data) + len(over) + JOB_BYTES * count
            entry = Entry(no, top, 0, size)
            self.size += size
            self.entries.appendleft(entry)
            numbers = unpack(f"<{count}q", ids)
            if not gone.issuperset(numbers):
                names = unpack(f"<{count}I", queues)
                lengths = unpack(f"<{count}I", sizes[: 4 * count])
                at = 0
                for place in range(count):
                    id: int = numbers[place]
                    length: int = lengths[place]
                    at += length
                    if id in gone:
                        continue
                    queue: int = names[place]
                    entry.live += 1
                    if length:
                        key: bytes = data[at - length : at]
                        where[id] = (entry, queue, key)
                        self.keys.setdefault(queue >> 2, {})[key] = id
                    else:
                        where[id] = (entry, queue, None)
            gone.update(unpack(f"<{len(over) // 8}q", over))

    def leave(self, id: int) -> int:
        """A job is over, or becomes a row: its queue, or -1 if it is not in the log."""
        spot = self.where.pop(id, None)
        if spot is None:
            return -1
        entry, queue, key = spot
        entry.live -= 1
        self._left.append((entry, id))
        if key is not None:
            del self.keys[queue >> 2][key]
        return queue

    def leave_all(self, ends: Sequence[Ending], counts: dict[int, int]) -> list[Ending]:
        """The same of many; ``counts`` says how many left, by queue.

        Returns:
            Those that are not in the log.
        """
        others: list[Ending] = []
        for end in ends:
            queue = self.leave(end[0])
            if queue < 0:
                others.append(end)
            else:
                counts[queue] = counts.get(queue, 0) + 1
        return others

    def holder(self, function: int, key: bytes) -> int:
        """The job in the log that has this key, or -1."""
        keys = self.keys.get(function)
        return -1 if keys is None else keys.get(key, -1)

    def cut(self) -> int:
        """Cut off what is over at the old end; up to which number since ``write``, 0 for nothing."""
        while self.entries and self.entries[0].live == 0:
            entry = self.entries.popleft()
            self.size -= entry.size
            self._cut = entry.no
        return self._cut

    def sort_out(
        self,
        adds: Adds,
        answers: list[AddResult | None],
        floor: int,
        taken: Mapping[tuple[int, bytes], int] | None,
        number_of: Callable[[QueueKey], int],
        has_keys: Callable[[int], bool],
    ) -> tuple[list[Plain], Adds, dict[int, int], dict[int, int]] | None:
        """Answer those adds that go to the log, or whose key has somebody in it.

        Args:
            adds: of one commit.
            answers: filled in.
            floor: the highest id ever stored.
            taken: ``{(function, key): id}``: holders of keys that have rows; None as
                long as nobody has looked.
            number_of: the number of a queue.
            has_keys: whether a function may have rows with keys.

        Returns:
            None if somebody has to look who holds which key. What ``write`` is to write; what wants a row; by queue, how many were
            answered with STORED, and the lowest id of those that nobody holds.
        """
        plain: list[Plain] = []
        rest: Adds = []
        counts: dict[int, int] = {}
        lows: dict[int, int] = {}
        #: Keys whose first job in this commit wants a row.
        put_off: set[tuple[int, bytes]] = set()
        numbers: dict[QueueKey, int] = {}
        keys: dict[bytes, int] = {}
        #: Most follow one that goes to the same queue.
        last: QueueKey | None = None
        number = function = -1
        count = 0
        for one in adds:
            place, (job, placement) = one
            id, queue, body, unique, key, run_at, reducer, attempts, headers = job
            if queue is not last:
                if count:
                    counts[number] = counts.get(number, 0) + count
                    count = 0
                last = queue
                number = numbers.get(queue, -1)
                if number < 0:
                    number = numbers[queue] = number_of(queue)
                    if taken is None and has_keys(number >> 2):
                        # What was noted of keys before is of functions without such rows.
                        return None
                function = number >> 2
                found = self.keys.get(function)
                if found is None:
                    found = self.keys[function] = {}
                keys = found
            if key is not None:
                holder = keys.get(key, -1)
                if holder < 0 and taken:
                    holder = taken.get((function, key), -1)
                if holder >= 0 and holder != id:
                    answers[place] = AddResult(_MERGED, JobId(holder), _POOL)
                    continue
                plain_key = unique == key and len(key) > 0
            else:
                plain_key = not unique
            if (
                not plain_key
                or id <= floor
                or run_at is not None
                or body is None
                or len(body) > LARGEST_BODY
                or attempts
                or reducer is not None
                or (headers is not _NO_HEADERS and headers)
                or (put_off and key is not None and (function, key) in put_off)
            ):
                if key is not None:
                    put_off.add((function, key))
                rest.append(one)
                continue
            if key is not None:
                keys[key] = id
            plain.append((id, number, key, body))
            answers[place] = _added((_STORED, id, placement))
            count += 1
            if placement is not _MINE and id < lows.get(number, id + 1):
                lows[number] = id
        if count:
            counts[number] = counts.get(number, 0) + count
        return plain, rest, counts, lows

    def counts(self) -> dict[int, int]:
        """How many jobs are in the log, by queue."""
        counts: dict[int, int] = {}
        for _, queue, _ in self.where.values():
            counts[queue] = counts.get(queue, 0) + 1
        return counts

    def pools(self) -> list[tuple[int, int, int]]:
        """Entry, queue and lowest id of it there, for all that is in the log; oldest entry first."""
        lows: dict[tuple[int, int], int] = {}
        for id, (entry, queue, _) in self.where.items():
            spot = entry.no, queue
            lows[spot] = min(id, lows.get(spot, id))
        return sorted([(no, queue, low) for (no, queue), low in lows.items()])

    def write(self, db: sqlite3.Cursor, jobs: Sequence[Plain], top: int) -> int:
        """Write down what came and what left; the number of the newest entry, 0 for none.

        Call ``cut`` before: what left entries that are cut off need not be told.
        """
        cut = self._cut
        if cut:
            db.execute("DELETE FROM log WHERE no <= ?", [cut])
            self._cut = 0
        over = [id for entry, id in self._left if entry.no > cut]
        self._left.clear()
        if not jobs and not over:
            return 0
        size = begin = 0
        for at, job in enumerate(jobs):
            size += len(job[3])
            if size > ENTRY_BYTES and at > begin:
                self._write_entry(db, jobs[begin:at], top, over)
                over = []
                size, begin = len(job[3]), at
        self._write_entry(db, jobs[begin:] if begin else jobs, top, over)
        return self.last

    def _write_entry(
        self, db: sqlite3.Cursor, jobs: Sequence[Plain], top: int, over: list[int]
    ) -> None:
        count = len(jobs)
        keys = [job[2] or b"" for job in jobs]
        bodies = [job[3] for job in jobs]
        data = b"".join(keys) + b"".join(bodies)
        # What is bytes, sqlite3 looks for an adapter of, at some thousand instructions each;
        # a bytearray it takes as it is.
        row = (
            self.last + 1,
            top,
            bytearray(pack(f"<{count}q", *[job[0] for job in jobs])),
            bytearray(pack(f"<{count}I", *[job[1] for job in jobs])),
            bytearray(
                pack(f"<{2 * count}I", *[len(key) for key in keys], *[len(body) for body in bodies])
            ),
            bytearray(data),
            bytearray(pack(f"<{len(over)}q", *over)),
        )
        db.execute(_WRITE, row)
        self.last += 1
        self._remember(self.last, top, jobs, len(data) + 8 * len(over))

    def _remember(self, no: int, top: int, jobs: Sequence[Plain], size: int) -> None:
        entry = Entry(no, top, len(jobs), size + JOB_BYTES * len(jobs))
        self.size += entry.size
        self.entries.append(entry)
        where = self.where
        for id, queue, key, _ in jobs:
            where[id] = (entry, queue, key)

    def rest_of(self, db: sqlite3.Connection, no: int) -> list[Plain]:
        """The jobs of an entry that are still in the log, with their bodies."""
        row = db.execute("SELECT ids, queues, sizes, data FROM log WHERE no = ?", [no]).fetchone()
        if row is None:
            return []  # it was cut off: nothing of it was left
        return [job for job in _jobs(*row) if job[0] in self.where]


def _jobs(ids: bytes, queues: bytes, sizes: bytes, data: bytes) -> Iterator[Plain]:
    count = len(ids) // 8
    lengths = unpack(f"<{2 * count}I", sizes)
    numbers = unpack(f"<{count}I", queues)
    at = 0
    body_at = sum(lengths[:count])
    for place, id in enumerate(unpack(f"<{count}q", ids)):
        key = data[at : at + lengths[place]] or None
        at += lengths[place]
        size = lengths[count + place]
        yield id, numbers[place], key, data[body_at : body_at + size]
        body_at += size
