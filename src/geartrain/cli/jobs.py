"""The client's mind: which jobs wait, which are under way, and what an answer means.

No socket and no clock: the loop (``gearman_client.py``) hands in records, a
connection to speak through and what the server said; this says what is printed,
what is sent again and how it all ended.

A *record* is one workload: an operand, a line, a batch, all of the input. It makes
one *task* for each function. Every task has a unique key that stays its own when it
is sent again after a lost connection, so that a server that still has it runs it
once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from geartrain.cli.backlog import Backlog
from geartrain.cli.output import Printer
from geartrain.cli.task import Task
from geartrain.client.connection import ClientConnection
from geartrain.client.events import (
    Complaint,
    Event,
    JobCreated,
    Lost,
    Refused,
    Unanswered,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from geartrain.terms import NORMAL

#: How a task ended, in the words of the joblog.
OK: Final = "ok"
QUEUED: Final = "queued"
FAILED: Final = "failed"
EXCEPTION: Final = "exception"

#: Output kept back for its turn before no more jobs are sent.
HELD_BYTES: Final = 32 * 2**20

#: Seconds before a refused job is sent again, at first and at most.
FIRST_REST: Final = 0.1
LONGEST_REST: Final = 10.0


class Rules:
    """How jobs are to be sent, and what is to be done when they fail.

    Args:
        functions: each record goes to all of them.
        unique: the key of every job; ``#``: a hash of the workload; empty: a key of its own.
        window: records under way at once.
        retries: times a failed job is sent again.
        never_drop: a job that is refused because a queue is full is sent until it is taken.
    """

    def __init__(
        self,
        functions: list[bytes],
        *,
        unique: bytes = b"",
        priority: int = NORMAL,
        background: bool = False,
        window: int = 1,
        retries: int = 0,
        fail_fast: bool = False,
        never_drop: bool = False,
        verbose: bool = False,
    ) -> None:
        self.functions = functions
        self.unique = unique
        self.priority = priority
        self.background = background
        self.window = window
        self.retries = retries
        self.fail_fast = fail_fast
        self.never_drop = never_drop
        self.verbose = verbose


class Jobs:
    """All of a client's jobs.

    Args:
        rules: how to send them.
        backlog: where records come from.
        printer: where results go.
        complain: a line for stderr.
        ended: told of each task that is over, with one of the words above or the
            server's error code.
        skip: tells of a task, by record and function, that it is done already.

    Attributes:
        done: tasks that ended well; failed: those that did not; refused: those the
            server would not take.
        stop: a job has failed and the rules say that this is the end.
        resting_until: no job is sent before this instant.
    """

    def __init__(
        self,
        rules: Rules,
        backlog: Backlog,
        printer: Printer,
        complain: Callable[[str], None],
        ended: Callable[[Task, str], None] | None = None,
        skip: Callable[[int, bytes], bool] | None = None,
    ) -> None:
        self.rules = rules
        self.done = 0
        self.failed = 0
        self.refused = 0
        self.stop = False
        self.resting_until = 0.0
        self._rest = FIRST_REST
        self._backlog = backlog
        self._printer = printer
        self._complain = complain
        self._ended = ended
        self._skip = skip
        self._now = 0.0
        self._again: deque[Task] = deque()
        self._flying: dict[int, Task] = {}
        #: Records under way; and, where a record makes several tasks, how many are not over.
        self._open = 0
        self._left: dict[int, int] = {}
        self._key = b"%s-" % backlog.origin.encode()
        # Lines by the ten thousand a second go straight through.
        self._plain = len(rules.functions) == 1 and skip is None
        self._silent = rules.background and not rules.verbose and ended is None and self._plain
        # A background job is answered and over: filling half a window at a time
        # makes larger writes. A foreground window is kept full, for a worker may wait.
        self._refill = rules.window // 2 if rules.background else rules.window - 1

    @property
    def under_way(self) -> int:
        """Tasks handed to the server and not over."""
        return len(self._flying)

    @property
    def idle(self) -> bool:
        """Nothing is under way, and nothing waits to be sent again."""
        return not self._open and not self._flying and not self._again

    # ── sending ──────────────────────────────────────────────────────────────

    def fill(self, connection: ClientConnection, now: float) -> None:
        """Submit as many jobs as there is room for."""
        self._now = now
        if now < self.resting_until or self.stop:
            return
        rules = self.rules
        again = self._again
        while again and len(self._flying) < rules.window * len(rules.functions):
            self._send(connection, again.popleft())
        if self._open > self._refill or self._printer.held > HELD_BYTES or again:
            return
        take = self._backlog.take
        function = rules.functions[0]
        while self._open < rules.window:
            record = take()
            if record is None:
                return
            number, workload = record
            if not rules.unique:
                unique = self._key + b"%d" % number
            else:
                unique = rules.unique if rules.unique != b"#" else hash_key(workload)
            if self._plain:
                self._open += 1
                task = Task(number, function, unique, workload)
                self._printer.begin(task)
                self._send(connection, task)
            else:
                self._begin(connection, number, unique, workload)

    def _begin(
        self, connection: ClientConnection, number: int, unique: bytes, workload: bytes
    ) -> None:
        """Send one record to several functions, or to those for which it is not done."""
        tasks = [Task(number, function, unique, workload) for function in self.rules.functions]
        if self._skip is not None:
            tasks = [task for task in tasks if not self._skip(number, task.function)]
            if not tasks:
                self._backlog.done(number)
                return
        self._open += 1
        self._left[number] = len(tasks)
        for task in tasks:
            self._printer.begin(task)
            self._send(connection, task)

    def _send(self, connection: ClientConnection, task: Task) -> None:
        rules = self.rules
        request = connection.submit(
            task.function, task.unique, task.workload, rules.priority, rules.background
        )
        task.sends += 1
        task.started = self._now
        self._flying[request] = task

    # ── hearing ──────────────────────────────────────────────────────────────

    def hear(self, events: list[Event], now: float) -> None:
        """Take what the server said."""
        self._now = now
        flying = self._flying
        background = self.rules.background
        for event in events:
            if isinstance(event, JobCreated):
                if self._silent:
                    task = flying.pop(event.request)
                    self.done += 1
                    self._open -= 1
                    self._backlog.done(task.number)
                    continue
                task = flying[event.request]
                task.handle = event.handle
                if self.rules.verbose:
                    self._printer.out(task, b"Task created: %s\n" % event.handle, plain=True)
                if background:
                    del flying[event.request]
                    self._over(task, QUEUED)
            elif isinstance(event, WorkComplete):
                task = flying.pop(event.request)
                task.received += len(event.data)
                self._printer.out(task, event.data)
                self._over(task, OK)
            elif isinstance(event, Complaint):
                self._complain(f"the server complains: {event.code}: {event.text}")
            else:
                known = flying.get(event.request)
                if known is not None:
                    self._less_usual(event, known)

    def _less_usual(self, event: Event, task: Task) -> None:
        printer = self._printer
        if isinstance(event, WorkData):
            task.received += len(event.data)
            printer.out(task, event.data)
        elif isinstance(event, WorkWarning):
            printer.err(task, event.data)
        elif isinstance(event, WorkStatus):
            percent = event.numerator * 100 // event.denominator if event.denominator else 0
            printer.out(task, b"%d%% Complete\n" % percent)
        elif isinstance(event, WorkFail):
            del self._flying[event.request]
            self._fail(task, FAILED, b"Job failed\n")
        elif isinstance(event, WorkException):
            del self._flying[event.request]
            self._fail(task, EXCEPTION, event.data)
        elif isinstance(event, Refused):
            del self._flying[event.request]
            self._refuse(task, event.code, event.text)
        elif isinstance(event, Unanswered):
            del self._flying[event.request]
            self._refuse(task, "UNANSWERED", "the server has passed over the job without a word")
        elif isinstance(event, Lost):
            del self._flying[event.request]
            task.received = 0
            printer.forget(task)
            self._again.append(task)

    def _fail(self, task: Task, result: str, words: bytes) -> None:
        if task.sends <= self.rules.retries:
            self._printer.forget(task)
            self._again.append(task)
            return
        self._printer.err(task, words)
        self.failed += 1
        self.stop = self.stop or self.rules.fail_fast
        self._over(task, result)

    def _refuse(self, task: Task, code: str, text: str) -> None:
        full = code in ("QUEUE_ERROR", "QUEUE_FULL")
        if task.sends <= self.rules.retries or (full and self.rules.never_drop):
            if self._rest == FIRST_REST:
                self._complain(f"{text or code}; trying again")
            if self._now >= self.resting_until:
                self.resting_until = self._now + self._rest
                self._rest = min(2 * self._rest, LONGEST_REST)
            self._again.append(task)
            return
        name = task.function.decode("utf-8", "backslashreplace")
        self._complain(f"the server refused a job for {name}: {code}: {text}")
        self.refused += 1
        self.stop = self.stop or self.rules.fail_fast
        self._over(task, code)

    def _over(self, task: Task, result: str) -> None:
        if result == OK or result == QUEUED:
            self.done += 1
            self._rest = FIRST_REST
        self._printer.end(task)
        if self._ended is not None:
            self._ended(task, result)
        number = task.number
        left = self._left.pop(number, 1) - 1
        if left:
            self._left[number] = left
        else:
            self._open -= 1
            self._backlog.done(number)

    # ── after a lost connection ──────────────────────────────────────────────

    def in_order(self) -> None:
        """Put what has to be sent again into the order in which it was first sent."""
        self._again = deque(sorted(self._again, key=lambda task: task.number))


def hash_key(workload: bytes) -> bytes:
    """What ``-u '#'`` makes of a workload."""
    from geartrain.cli.murmur import murmur3

    return b"%d" % murmur3(workload)
