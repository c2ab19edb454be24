"""Waiting lines: a FIFO of jobs, and a heap of things that fall due.

Both let go of an entry without looking for it: whoever leaves early is marked,
stays where it is and is stepped over when its turn comes. When the marked ones
outnumber the others the line is swept, so that a client which submits and leaves
for ever cannot make it grow; each sweep is paid for by the departures before it.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from geartrain._native import mypyc_attr

#: Below this many stale entries a sweep is not worth it.
SWEEP_FROM: Final = 1024


@mypyc_attr(acyclic=True)
class Entry:
    """What can stand in a line. ``waiting`` is False once it has left."""

    def __init__(self) -> None:
        self.waiting = False


class Fifo:
    """First in, first out, with cheap departures.

    Attributes:
        live: entries that still wait.
    """

    def __init__(self) -> None:
        self.items: list[Entry] = []
        self.head = 0
        self.live = 0

    def push(self, entry: Entry) -> None:
        """Stand at the end of the line."""
        entry.waiting = True
        self.items.append(entry)
        self.live += 1

    def pop(self) -> Entry | None:
        """The entry that has waited longest, or None."""
        if self.live == 0:
            return None
        items = self.items
        head = self.head
        while True:
            entry = items[head]
            head += 1
            if entry.waiting:
                break
        entry.waiting = False
        self.live -= 1
        if self.live == 0:
            # All the rest is stale; an empty line pins no jobs that are over.
            items.clear()
            self.head = 0
            return entry
        self.head = head
        # Cutting off the served half now and then keeps the list short; each
        # cut moves no more entries than were served since the last one.
        if head >= SWEEP_FROM and head * 2 >= len(items):
            del items[:head]
            self.head = 0
        return entry

    def first(self) -> Entry | None:
        """The entry that has waited longest, still in line; or None."""
        if self.live == 0:
            return None
        items = self.items
        head = self.head
        while not items[head].waiting:
            head += 1
        self.head = head
        return items[head]

    def leave(self, entry: Entry) -> None:
        """Leave the line early."""
        entry.waiting = False
        self.live -= 1
        if self.live == 0:
            self.items.clear()
            self.head = 0
            return
        stale = len(self.items) - self.head - self.live
        if stale >= SWEEP_FROM and stale > self.live:
            self.sweep()

    def sweep(self) -> None:
        """Cut out those who have left: before one of them comes again. O(length)."""
        self.items = [entry for entry in self.items[self.head :] if entry.waiting]
        self.head = 0

    def keep(self, entries: list[Entry]) -> None:
        """Only these stay in line; the others have left, and may come again."""
        for entry in self.waiting():
            entry.waiting = False
        for entry in entries:
            entry.waiting = True
        self.items = entries
        self.head = 0
        self.live = len(entries)

    def waiting(self) -> list[Entry]:
        """Everyone in line, longest wait first (a copy: for inspection)."""
        return [entry for entry in self.items[self.head :] if entry.waiting]


class Alarm:
    """One thing that falls due: cancelled by clearing ``armed``."""

    def __init__(self, due: float, serial: int, what: object) -> None:
        self.due = due
        self.serial = serial
        self.what = what
        self.armed = True

    def __lt__(self, other: Alarm) -> bool:
        # The serial keeps those that are due together in the order they came.
        if self.due != other.due:
            return self.due < other.due
        return self.serial < other.serial


class AlarmClock:
    """Things due later, soonest first; setting and cancelling cost O(log n) at most."""

    def __init__(self) -> None:
        self.heap: list[Alarm] = []
        self.stale = 0
        self.serial = 0

    def set(self, due: float, what: object) -> Alarm:
        """Remember ``what`` until ``due``; keep the alarm to cancel it."""
        self.serial += 1
        alarm = Alarm(due, self.serial, what)
        heappush(self.heap, alarm)
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Forget an alarm that has not rung."""
        if not alarm.armed:
            return
        alarm.armed = False
        alarm.what = None
        self.stale += 1
        if self.stale >= SWEEP_FROM and self.stale * 2 > len(self.heap):
            self.heap = [alarm for alarm in self.heap if alarm.armed]
            heapify(self.heap)
            self.stale = 0

    def ring(self, now: float) -> object | None:
        """The next thing that is due at ``now``, or None. Call until None."""
        heap = self.heap
        while heap:
            alarm = heap[0]
            if not alarm.armed:
                heappop(heap)
                self.stale -= 1
                continue
            if alarm.due > now:
                return None
            heappop(heap)
            alarm.armed = False
            return alarm.what
        return None

    def next_due(self) -> float:
        """When the next alarm rings; -1.0 when none is set."""
        heap = self.heap
        while heap and not heap[0].armed:
            heappop(heap)
            self.stale -= 1
        return heap[0].due if heap else -1.0
