"""What the SQLite store knows without asking the file: names, counts, and which rows are held.

Which rows the server holds is kept here only (``mine``), in no column of the file: a claim
is a read that steps over them, and after a crash every row is in the pool again by itself.
How rows are claimed while others are written, without a lock between the two threads:

* an id goes into ``mine`` *before* its row is written, so that no claim can
  see the row and not the id;
* an id whose row is being deleted is in ``ending`` meanwhile, and stays in
  ``gone`` while a claim is reading, for that claim may look at the file as it
  was before; what it read of these is dropped.

Counts follow the file: they change once a commit is on the disk, in the loop's thread. Only
where the file is opened anew, or the lease renewed, the writing thread reads all of it again,
and nothing else is under way.
"""

from __future__ import annotations

from collections.abc import Sequence

from geartrain.stores.batch import Plan
from geartrain.stores.records import Add, JobId, QueueKey, StoredJob
from geartrain.stores.sqlite_changes import Changes
from geartrain.stores.sqlite_hold import settle, untake
from geartrain.stores.sqlite_queue import KnownQueue
from geartrain.stores.sqlite_writer import SqliteWriter


class Known:
    """Functions, queues and held rows, as the file and the server have them."""

    def __init__(self) -> None:
        #: {number: (tenant, function)} and the reverse.
        self.functions: dict[int, tuple[str, bytes]] = {}
        self.numbers: dict[tuple[str, bytes], int] = {}
        #: {queue number: KnownQueue}
        self.queues: dict[int, KnownQueue] = {}
        #: Entries of the log up to this number are gone.
        self.cut = 0
        #: Rows that the server holds, with their queues; -1 while being written.
        self.mine: dict[JobId, int] = {}
        #: Rows that are being ended.
        self.ending: set[JobId] = set()
        #: Rows that ended, or were put off, while a claim was reading.
        self.gone: set[JobId] = set()

    def recall(self, writer: SqliteWriter) -> None:
        """Know again what the file says."""
        functions, counters = writer.load()
        self.functions = {number: (tenant, name) for tenant, name, number in functions}
        self.numbers = {names: number for number, names in self.functions.items()}
        self.queues = {}
        for number, (ready, delayed) in counters.items():
            queue = self.queue(number)
            queue.ready = ready
            queue.delayed = delayed
        self.cut = 0
        for entry, number, low in writer.log.pools():
            self.queue(number).logged.append((entry, entry, low))
        for number in self.mine.values():
            if number >= 0:
                self.queue(number).mine += 1

    def learn(self, changes: Changes) -> None:
        """Count along with what is durable now."""
        for tenant, name, number in changes.functions:
            self.functions[number] = (tenant, name)
            self.numbers[tenant, name] = number
        for number, (ready, delayed) in changes.counts.items():
            queue = self.queue(number)
            queue.ready += ready
            queue.delayed += delayed
        for number, id in changes.pooled:
            self.queue(number).came(id)
        for number, low in changes.lows.items():
            self.queue(number).logged.append((*changes.entries, low))
        self.cut = max(self.cut, changes.cut)

    # ── queues ───────────────────────────────────────────────────────────────

    def queue(self, number: int) -> KnownQueue:
        """By its number; made if it is new."""
        queue = self.queues.get(number)
        if queue is None:
            key = QueueKey(*self.functions[number >> 2], number & 3)
            queue = self.queues[number] = KnownQueue(key, number)
        return queue

    def queue_of(self, key: QueueKey) -> KnownQueue | None:
        """What is known of it; None if it never had a job."""
        number = self.numbers.get((key.tenant, key.function))
        return self.queues.get(-1 if number is None else number << 2 | key.priority)

    # ── what is held ─────────────────────────────────────────────────────────

    def hold(self, id: JobId, number: int) -> None:
        """A row of this queue is the server's."""
        self.mine[id] = number
        self.queue(number).mine += 1

    def let_go(self, id: JobId) -> int:
        """It is no more; its queue's number."""
        number = self.mine.pop(id)
        self.queue(number).mine -= 1
        return number

    def settle_adds(self, todo: Plan, fresh: bool) -> None:
        """Hold what was stored as mine, and let each answer say who holds the row."""
        held, others = settle(todo.adds, todo.places, todo.answers, self.mine, self.numbers, fresh)
        for number, count in held.items():
            self.queue(number).mine += count
        self._came(others)

    def untake(self, adds: list[Add]) -> None:
        """What was to be mine was not written."""
        self._came(untake(adds, self.mine))

    def _came(self, jobs: Sequence[StoredJob]) -> None:
        """These are not mine after all: a claim may have stepped over them meanwhile."""
        for job in jobs:
            number = self.numbers.get(job.queue[:2])
            if number is not None:
                self.queue(number << 2 | job.queue.priority).came(job.id)
