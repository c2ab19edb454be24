"""The records the broker thinks about: Job, Function, Peer, Crew.

They point at each other, so they live together; nothing here decides anything.
The rules are in ``intake``, ``dispatch``, ``crews``, ``waking``, ``progress`` and
``departure``.

A **Peer** is a connection as the broker knows it: client, worker or both. It is
also the port through which the broker speaks: a front-end derives from it and
writes what it is told in its own language, into a buffer. No reply ever waits
for a socket.

A **Crew** is all peers that have the same set of abilities. Work is looked for
once per crew, not once per worker: a function that has jobs stands in the ring of
each crew that can do it, and a crew that finds a function empty *parks* there,
to be called back by the next job. A crew whose members are all awake leaves the
function's list of hopes in the same way. Both are lazy: every callback was paid
for by an earlier look, so the cost of a job does not grow with the number of
workers, of functions, or of jobs that wait.

To found a crew costs as much as it has abilities. So a peer with many of them that
changes one does not found another crew each time: it is *alone*, in a crew without a
key that is changed in place, until it has asked for work often enough without
changing anything, and looks for company again.
"""

from __future__ import annotations

from typing import Final

from geartrain._native import mypyc_attr
from geartrain.broker.policies import Policy
from geartrain.broker.queues import Alarm, Entry, Fifo
from geartrain.terms import LOW, NORMAL

# States of a job:
#
#      submit, to be kept
#   ------> [STORING] ----.
#                         | stored (or to [DELAYED])
#            submit       v                  grab
#   -----------------------> [QUEUED] ---------------> [RUNNING]
#       submit, epoch          ^  ^                     |     |
#   ------> [DELAYED] ---------'  |     worker lost     |     | complete, fail, exception,
#              |     due          '---------------------'     | out of attempts
#              | cancel                                       v
#              '-----------------------------------------> [OVER]
#
# Where a line is longer than its head (see ``paging``): what is stored and waits goes
# to the store's keeping, and is [PAGED] here if somebody is attached to it, else not
# known at all; what is in memory and younger than that is [BEHIND], not QUEUED.
#
#     [STORING] -- stored, no room in the head --> [PAGED] -- claimed --> [QUEUED]
#     submit, or stored, while there is a tail --> [BEHIND] -- the tail is gone --> [QUEUED]
QUEUED: Final = 0
DELAYED: Final = 1
RUNNING: Final = 2
OVER: Final = 3
STORING: Final = 4
BEHIND: Final = 5
PAGED: Final = 6
STATE_NAMES: Final = ("queued", "delayed", "running", "over", "storing", "queued", "queued")

# What a store knows of a job:
#
#   [UNKEPT] -- wish --> [WISHED] -- taken into a batch --> [WRITING] -- stored --> [KEPT]
#                            \_______________________________/_____________________/
#                                            over: [FORGOTTEN]
#
# What is written for the pool, and not for our head, is POOLING instead of WRITING.
UNKEPT: Final = 0
WISHED: Final = 1
WRITING: Final = 2
KEPT: Final = 3
FORGOTTEN: Final = 4
POOLING: Final = 5

#: Room a job takes beside its own bytes, for the memory budget (measured: broker benchmarks).
JOB_OVERHEAD_BYTES: Final = 480


@mypyc_attr(acyclic=True)
class Job(Entry):
    """One job. Its states and what moves it between them are drawn above.

    Attributes:
        client: the first of the attached entries; most jobs have one at most.
        others: further attached entries; a peer that submitted twice is in twice.
        background: somebody asked for it without waiting, so it is never
            dropped for lack of clients.
        worker: who runs it, while RUNNING.
        by_workload: its key is the workload (unique ``-``).
        attempts: times it was given out and came back.
        started: when a worker got it last, on the steady clock.
        when: second since 1970 before which it may not run; 0 for none.
        limit: the alarm of its time limit, while it has one.
        kept: what a store knows of it: UNKEPT, WISHED, WRITING, POOLING, KEPT or FORGOTTEN.
        asker: the first who is told when it is stored, or that it is not.
        askers: further ones.
        id: the number that its handle ends with, once it was needed; -1 before.
        away: its workload is only in the store, and is fetched when a worker has it.
    """

    def __init__(
        self,
        handle: bytes,
        function: Function,
        unique: bytes,
        workload: bytes,
        priority: int,
        background: bool,
    ) -> None:
        self.waiting = False
        self.handle = handle
        self.function = function
        self.unique = unique
        self.workload = workload
        self.priority = priority
        self.background = background
        self.state = QUEUED
        self.by_workload = False
        self.client: Peer | None = None
        self.others: list[Peer] | None = None
        self.worker: Peer | None = None
        self.reducer = b""
        self.numerator = 0
        self.denominator = 0
        self.attempts = 0
        self.started = 0.0
        self.when = 0
        self.limit: Alarm | None = None
        self.kept = UNKEPT
        self.asker: Asker | None = None
        self.askers: list[Asker] | None = None
        self.id = -1
        self.away = False

    @property
    def cost(self) -> int:
        """Bytes this job counts for in the memory budget."""
        return len(self.workload) + len(self.unique) + len(self.reducer) + JOB_OVERHEAD_BYTES

    @property
    def wanted(self) -> bool:
        """Somebody waits for it, or nobody has to."""
        return self.background or self.client is not None

    @property
    def attached(self) -> int:
        """How many entries there are."""
        if self.client is None:
            return 0
        return 1 if self.others is None else 1 + len(self.others)

    def take_askers(self) -> list[Asker]:
        """Whoever is to be told, each once."""
        asker, others = self.asker, self.askers
        self.asker = self.askers = None
        if asker is None:
            return []
        return [asker] if others is None else [asker, *others]

    def entries(self) -> list[Peer]:
        """Every attached entry, in the order of attachment."""
        if self.client is None:
            return []
        if self.others is None:
            return [self.client]
        return [self.client, *self.others]


class Asker:
    """Somebody whose submission is answered when the job is stored."""

    def __init__(self, peer: Peer, ticket: int) -> None:
        self.peer = peer
        self.ticket = ticket


class Tail:
    """What of one line is in the store and not in memory, and what waits behind it.

    Attributes:
        ready: rows in the pool.
        dormant: rows that wait for their time.
        coming: jobs that are being written to the pool.
        mining: jobs that are being written for the head.
        since: the handle of the first job of the tail; empty if nobody knows.
        behind: jobs in memory that are younger than all these; None if there never were any.
        bytes: bodies in the head.
        asked: more is being claimed for the head.
        rate: jobs a second that left the head, lately.
        taken, measured_at: jobs that left the head since that was measured, and when it was.
    """

    def __init__(self, function: Function, priority: int) -> None:
        self.function = function
        self.priority = priority
        self.ready = 0
        self.dormant = 0
        self.coming = 0
        self.mining = 0
        self.since = b""
        self.behind: Fifo | None = None
        self.bytes = 0
        self.asked = False
        self.rate = 0.0
        self.taken = 0
        self.measured_at = 0.0

    @property
    def length(self) -> int:
        """Jobs that are ready and not in the head."""
        return self.ready if self.behind is None else self.ready + self.behind.live


class Function:
    """One function: who waits to be done, who could do it.

    Attributes:
        label: ``\\0name\\0``, as it stands in JOB_ASSIGN.
        queues: three lines, by priority.
        queued: jobs that wait in them.
        running: jobs being done now.
        delayed: epoch jobs whose time has not come.
        storing: jobs that are being stored, before anybody may do them.
        paged: jobs that are in the store and not in memory, delayed ones included.
        behind: jobs in memory that wait until what is in the store has gone before them.
        keyed: some of the paged may have a unique key.
        tails: by priority, what is known of the paged; None if there never were any.
        workers: connections that registered it.
        policy: what the operator decided for it; None for nothing.
        limits: ``maxqueue`` for high, normal, low; 0 for none.
        limited: any of the limits is set.
        uniques: ``{unique: job}`` of jobs that are not over.
        by_workload: ``{workload: job}`` of those submitted with unique ``-``.
        crews: crews that can do it.
        parked: by priority, crews that have looked and found nothing.
        hopeful: crews in which somebody may be asleep; the others have it in ``hopeless``.
        turn: where in ``hopeful`` the next wake-up begins to look.
        roused: workers that were woken for it and have not grabbed yet.
    """

    def __init__(self, name: bytes, serial: int) -> None:
        self.name = name
        self.serial = serial
        self.label = b"\0" + name + b"\0"
        self.high = Fifo()
        self.normal = Fifo()
        self.low = Fifo()
        self.queued = 0
        self.running = 0
        self.delayed = 0
        self.storing = 0
        self.paged = 0
        self.behind = 0
        self.keyed = False
        self.tails: list[Tail] | None = None
        self.workers = 0
        self.policy: Policy | None = None
        self.limited = False
        self.limits: list[int] = [0, 0, 0]
        self.uniques: dict[bytes, Job] = {}
        self.by_workload: dict[bytes, Job] = {}
        self.crews: list[Crew] = []
        self.parked_high: list[Crew] = []
        self.parked_normal: list[Crew] = []
        self.parked_low: list[Crew] = []
        self.hopeful: list[Crew] = []
        self.turn = 0
        self.roused = 0

    def line(self, priority: int) -> Fifo:
        """The queue of one priority."""
        if priority == NORMAL:
            return self.normal
        return self.low if priority == LOW else self.high

    def parked(self, priority: int) -> list[Crew]:
        """The crews that have found nothing of this priority here."""
        if priority == NORMAL:
            return self.parked_normal
        return self.parked_low if priority == LOW else self.parked_high

    @property
    def total(self) -> int:
        """Jobs that are not over, wherever they are."""
        waiting = self.queued + self.behind + self.paged
        return waiting + self.delayed + self.running + self.storing


#: In ``Crew.retired``: the crew is among the function's hopeful, or it among the hopeless.
HOPE: Final = 8


class Ring:
    """Functions in turn: taken from the front, put back at the end."""

    def __init__(self) -> None:
        self.items: list[Function] = []
        self.head = 0

    def push(self, function: Function) -> None:
        """Stand at the end."""
        self.items.append(function)

    def pop(self) -> Function | None:
        """The one whose turn it is, or None."""
        items = self.items
        head = self.head
        size = len(items)
        if head == size:
            if size:
                self.items = []
                self.head = 0
            return None
        function = items[head]
        head += 1
        if head >= 64 and head * 2 >= size:
            del items[:head]
            head = 0
        self.head = head
        return function

    def __len__(self) -> int:
        return len(self.items) - self.head


class SleepLine:
    """Sleeping peers, longest asleep first; waking up early leaves a stale entry behind.

    An entry is stale when its peer has slept again since, or does not sleep. When
    the stale ones outnumber the others they are swept out.
    """

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.sleeps: list[int] = []
        self.head = 0
        self.live = 0

    def push(self, peer: Peer) -> None:
        """This peer sleeps from now on."""
        peer.asleep = True
        peer.sleeps += 1
        self.live += 1
        self.peers.append(peer)
        self.sleeps.append(peer.sleeps)

    def pop(self) -> Peer | None:
        """Wake the peer that has slept longest; None when nobody sleeps."""
        if self.live == 0:
            return None
        head = self.head
        while True:
            peer = self.peers[head]
            head += 1
            if peer.asleep and peer.sleeps == self.sleeps[head - 1]:
                break
        peer.asleep = False
        self.live -= 1
        self.head = head
        if head >= 64 and head * 2 >= len(self.peers):
            self._sweep()
        return peer

    def leave(self, peer: Peer) -> None:
        """A peer that sleeps here does so no longer."""
        peer.asleep = False
        # It may sleep on without a crew; that sleep must not be taken for this one.
        peer.sleeps += 1
        self.live -= 1
        stale = len(self.peers) - self.head - self.live
        if stale >= 64 and stale > self.live:
            self._sweep()

    def sleepers(self) -> list[Peer]:
        """Everybody who sleeps here, longest asleep first (a copy)."""
        return [
            self.peers[at]
            for at in range(self.head, len(self.peers))
            if self.peers[at].asleep and self.peers[at].sleeps == self.sleeps[at]
        ]

    def _sweep(self) -> None:
        peers = self.sleepers()
        self.peers = peers
        self.sleeps = [peer.sleeps for peer in peers]
        self.head = 0


class Crew:
    """All peers with the same abilities; or one alone that keeps changing them.

    Attributes:
        key: the abilities: a set, or in strict order a sequence; None for one alone.
        functions: newest registration first; what one alone learns later is at the end.
        retired: functions that one alone can do no longer, and that have not been taken
            out everywhere; the bits say where they still stand, ``1 << priority`` for
            the rings and parking places (not in strict order), ``HOPE`` for the hopes.
        rings: by priority, functions that may have such a job. A function
            stands in the ring, or the crew is parked at the function, never both.
        ready: in strict order, a heap of positions in ``functions`` instead of the rings.
        sleepers: members that sleep.
        hopeless: functions that found nobody asleep here; told when somebody is.
        members: how many peers.
    """

    def __init__(self, key: object, functions: list[Function]) -> None:
        self.key = key
        self.functions = functions
        self.high = Ring()
        self.normal = Ring()
        self.low = Ring()
        self.ready: list[int] = []
        self.places: dict[bytes, int] = {}
        self.sleepers = SleepLine()
        self.hopeless: list[Function] = []
        self.members = 0
        self.retired: dict[Function, int] = {}


@mypyc_attr(allow_interpreted_subclasses=True)
class Peer:
    """A connection as the broker knows it, and the port through which it is spoken to.

    Attributes:
        number: given by the server, never used twice while connected.
        address: where it comes from, for people.
        client_id: what SET_CLIENT_ID said.
        abilities: ``{function name: time limit in seconds or 0.0}``, oldest first.
        crew: the crew of these abilities; None for none, or before it was looked up.
        restless: the abilities have changed since the crew was looked up, or it is
            alone and looks for company now and then.
        patience: how often it will ask for work before it looks for company.
        asleep: it has said PRE_SLEEP and was not woken since.
        roused_for: the function it was woken for, until it grabs or sleeps.
        sleeps, rousals: how often it went to sleep and was woken; they tell an
            old entry in a line from a new one.
        running: ``{handle: job}`` that it runs.
        waiting: jobs it is attached to.
        exceptions: it asked for WORK_EXCEPTION packets.
        impatient: it was not read from for long enough; it is refused what has no room.
        last_ended: the last job it ended; a second ending of it is ignored.
        gone: it has left.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.address = b"-"
        self.client_id = b"-"
        self.abilities: dict[bytes, float] = {}
        self.crew: Crew | None = None
        self.restless = False
        self.patience = 0
        self.asleep = False
        self.roused_for: Function | None = None
        self.sleeps = 0
        self.rousals = 0
        self.running: dict[bytes, Job] = {}
        self.waiting: set[Job] = set()
        self.exceptions = False
        self.impatient = False
        self.last_ended = b""
        self.gone = False

    # What the broker says. Each call only writes down; none may call back.

    def job_created(self, handle: bytes) -> None:
        """The submission was accepted under this handle. Answers come in order of submission."""
        raise NotImplementedError

    def promise(self) -> int:
        """The answer to this submission, or this grab, comes later, in this place.

        Returns:
            A ticket for ``redeem``, ``renege`` or ``assign``, one of which follows.
        """
        raise NotImplementedError

    def redeem(self, ticket: int, handle: bytes) -> None:
        """What was promised: the submission was accepted under this handle."""
        raise NotImplementedError

    def renege(self, ticket: int, code: bytes, text: bytes) -> None:
        """What was promised: the submission was not accepted."""
        raise NotImplementedError

    def answered(self, ticket: int, data: bytes, more: bool) -> None:
        """What was promised: an answer in the peer's own language, or a piece of one.

        Args:
            ticket: the last one given for this answer.
            more: it goes on; the peer asks again when this piece is on its way.
        """
        raise NotImplementedError

    def assign(self, ticket: int, job: Job | None) -> None:
        """What was promised: the job that was grabbed, or that there is none."""
        raise NotImplementedError

    def refused(self, code: bytes, text: bytes) -> None:
        """The request was not accepted; ``code`` is a word of the protocol, section 1.5."""
        raise NotImplementedError

    def noop(self) -> None:
        """Wake up: there may be work."""
        raise NotImplementedError

    def work_update(self, kind: int, body: bytes, start: int) -> None:
        """A job this peer waits for has news.

        Args:
            kind: one of the kinds in ``progress``.
            body: handle, NUL, payload, as the worker's packet had it, so that
                a dialect which says the same can pass it on without a copy.
            start: where in ``body`` the payload begins.
        """
        raise NotImplementedError

    def work_fail(self, handle: bytes) -> None:
        """A job this peer waits for has failed for good."""
        raise NotImplementedError
