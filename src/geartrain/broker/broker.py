"""The door of the mind: one method for each thing that can happen.

A server joins each connection as a ``Peer``, calls the method for what the peer
said, calls ``tick`` before and ``end_turn`` after each turn, and sends what the
peers have written down. Nothing here blocks, and every method costs the same
however many jobs, functions and workers there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from geartrain.broker import (
    budget,
    departure,
    dispatch,
    fencing,
    giving,
    inspection,
    intake,
    keeping,
    paging,
    progress,
    retrying,
    returning,
    spilling,
    timekeeping,
    windows,
)
from geartrain.broker.graveyard import Burial, Surrender
from geartrain.broker.handles import HandleMaker
from geartrain.broker.policies import Policies
from geartrain.broker.state import Counters, Rules, State
from geartrain.broker.tables import KEPT, PAGED, Function, Job, Peer
from geartrain.broker.wishes import Ask, Claim, Fetch, Gift, Postponement

MAX_CLIENT_ID_BYTES = 127
#: The number at the end of a handle.
ID_DIGITS: Final = 16


def _even() -> float:
    """The middle of all chances."""
    return 0.5


class Broker:
    """The job server's mind.

    Args:
        rules: what the operator chose.
        handles: makes the names of jobs.
        chance: uniform in [0, 1), for pauses that vary; without it they do not.
    """

    def __init__(
        self, rules: Rules, handles: HandleMaker, chance: Callable[[], float] | None = None
    ) -> None:
        self.state = State(rules, handles, chance or _even)
        self.rules = rules

    # ── peers ────────────────────────────────────────────────────────────────

    def join(self, peer: Peer) -> None:
        """A connection has come."""
        peer.exceptions = self.rules.exceptions
        self.state.peers[peer.number] = peer

    def leave(self, peer: Peer) -> None:
        """A connection has gone, in whatever way."""
        departure.leave(self.state, peer)

    def set_client_id(self, peer: Peer, client_id: bytes) -> None:
        """SET_CLIENT_ID: a name for people; 127 bytes are kept."""
        peer.client_id = client_id[:MAX_CLIENT_ID_BYTES]

    # ── clients ──────────────────────────────────────────────────────────────

    def submit(
        self,
        peer: Peer,
        function: bytes,
        unique: bytes,
        workload: bytes,
        priority: int,
        background: bool,
        when: int,
        reducer: bytes,
    ) -> None:
        """SUBMIT_*: the peer is told ``job_created`` or ``refused``, once."""
        intake.submit(
            self.state, peer, function, unique, workload, priority, background, when, reducer
        )

    def throttle(self, peer: Peer) -> bool:
        """After a submission, if ``state.pressed``: True if this peer is not to be read from now."""
        return budget.throttle(self.state, peer)

    def begin_spilling(self) -> None:
        """There is a file for what has no room in memory."""
        spilling.begin(self.state)

    def end_spilling(self) -> bool:
        """Whether jobs stay in memory again, because the file is needed no longer."""
        return spilling.end(self.state)

    def disk_is_short(self, why: bytes) -> None:
        """Background jobs that have to be written are refused with this text; empty: taken again."""
        self.state.no_room = why

    def decide_anew(self, policies: Policies) -> bytes:
        """The operator has changed his mind; a function's name if that cannot be done for it now."""
        return intake.decide_anew(self.state, policies)

    def relieved(self) -> list[Peer]:
        """Those who are to be read from again."""
        return budget.relieved(self.state)

    def status(self, handle: bytes) -> inspection.JobStatus:
        """GET_STATUS."""
        return inspection.status_of(self.state.jobs.get(self.known_as(handle)))

    def known_as(self, handle: bytes) -> bytes:
        """Where servers share a store, each writes a prefix of its own before a job's number."""
        prefix = self.state.handles.prefix
        if not self.rules.shared or handle.startswith(prefix):
            return handle
        return prefix + handle[-ID_DIGITS:]

    def status_unique(self, unique: bytes) -> inspection.JobStatus:
        """GET_STATUS_UNIQUE: the first job with this key, of any function."""
        return inspection.status_of(self.state.holders.get(unique))

    def cancel(self, handle: bytes) -> bool:
        """``cancel job``: False when there is no such job, or it is only in the store."""
        return departure.cancel(self.state, self.known_as(handle))

    def is_stored_somewhere(self, handle: bytes) -> bool:
        """Only the store can say whether there is such a job, or take it away."""
        state = self.state
        if state.paged == 0 and not (self.rules.shared and self.rules.durable):
            return False
        job = state.jobs.get(self.known_as(handle))
        return job is None or job.state == PAGED

    @property
    def has_more(self) -> bool:
        """Some jobs are only in the store."""
        return self.state.paged > 0 or (self.rules.shared and self.rules.durable)

    def unstored_handles(self) -> list[bytes]:
        """Handles of those jobs that are not in the store, or not yet for certain."""
        return [handle for handle, job in self.state.jobs.items() if job.kept != KEPT]

    def take_asks(self) -> list[Ask]:
        """Submissions that may have a twin in the store; each is answered by ``found``."""
        asks = self.state.asks
        self.state.asks = []
        return asks

    def found(self, ask: Ask, handle: bytes, priority: int) -> None:
        """The twin of a submission in the store, and its priority; empty for none."""
        intake.found(self.state, ask, handle, priority)

    def cancelled(self, handle: bytes, name: bytes, priority: int, delayed: bool) -> None:
        """A job that was only in the store is there no more."""
        departure.cancelled(self.state, handle, name, priority, delayed)

    # ── workers ──────────────────────────────────────────────────────────────

    def can_do(self, peer: Peer, name: bytes, seconds: float) -> None:
        """CAN_DO, CAN_DO_TIMEOUT: registering again only changes the time limit.

        Args:
            seconds: how long one job may take; 0.0 for no limit.
        """
        state = self.state
        if name in peer.abilities:
            peer.abilities[name] = seconds
            return
        function = intake.find_function(state, peer, name)
        if function is None:
            return
        dispatch.learn(state, peer, function, seconds)

    def cant_do(self, peer: Peer, name: bytes) -> None:
        """CANT_DO: a job of it that the peer runs goes to another worker."""
        departure.cant_do(self.state, peer, name)

    def reset_abilities(self, peer: Peer) -> None:
        """RESET_ABILITIES: as CANT_DO for all."""
        departure.reset_abilities(self.state, peer)

    def grab(self, peer: Peer) -> Job | None:
        """GRAB_JOB*: the job that this peer runs from now on, or None."""
        return dispatch.grab(self.state, peer)

    def await_workload(self, peer: Peer, job: Job) -> None:
        """The workload of a job that was grabbed is away: ``assign`` is promised."""
        self.state.fetch(peer, peer.promise(), job)

    def handed_over(self, job: Job) -> None:
        """A job with a large workload is on its way to its worker."""
        paging.unload(self.state, job)

    def hold_out(self, peer: Peer) -> bool:
        """After ``grab`` found none: True if one may come, and ``assign`` is promised."""
        if not self.state.asking:
            return False
        return dispatch.hold_out(self.state, peer)

    def pre_sleep(self, peer: Peer) -> None:
        """PRE_SLEEP: the peer is told ``noop`` now if there is work, else when there is."""
        dispatch.sleep(self.state, peer)

    def report(self, peer: Peer, kind: int, handle: bytes, body: bytes, start: int) -> bool:
        """WORK_DATA, WORK_WARNING: False when this peer does not run such a job."""
        return progress.report(self.state, peer, kind, handle, body, start)

    def report_status(
        self,
        peer: Peer,
        handle: bytes,
        numerator: int,
        denominator: int,
        body: bytes,
        start: int,
    ) -> bool:
        """WORK_STATUS: False when this peer does not run such a job."""
        return progress.report_status(peer, handle, numerator, denominator, body, start)

    def note_status(self, peer: Peer, handle: bytes, numerator: int, denominator: int) -> bool:
        """Half a WORK_STATUS: False when this peer does not run such a job."""
        return progress.note_status(peer, handle, numerator, denominator)

    def finish(self, peer: Peer, kind: int, handle: bytes, body: bytes, start: int) -> bool:
        """WORK_COMPLETE, _FAIL, _EXCEPTION: False when this peer does not run such a job."""
        if kind != progress.COMPLETE:
            return retrying.finish(self.state, peer, kind, handle, body, start)
        return progress.finish(self.state, peer, kind, handle, body, start)

    # ── functions ────────────────────────────────────────────────────────────

    def create_function(self, name: bytes) -> bool:
        """``create function``: False when there are ``max_functions`` already."""
        if name not in self.state.functions:
            if intake.too_many_functions(self.state):
                return False
            intake.make_function(self.state, name)
        return True

    def drop_function(self, name: bytes) -> bool | None:
        """``drop function``: None for an unknown one, False while it is in use.

        An exact name wins; otherwise upper and lower case do not matter, as in
        the C server.
        """
        function = self._find_loosely(name)
        if function is None:
            return None
        return departure.drop_function(self.state, function)

    def limit_function(self, name: bytes, high: int, normal: int, low: int) -> bool:
        """``maxqueue``: jobs at which a submission of each priority is refused; 0 for none.

        Returns:
            False when the function is new and there are ``max_functions`` already.
        """
        if not self.create_function(name):
            return False
        function = self.state.functions[name]
        function.limits = [high, normal, low]
        function.limited = high > 0 or normal > 0 or low > 0
        return True

    def _find_loosely(self, name: bytes) -> Function | None:
        function = self.state.functions.get(name)
        if function is None:
            lowered = name.lower()
            for known, candidate in self.state.functions.items():
                if known.lower() == lowered:
                    return candidate
        return function

    # ── the store ────────────────────────────────────────────────────────────

    def take_adds(self, most: int, most_bytes: int) -> list[Job]:
        """Jobs that are to be stored, as one batch; each is answered by one call below."""
        return keeping.take_adds(self.state, most, most_bytes)

    def take_ends(self) -> list[Job]:
        """Jobs that the store is to forget."""
        ends = self.state.ends
        self.state.ends = []
        return ends

    def take_retried(self) -> list[Job]:
        """Jobs whose number of attempts the store is to note."""
        retried = self.state.retried
        self.state.retried = []
        return retried

    def take_burials(self) -> list[Burial]:
        """Jobs that the store is to move to its dead set."""
        burials = self.state.burials
        self.state.burials = []
        return burials

    def take_surrenders(self) -> list[Surrender]:
        """Jobs that were given up, for people to be told."""
        surrenders = self.state.surrenders
        self.state.surrenders = []
        return surrenders

    def take_postponed(self) -> list[Postponement]:
        """Jobs that the store is to keep back for a time."""
        postponed = self.state.postponed
        self.state.postponed = []
        return postponed

    def hurry(self) -> None:
        """What was to be stored within a while is to be stored now."""
        self.state.hurry()

    def revive(self, handle: bytes) -> bool:
        """A job of the dead set in memory is to be done again; False if its key is taken."""
        return returning.revive(self.state, handle)

    def take_claims(self) -> list[Claim]:
        """Lines of which more should be claimed, the most urgent first."""
        return windows.take_claims(self.state)

    def stored(self, job: Job, mine: bool = True) -> None:
        """It is on the disk: it may be done, and its submitters are told.

        Args:
            mine: we hold the row; else it is in the pool, or waits for its time.
        """
        keeping.stored(self.state, job, mine)

    def merged(self, job: Job, handle: bytes) -> None:
        """The store has a job with this key already: that one's handle is the answer."""
        keeping.merged(self.state, job, handle)

    def not_stored(self, job: Job, text: bytes) -> None:
        """It could not be stored: its submitters are refused."""
        keeping.not_stored(self.state, job, text)

    def stored_elsewhere(self, job: Job) -> None:
        """It is stored, and another server may have it by now: its submitters are told."""
        keeping.stored_elsewhere(self.state, job)
        fencing.elsewhere(self.state, job)

    def elsewhere(self, job: Job) -> None:
        """Another server has this stored job: here it is forgotten, or goes on for its clients."""
        fencing.elsewhere(self.state, job)

    def fence(self) -> None:
        """Hand out no stored job until ``hold_until``: others may have them."""
        fencing.fence(self.state)

    def hold_until(self, steady: float) -> None:
        """Stored jobs may be handed out up to this time of the steady clock."""
        fencing.unfence(self.state, steady)

    def refuse_doubted(self, text: bytes) -> None:
        """Who joined a stored job while nobody knows who has it is refused."""
        fencing.refuse_doubted(self.state, text)

    def restore(
        self,
        handle: bytes,
        name: bytes,
        unique: bytes,
        workload: bytes,
        priority: int,
        reducer: bytes,
        attempts: int,
        away: bool = False,
    ) -> bool:
        """A job comes back from the store; False when it is here already.

        Args:
            away: its workload has not come with it.
        """
        return returning.restore(
            self.state, handle, name, unique, workload, priority, reducer, attempts, away
        )

    def take_fetches(self) -> list[Fetch]:
        """Workloads that workers wait for; each is answered by ``fetched``."""
        fetches = self.state.fetches
        self.state.fetches = []
        return fetches

    def fetched(self, fetch: Fetch, workload: bytes | None) -> None:
        """The workload of a job; None if the store has no such job any more."""
        returning.fetched(self.state, fetch, workload)

    def claimed(self, name: bytes, priority: int, found: int) -> None:
        """A claim has brought so many jobs, all restored; after 0 of them, count with ``page``."""
        returning.claimed(self.state, name, priority, found)

    def page(self, name: bytes, priority: int, ready: int, dormant: int) -> None:
        """So many jobs of this line are in the store and not in memory."""
        returning.page(self.state, name, priority, ready, dormant)

    def pooled(self, name: bytes, priority: int, count: int, ripe: bool) -> None:
        """So many jobs of this line may be claimed from now on.

        Args:
            ripe: they were delayed; else nobody knew of them.
        """
        returning.pooled(self.state, name, priority, count, ripe)

    def paged_lines(self) -> list[tuple[bytes, int]]:
        """Function and priority of each line of which something is only in the store."""
        return returning.paged_lines(self.state)

    def give_back(self, everything: bool) -> None:
        """Stored jobs that no worker here can do, or all that wait, go to the other servers."""
        giving.give_back(self.state, everything)

    def take_gifts(self) -> list[Gift]:
        """Rows that the store is to have for everybody."""
        gifts = self.state.gifts
        self.state.gifts = []
        return gifts

    def stop_accepting(self) -> None:
        """Take no new jobs; what is only in the store stays there, and nobody waits for it."""
        self.rules.accept_new_work = False
        self.state.hurry()
        if not self.rules.spills:
            returning.release_all(self.state)

    # ── time ─────────────────────────────────────────────────────────────────

    def tick(self, wall: float, steady: float) -> None:
        """Let time pass; see ``timekeeping``."""
        timekeeping.tick(self.state, wall, steady)

    def end_turn(self) -> None:
        """Called after all that happened in one turn, before anything is sent."""
        dispatch.see_to_restless(self.state)
        if self.state.fresh:
            dispatch.serve_grabbers(self.state, False)

    def next_deadline(self) -> float:
        """Seconds until ``tick`` has something to do; 0.0 for now, -1.0 for never."""
        return timekeeping.next_deadline(self.state)

    # ── people ───────────────────────────────────────────────────────────────

    @property
    def counters(self) -> Counters:
        """Totals since the start."""
        return self.state.counters

    @property
    def idle(self) -> bool:
        """No job is left, queued, delayed or running, but for what a store keeps."""
        return not self.state.jobs and not (self.rules.spills and self.state.paged)

    def function_names(self) -> list[bytes]:
        """Names of all functions, in the order in which they were first heard of."""
        return list(self.state.functions)

    def function_row(self, name: bytes) -> inspection.FunctionRow | None:
        """One function, or None when it was dropped."""
        return inspection.function_row(self.state, name)

    def peer_numbers(self) -> list[int]:
        """Numbers of all connections."""
        return list(self.state.peers)

    def peer_row(self, number: int) -> inspection.PeerRow | None:
        """One connection, or None when it has gone."""
        return inspection.peer_row(self.state, number)

    def job_handles(self) -> list[bytes]:
        """Handles of all jobs that are not over."""
        return inspection.job_handles(self.state)

    def job_row(self, handle: bytes) -> inspection.JobRow | None:
        """One job, or None when it is over."""
        return inspection.job_row(self.state, handle)
