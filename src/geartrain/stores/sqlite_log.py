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
from struct import Struct, pack, unpack
from sys import byteorder
from typing import Final

from geartrain._native import mypyc_attr
from geartrain.stores.records import (
    NO_HEADERS,
    Add,
    Added,
    AddResult,
    Ending,
    JobId,
    Placement,
    QueueKey,
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

#: ``<`` takes twice as long as the machine's own order, where that is the same.
_ORDER: Final = "" if byteorder == "little" else "<"
#: For what is written one at a time.
_ONE: Final = {code: Struct(_ORDER + code).pack for code in ("I", "q")}
_STORED: Final = Added.STORED
_MERGED: Final = Added.MERGED
_MINE: Final = Placement.MINE
_POOL: Final = Placement.POOL


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


@mypyc_attr(acyclic=True)
class Plain:
    """A plain job, on its way to the log and while it is there.

    Attributes:
        queue: its queue's number.
        body: empty once it is written.
        entry: where it was written; None before.
    """

    def __init__(self, id: int, queue: int, key: bytes | None, body: bytes) -> None:
        self.id: Final = id
        self.queue: Final = queue
        self.key: Final = key
        self.body = body
        self.entry: Entry | None = None


class Sorted:
    """What becomes of the adds of a commit.

    Attributes:
        plain: those that go to the log.
        rest, places: those that want rows, and their places among the answers.
        counts: by queue, how many go to the log.
        lows: by queue, the lowest id of those that nobody holds.
        top: the highest id that goes to the log; -1 for none.
    """

    def __init__(self) -> None:
        self.plain: list[Plain] = []
        self.rest: list[Add] = []
        self.places: list[int] = []
        self.counts: dict[int, int] = {}
        self.lows: dict[int, int] = {}
        self.top = -1


class JobLog:
    """What is in the log, and how it changes."""

    def __init__(self) -> None:
        self.most_jobs = MOST_JOBS
        self.most_bytes = MOST_BYTES
        #: Oldest first.
        self.entries: deque[Entry] = deque()
        #: {id: job}
        self.where: dict[int, Plain] = {}
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
                    key: bytes | None = None
                    if length:
                        key = data[at - length : at]
                        self.keys.setdefault(queue >> 2, {})[key] = id
                    job = where[id] = Plain(id, queue, key, b"")
                    job.entry = entry
            gone.update(unpack(f"<{len(over) // 8}q", over))

    def leave(self, id: int) -> int:
        """A job is over, or becomes a row: its queue, or -1 if it is not in the log."""
        job = self.where.pop(id, None)
        if job is None:
            return -1
        entry = job.entry
        assert entry is not None
        entry.live -= 1
        self._left.append((entry, id))
        if job.key is not None:
            del self.keys[job.queue >> 2][job.key]
        return job.queue

    def leave_all(self, ends: Sequence[Ending], counts: dict[int, int]) -> list[Ending]:
        """The same of many; ``counts`` says how many left, by queue.

        Returns:
            Those that are not in the log.
        """
        others: list[Ending] = []
        for end in ends:
            queue = self.leave(end.id)
            if queue < 0:
                others.append(end)
            else:
                counts[queue] = counts.get(queue, 0) + 1
        return others

    def number_of(self, id: int) -> int:
        """The number of the entry that a job is in."""
        entry = self.where[id].entry
        assert entry is not None
        return entry.no

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
        adds: list[Add],
        places: list[int],
        answers: list[AddResult | None],
        floor: int,
        taken: Mapping[tuple[int, bytes], int] | None,
        number_of: Callable[[QueueKey], int],
        has_keys: Callable[[int], bool],
    ) -> Sorted | None:
        """Answer those adds that go to the log, or whose key has somebody in it.

        Args:
            adds: of one commit.
            places: theirs among the answers.
            answers: filled in.
            floor: the highest id ever stored.
            taken: ``{(function, key): id}``: holders of keys that have rows; None as
                long as nobody has looked.
            number_of: the number of a queue.
            has_keys: whether a function may have rows with keys.

        Returns:
            None if somebody has to look who holds which key.
        """
        found = Sorted()
        plain, counts, lows = found.plain, found.counts, found.lows
        top = -1
        #: Keys whose first job in this commit wants a row.
        put_off: set[tuple[int, bytes]] = set()
        numbers: dict[QueueKey, int] = {}
        keys: dict[bytes, int] = {}
        #: Most follow one that goes to the same queue.
        last: QueueKey | None = None
        number = function = -1
        count = 0
        #: The queue whose lowest id was looked up last, and that id.
        low_of = low = -1
        for at in range(len(adds)):
            add = adds[at]
            job = add.job
            id = job.id
            queue = job.queue
            key = job.key
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
                known = self.keys.get(function)
                if known is None:
                    known = self.keys[function] = {}
                keys = known
            if key is not None:
                holder = keys.get(key, -1)
                if holder < 0 and taken:
                    holder = taken.get((function, key), -1)
                if holder >= 0 and holder != id:
                    answers[places[at]] = AddResult(_MERGED, JobId(holder), _POOL)
                    continue
                plain_key = (job.unique is key or job.unique == key) and len(key) > 0
            else:
                plain_key = len(job.unique) == 0
            body = job.body
            headers = job.headers
            if (
                not plain_key
                or id <= floor
                or job.run_at is not None
                or body is None
                or len(body) > LARGEST_BODY
                or job.attempts != 0
                or job.reducer is not None
                or (headers is not NO_HEADERS and headers)
                or (put_off and key is not None and (function, key) in put_off)
            ):
                if key is not None:
                    put_off.add((function, key))
                found.rest.append(add)
                found.places.append(places[at])
                continue
            if key is not None:
                keys[key] = id
            plain.append(Plain(id, number, key, body))
            placement = add.placement
            answers[places[at]] = AddResult(_STORED, id, placement)
            count += 1
            if id > top:
                top = id
            if placement is not _MINE:
                if number != low_of:
                    low_of, low = number, lows.get(number, -1)
                if low < 0 or id < low:
                    lows[number] = low = id
        if count:
            counts[number] = counts.get(number, 0) + count
        found.top = top
        return found

    def counts(self) -> dict[int, int]:
        """How many jobs are in the log, by queue."""
        counts: dict[int, int] = {}
        for job in self.where.values():
            counts[job.queue] = counts.get(job.queue, 0) + 1
        return counts

    def pools(self) -> list[tuple[int, int, int]]:
        """Entry, queue and lowest id of it there, for all that is in the log; oldest entry first."""
        lows: dict[tuple[int, int], int] = {}
        for id, job in self.where.items():
            assert job.entry is not None
            spot = job.entry.no, job.queue
            lows[spot] = min(id, lows.get(spot, id))
        return sorted([(no, queue, low) for (no, queue), low in lows.items()])

    def fits(self, jobs: list[Plain]) -> bool:
        """All that is to be written is one row of the log, or nothing."""
        if self._left:
            return False
        size = 0
        for job in jobs:
            size += len(job.body)
        return size <= ENTRY_BYTES or len(jobs) == 1

    def write(self, db: sqlite3.Cursor, jobs: list[Plain], top: int) -> int:
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
        for at in range(len(jobs)):
            length = len(jobs[at].body)
            size += length
            if size > ENTRY_BYTES and at > begin:
                self._write_entry(db, jobs[begin:at], top, over)
                over = []
                size, begin = length, at
        self._write_entry(db, jobs[begin:] if begin else jobs, top, over)
        return self.last

    def _write_entry(
        self, db: sqlite3.Cursor, jobs: list[Plain], top: int, over: list[int]
    ) -> None:
        ids: list[int] = []
        queues: list[int] = []
        key_sizes: list[int] = []
        sizes: list[int] = []
        keys: list[bytes] = []
        bodies: list[bytes] = []
        for job in jobs:
            ids.append(job.id)
            queues.append(job.queue)
            key = job.key
            if key is None:
                key_sizes.append(0)
            else:
                key_sizes.append(len(key))
                keys.append(key)
            sizes.append(len(job.body))
            bodies.append(job.body)
        keys += bodies
        data = b"".join(keys)
        row = (
            self.last + 1,
            top,
            _packed("q", ids),
            _packed("I", queues),
            _packed("I", key_sizes + sizes),
            bytearray(data),
            _packed("q", over),
        )
        db.execute(_WRITE, row)
        self.last += 1
        self._remember(self.last, top, jobs, len(data) + 8 * len(over))

    def _remember(self, no: int, top: int, jobs: list[Plain], size: int) -> None:
        entry = Entry(no, top, len(jobs), size + JOB_BYTES * len(jobs))
        self.size += entry.size
        self.entries.append(entry)
        where = self.where
        for job in jobs:
            job.entry = entry
            job.body = b""
            where[job.id] = job

    def rest_of(self, db: sqlite3.Connection, no: int) -> list[Plain]:
        """The jobs of an entry that are still in the log, with their bodies."""
        row = db.execute("SELECT ids, queues, sizes, data FROM log WHERE no = ?", [no]).fetchone()
        if row is None:
            return []  # it was cut off: nothing of it was left
        return [job for job in _jobs(*row) if job.id in self.where]


def _packed(code: str, values: list[int]) -> bytearray:
    """Numbers, the least significant byte first.

    What is bytes, sqlite3 looks for an adapter of, at some thousand instructions each; a
    bytearray it takes as it is.
    """
    count = len(values)
    if count == 0:
        return bytearray()
    if count == 1:
        return bytearray(_ONE[code](values[0]))
    return bytearray(pack(f"{_ORDER}{count}{code}", *values))


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
        yield Plain(id, numbers[place], key, data[body_at : body_at + size])
        body_at += size
