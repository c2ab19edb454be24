"""Everything the broker knows, the rules that are settings, and the counters.

Written only by the modules of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from geartrain.broker.graveyard import Burial, Graveyard, Surrender
from geartrain.broker.handles import HandleMaker
from geartrain.broker.policies import Policies
from geartrain.broker.queues import AlarmClock
from geartrain.broker.tables import (
    FORGOTTEN,
    KEPT,
    UNKEPT,
    WISHED,
    Asker,
    Crew,
    Function,
    Job,
    Peer,
    Tail,
)
from geartrain.broker.wishes import Ask, Fetch, Gift, Grabber, Postponement

#: A tenure that does not end: nobody else can have the jobs.
FOR_EVER: Final = float("inf")

#: With fewer abilities a peer that changes them finds another crew at once.
ALONE_FROM: Final = 16
#: How exactly the time is kept that a woken worker has to answer.
ROUSED_LOOK_SECONDS: Final = 0.1


class Rules:
    """What an operator may choose. Plain values; the server turns options into them.

    Attributes:
        job_retries: times a job is given out before its loss is final; -1 for ever.
        worker_wakeup: sleeping workers woken for each waiting job; 0 for all.
        wakeup_seconds: a woken worker that does not grab for so long is passed over.
        strict_order: first registered function first, instead of fair turns.
        fail_on_timeout: a job over its time limit fails, instead of going to another worker.
        max_unique_bytes: longest unique key.
        max_function_bytes: longest function name.
        max_functions: functions known at once; 0 for no bound.
        max_jobs_per_function: default for ``maxqueue``; 0 for no bound.
        max_memory_bytes: budget for jobs that are not over; 0 for no bound. See ``budget``.
        press_seconds: a client that is not read from waits so long, before it is refused.
        exceptions: every connection begins with the ``exceptions`` option.
        accept_new_work: False while shutting down gracefully.
        durable: background jobs are stored before they are answered for.
        buries: the dead set is in the store.
        policies: what was decided for single functions; see ``policies``.
        spills: there is no store but for want of memory (``budget``).
        shared: other servers have the same store.
        idle_window: jobs of a line kept in memory while nobody can do them.
        least_window: jobs of a line kept in memory at least, while somebody can.
        most_window: jobs of a line kept in memory at most, if there is a store.
        window_bytes: bodies of a line kept in memory at most, if there is a store.
        big_bytes: a workload larger than this is not kept in memory once it is stored.
    """

    def __init__(self) -> None:
        self.job_retries = -1
        self.worker_wakeup = 1
        self.wakeup_seconds = 1.0
        self.strict_order = False
        self.fail_on_timeout = False
        self.max_unique_bytes = 64
        self.max_function_bytes = 8191
        self.max_functions = 1_000_000
        self.max_jobs_per_function = 0
        self.max_memory_bytes = 0
        self.press_seconds = 5.0
        self.exceptions = False
        self.accept_new_work = True
        self.durable = False
        self.buries = False
        self.policies = Policies()
        self.spills = False
        self.shared = False
        self.idle_window = 100
        self.least_window = 100
        self.most_window = 1000
        self.window_bytes = 4 * 2**20
        self.big_bytes = 64 * 2**10


class Counters:
    """Totals since the start, for people and for metrics.

    Attributes:
        fenced: jobs that ended here after another server had got them.
    """

    def __init__(self) -> None:
        self.submitted = 0
        self.coalesced = 0
        self.refused = 0
        self.assigned = 0
        self.completed = 0
        self.failed = 0
        self.requeued = 0
        self.timed_out = 0
        self.abandoned = 0
        self.fenced = 0
        self.died = 0
        self.cancelled = 0
        self.wakeups = 0


class RousedLine:
    """Woken workers, in the order in which their time to answer runs out.

    The time is the same for all, so a line does what a heap would. An entry is
    stale when its peer has answered since; it goes when its time comes.
    """

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.serials: list[int] = []
        self.dues: list[float] = []
        self.head = 0

    def push(self, peer: Peer, due: float) -> None:
        """This peer was woken now and should answer before ``due``."""
        self.peers.append(peer)
        self.serials.append(peer.rousals)
        self.dues.append(due)

    def late(self, now: float) -> Peer | None:
        """The next peer that has not answered in time, or None. Call until None."""
        peers = self.peers
        head = self.head
        size = len(peers)
        found: Peer | None = None
        while head < size and self.dues[head] <= now:
            peer = peers[head]
            head += 1
            if peer.roused_for is not None and peer.rousals == self.serials[head - 1]:
                found = peer
                break
        self.head = head
        # All of it at the end, so that the line keeps nobody who has gone.
        if head == size or (head >= 1024 and head * 2 >= size):
            del self.peers[:head]
            del self.serials[:head]
            del self.dues[:head]
            self.head = 0
        return found

    def next_due(self) -> float:
        """When to look at the line again; -1.0 for never.

        Up to ``ROUSED_LOOK_SECONDS`` after somebody's time has run out: most entries
        are stale by then, and a timer for each of them would cost more than it is worth.
        """
        if self.head >= len(self.dues):
            return -1.0
        looks = self.dues[self.head] // ROUSED_LOOK_SECONDS
        return (looks + 1.0) * ROUSED_LOOK_SECONDS


class State:
    """Everything the broker knows."""

    def __init__(self, rules: Rules, handles: HandleMaker, chance: Callable[[], float]) -> None:
        self.rules = rules
        #: Uniform in [0, 1).
        self.chance = chance
        self.handles = handles
        #: ``{name: function}``; they stay until they are dropped.
        self.functions: dict[bytes, Function] = {}
        self.function_serial = 0
        #: ``{handle: job}``: every job that is not over, in whatever state.
        self.jobs: dict[bytes, Job] = {}
        #: ``{unique: job}``: the first job that is not over with this unique, of any function.
        self.holders: dict[bytes, Job] = {}
        #: ``{unique: {function name: job}}``: further functions' jobs with a unique in ``holders``.
        self.namesakes: dict[bytes, dict[bytes, Job]] = {}
        #: ``{number: peer}``: everyone connected.
        self.peers: dict[int, Peer] = {}
        #: ``{key: crew}``; those of peers that are alone are not in it.
        self.crews: dict[object, Crew] = {}
        #: A peer with so many abilities goes alone when it changes them.
        self.alone_from = ALONE_FROM
        #: Sleepers whose abilities have changed; seen to before the turn ends.
        self.restless: list[Peer] = []
        #: Delayed jobs by wall clock.
        self.epochs = AlarmClock()
        #: Running jobs with a time limit by steady clock.
        self.limits = AlarmClock()
        #: Woken workers that have not answered yet.
        self.roused = RousedLine()
        self.counters = Counters()
        #: Bytes that jobs take, by ``Job.cost``.
        self.memory = 0
        self.wall = 0.0
        self.steady = 0.0
        #: What the store is to be told; whoever writes to it empties these.
        self.adds: list[Job] = []
        self.ends: list[Job] = []
        self.retried: list[Job] = []
        self.gifts: list[Gift] = []
        self.burials: list[Burial] = []
        self.postponed: list[Postponement] = []
        #: Jobs that were answered for and are to be stored by ``later_due``, on the steady clock.
        self.later: list[Job] = []
        self.later_due = FOR_EVER
        #: Jobs that were given up since somebody last looked; whoever tells people empties it.
        self.surrenders: list[Surrender] = []
        #: The dead set, if it is not in the store.
        self.graveyard = Graveyard()
        #: Lines of which more is to be asked for.
        self.hungry: dict[Tail, None] = {}
        #: Jobs that are only in the store, of all functions.
        self.paged = 0
        #: Workloads that workers wait for; and how many bytes of them were fetched.
        self.fetches: list[Fetch] = []
        self.fetched = 0
        #: Memory is so short that background jobs are to go to a file, if there is no store.
        self.spilling = False
        #: Memory is so short that nobody who submits is read from.
        self.pressed = False
        #: Peers that are not read from, and since when they may be again at the latest.
        self.throttled: list[Peer] = []
        self.throttled_until: list[float] = []
        #: Submissions that may have a twin there.
        self.asks: list[Ask] = []
        #: Lines of which more is on its way from the store.
        self.asking: dict[Tail, None] = {}
        #: Workers that wait for that, the one that has waited longest first.
        self.grabbers: list[Grabber] = []
        #: A job has lined up since they were looked through.
        self.fresh = False
        #: There is something in these lists.
        self.wishes = False
        #: Why the store cannot be written, in its words; empty while it can.
        self.trouble = ""
        #: Why nothing that has to be written is taken; empty while it is.
        self.no_room = b""
        #: Up to when stored jobs may be handed out, by the steady clock; see ``fencing``.
        self.tenure = FOR_EVER
        #: It has run out.
        self.fenced = False
        #: Stored jobs that would stand in their lines if it had not.
        self.aside: list[Job] = []
        #: Stored jobs with askers who hear nothing before it is known who has the row.
        self.doubted: list[Job] = []

    def keep(self, job: Job, peer: Peer) -> None:
        """Have this job stored; the peer's submission is answered when it is."""
        asker = Asker(peer, peer.promise())
        if job.asker is None:
            job.asker = asker
        elif job.askers is None:
            job.askers = [asker]
        else:
            job.askers.append(asker)
        if job.kept == UNKEPT:
            job.kept = WISHED
            self.adds.append(job)
            self.wishes = True
        elif job.kept == KEPT:
            self.doubted.append(job)

    def fetch(self, peer: Peer, ticket: int, job: Job) -> None:
        """Have the workload of a job fetched that this worker has; it is assigned then."""
        self.fetches.append(Fetch(peer, ticket, job))
        self.wishes = True

    def keep_later(self, job: Job, seconds: float) -> None:
        """Have this job stored within so many seconds; nobody waits for that."""
        job.kept = WISHED
        self.later.append(job)
        self.later_due = min(self.later_due, self.steady + seconds)

    def hurry(self) -> None:
        """Have all that is to be stored later stored now, but for what is over already."""
        for job in self.later:
            if job.kept == WISHED:
                self.adds.append(job)
                self.wishes = True
        self.later = []
        self.later_due = FOR_EVER

    def forget(self, job: Job) -> None:
        """Have the store forget a job that it keeps, or is about to."""
        if job.kept > WISHED and job.kept != FORGOTTEN:
            self.ends.append(job)
            self.wishes = True
        job.kept = FORGOTTEN
