"""Three job servers on one PostgreSQL, clients and workers around them, and what may befall them.

Between each server and the database stands a proxy with scissors. Clients note what
was promised to them, workers what they did, and whoever makes trouble when and to whom.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.chaos.proxy import Cut, Proxy
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, Wire
from tests.stores.postgres_server import Cluster
from tests.support import patient, wait_until

#: Seconds of a lease.
LEASE = 2.0
#: Jobs that a server gets just before it is paused or cut off: some are still in its memory then.
LOAD = 60
#: With so many that were never done clients wait, for the workers are few and slow on purpose.
MOST_WAITING = 5000
#: Seconds until the end of a job is on the disk, and until a trouble is noticed to be over.
SLACK = patient(0.5)


class Run(NamedTuple):
    """A worker had a job."""

    began: float
    ended: float
    server: int
    #: The worker hung up instead of ending it.
    abandoned: bool


class Trouble(NamedTuple):
    """Something was broken from then till then."""

    what: str
    #: None: all of them.
    server: int | None
    began: float
    ended: float


class Promise(NamedTuple):
    """A submission was acknowledged."""

    workload: bytes
    keyed: bool
    asked: float
    answered: float


class Member(Server):
    """One of the servers; it lives on a queue that may be out of reach when it starts."""

    def __init__(
        self, number: int, databases: Sequence[Cluster], options: str, started_by: Sequence[str]
    ) -> None:
        self.number = number
        self.proxies = [Proxy("127.0.0.1", database.port) for database in databases]
        self.paused = False
        self.cut_off = False
        hosts = ",".join(map(str, self.proxies))
        url = f"postgresql://gt@{hosts}/postgres?lease={LEASE:g}s{options}"
        super().__init__(OURS, "--queue", url, "--server-name", f"s{number}", started_by=started_by)

    def come_back(self) -> None:
        """Start again; refused while the database is away, or its old session is not gone."""

        def started() -> bool:
            with contextlib.suppress(AssertionError):
                self.restart()
                return True
            return False

        wait_until(started, within=10 * LEASE)

    def pause(self) -> None:
        self.paused = True
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.paused = False
        self.process.send_signal(signal.SIGCONT)

    def cut(self, how: Cut | None) -> None:
        """Cut it off from the database; new connections are cut like this, None: no more."""
        self.cut_off = how is not None
        for proxy in self.proxies:
            proxy.cut = how
            proxy.cut_now()

    def end(self) -> None:
        if self.paused:
            self.go_on()
        super().end()
        for proxy in self.proxies:
            proxy.close()


class World:
    """All of it, running."""

    def __init__(
        self,
        databases: Sequence[Cluster],
        chance: random.Random,
        options: str = "",
        started_by: Sequence[str] = (),
    ) -> None:
        #: The one that serves at present.
        self.cluster = databases[0]
        self.chance = chance
        self.members: list[Member] = []
        self.promises: dict[bytes, list[Promise]] = defaultdict(list)
        self.runs: dict[bytes, list[Run]] = defaultdict(list)
        self.troubles: list[Trouble] = []
        #: Handles that were promised last.
        self._latest: deque[bytes] = deque(maxlen=200)
        #: Questions about jobs that were answered.
        self.answers = 0
        self._leases: dict[int, int] = {}
        self._submitting = True
        self._working = True
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._live, args=(self._submit, chance.random(), n % 3, n))
            for n in range(4)
        ] + [
            threading.Thread(target=self._live, args=(self._work, chance.random(), n % 3, n))
            for n in range(6)
        ]
        try:
            for number in range(3):
                self.members.append(Member(number, databases, options, started_by))
        except BaseException:
            for member in self.members:
                member.end()
            raise
        self._threads.append(
            threading.Thread(target=self._live, args=(self._wonder, chance.random(), 0, 0))
        )
        for thread in self._threads:
            thread.start()

    # ── clients and workers ──────────────────────────────────────────────────

    def _live(
        self,
        life: Callable[[Wire, random.Random, int, int], None],
        seed: float,
        server: int,
        number: int,
    ) -> None:
        """Connect again whenever the connection is lost."""
        chance = random.Random(seed)
        while self._working:
            try:
                wire = Wire(self.members[server].address, patience=patient(2 * LEASE))
            except OSError:
                time.sleep(0.05)
                continue
            try:
                life(wire, chance, server, number)
            except (AssertionError, OSError):
                # Paused, killed, or away: clients may go anywhere, workers stay.
                server = server if life == self._work else chance.randrange(3)
            finally:
                wire.close()

    def _submit(self, wire: Wire, chance: random.Random, server: int, number: int) -> None:
        while self._submitting:
            if len(self.promises) - len(self.runs) > MOST_WAITING:
                # A line that grows for ten minutes is not done when it is to be empty.
                time.sleep(0.05)
                continue
            batch = []
            # Now and then so many that they wait in line.
            burst = 1000 if chance.random() < 0.02 else 12
            for _ in range(chance.randrange(1, burst)):
                asked = time.monotonic()
                workload = b"%d.%d" % (number, chance.getrandbits(60))
                key = b"key%d" % chance.randrange(40) if chance.random() < 0.1 else b""
                if not key and chance.random() < 0.1:
                    when = b"%d" % (time.time() + chance.randrange(3))
                    wire.send(T.SUBMIT_JOB_EPOCH, b"f", b"", when, workload)
                else:
                    kind = chance.choice((T.SUBMIT_JOB_BG, T.SUBMIT_JOB_HIGH_BG))
                    wire.send(kind, b"f", key, workload)
                batch.append((workload, bool(key), asked))
            self._hear_promises(wire, batch)
            time.sleep(chance.uniform(0.0, 0.05))
        time.sleep(0.05)

    def _hear_promises(self, wire: Wire, batch: list[tuple[bytes, bool, float]]) -> None:
        for one in batch:
            heard = wire.receive()
            if heard.number == T.JOB_CREATED:
                with self._lock:
                    self.promises[heard.body].append(Promise(*one, time.monotonic()))
                    self._latest.append(heard.body)
            else:
                assert heard.number == T.ERROR, heard

    def load(self, member: Member) -> None:
        """Give it work, for what is in its memory is what it may wrongly hold on to."""
        with contextlib.suppress(AssertionError, OSError):
            wire = Wire(member.address, patience=patient(2 * LEASE))
            try:
                batch = []
                for _ in range(LOAD):
                    workload = b"load.%d" % self.chance.getrandbits(60)
                    batch.append((workload, False, time.monotonic()))
                    wire.send(T.SUBMIT_JOB_BG, b"f", b"", workload)
                self._hear_promises(wire, batch)
            finally:
                wire.close()

    def _work(self, wire: Wire, chance: random.Random, server: int, number: int) -> None:
        wire.can_do(b"f")
        while self._working:
            wire.send(T.GRAB_JOB_ALL)
            heard = wire.receive()
            while heard.number == T.NOOP:
                heard = wire.receive()
            if heard.number == T.NO_JOB:
                wire.send(T.PRE_SLEEP)
                with contextlib.suppress(AssertionError):
                    wire.socket.settimeout(0.2)
                    wire.receive()
                wire.socket.settimeout(patient(2 * LEASE))
                continue
            handle = heard.body.partition(b"\0")[0]
            began = time.monotonic()
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0.0, 0.02))
            abandoned = chance.random() < 0.005
            with self._lock:
                self.runs[handle].append(Run(began, time.monotonic(), server, abandoned))
            if abandoned:
                return
            wire.send(T.WORK_COMPLETE, handle, b"")

    def _wonder(self, wire: Wire, chance: random.Random, server: int, number: int) -> None:
        """Ask any server of any job; each question has its answer, wherever the job is."""
        for _ in range(chance.randrange(1, 50)):
            with self._lock:
                handle = chance.choice(self._latest) if self._latest else b""
            if handle:
                wire.send(T.GET_STATUS, handle)
                assert wire.receive().body.split(b"\0")[0] == handle
                wire.send(T.GET_STATUS_UNIQUE, b"key%d" % chance.randrange(40))
                assert wire.receive().number == T.STATUS_RES_UNIQUE
                wire.send_bytes(b"why " + handle + b"\n")
                assert wire.read_line()
                self.answers += 1
            time.sleep(chance.uniform(0.0, 0.1))
        raise OSError("enough asked here")

    # ── trouble ──────────────────────────────────────────────────────────────

    def free(self) -> list[Member]:
        """Servers that nothing happens to."""
        return [one for one in self.members if one.alive() and not one.paused and not one.cut_off]

    def make(self, what: str, member: Member) -> None:
        if what in ("pause", "cut", "stall"):
            self.load(member)
        if what == "kill":
            member.kill()
        elif what == "stop":
            # In order, as for an upgrade.
            member.process.terminate()
            member.process.wait(patient(20))
        elif what == "pause":
            member.pause()
        elif what == "cut":
            # Gone, and each new connection with it.
            member.cut(Cut(up=0, reset=True))
        else:
            # New connections are made, and nothing is heard over them.
            member.cut(Cut(up=1, stall=True))

    def heal(self, what: str, member: Member) -> None:
        if what in ("kill", "stop"):
            member.come_back()
        elif what == "pause":
            member.go_on()
        else:
            member.cut(None)

    def crash_database(self) -> None:
        """As if its power went, and came back."""
        began = time.monotonic()
        self.cluster.kill()
        time.sleep(self.chance.uniform(0.0, LEASE))
        wait_until(self._database_starts, within=30.0)
        self.note("database", None, began)

    def _database_starts(self) -> bool:
        with contextlib.suppress(RuntimeError):
            self.cluster.start()
            return True
        return False

    def note(self, what: str, server: int | None, began: float) -> None:
        self.troubles.append(Trouble(what, server, began, time.monotonic()))

    def note_leases(self) -> None:
        """Who has which lease; job ids tell under which they were made."""
        for id, server in self.ask("SELECT id, server FROM gt_lease"):
            self._leases[id % 1024] = int(server[1:])

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Behind the servers' backs."""
        import psycopg

        with psycopg.connect(self.cluster.url(), autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def left_over(self) -> str:
        """What is in the tables, for whoever wonders why it is still there."""
        found = []
        for name, table in (
            ("jobs", "gt_job j LEFT JOIN gt_lease l ON l.id = owner"),
            ("counts", "gt_count"),
            ("leases", "gt_lease"),
        ):
            with contextlib.suppress(Exception):
                rows = self.ask(f"SELECT * FROM {table} LIMIT 8")
                found += [f"{name}: {row}" for row in rows]
        for member in self.members:
            with contextlib.suppress(AssertionError, OSError):
                wire = Wire(member.address, patience=patient(LEASE))
                for question in (b"status", b"workers"):
                    wire.send_bytes(question + b"\n")
                    found.append(f"s{member.number}: {wire.read_list()}")
                wire.close()
        return "\n".join(found)

    # ── the end ──────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """Submit no more, and do what is left."""
        self._submitting = False
        left = "SELECT count(*) FROM gt_job"
        wait_until(lambda: self.ask(left) == [(0,)], within=30.0)
        self._working = False
        for thread in self._threads:
            thread.join(patient(30))
            assert not thread.is_alive()

    def close(self) -> None:
        self._submitting = self._working = False
        for member in self.members:
            member.end()
        for thread in self._threads:
            thread.join(patient(30))

    # ── the books ────────────────────────────────────────────────────────────

    def troubled(self, server: int | None, begin: float, end: float) -> bool:
        """Whether anything was wrong at this server (None: anywhere) between these times."""
        return any(
            trouble.began <= end + SLACK and begin <= trouble.ended + SLACK
            for trouble in self.troubles
            if None in (server, trouble.server) or trouble.server == server
        )

    def lost(self) -> list[str]:
        """Promises that were not kept: no run of that job ended after it was asked for."""
        return [
            f"{handle!r}: {promise}, runs: {self.runs[handle]}"
            for handle, promises in list(self.promises.items())
            for promise in promises
            if not any(self._keeps(run, promise) for run in self.runs[handle])
        ]

    def _keeps(self, run: Run, promise: Promise) -> bool:
        if run.abandoned:
            return False
        # Who joins a job at another server may join it in the moment in which it ends there.
        return run.ended >= promise.asked or (
            promise.keyed
            and (
                run.ended > promise.asked - patient(1.0)
                or self.troubled(None, run.ended, promise.asked)
            )
        )

    def needless(self) -> list[str]:
        """Repetitions without a reason."""
        return [
            f"{handle!r}: {first}, again {second}, after {self._before(second.began)}"
            for handle, runs in list(self.runs.items())
            for first, second in zip(sorted(runs), sorted(runs)[1:], strict=False)
            if not first.abandoned and not self._excused(handle, first, second)
        ]

    def _excused(self, handle: bytes, first: Run, second: Run) -> bool:
        promises = self.promises[handle]
        # What was joined where it was lost is done again, wherever it was done.
        keyed = any(one.keyed for one in promises)
        if self.troubled(None if keyed else first.server, first.began, first.ended):
            return True
        if any(one.answered < first.began for one in promises):
            return False
        # Whoever took it in did not hear that it was kept, and gave it to all once more.
        return self.troubled(self._origin(handle), first.began - LEASE, second.began)

    def _origin(self, handle: bytes) -> int | None:
        """The server that took this job in; None if its lease was too short to be seen."""
        return self._leases.get(int(handle[-16:], 16) >> 12 & 1023)

    def _before(self, end: float) -> list[Trouble]:
        """What went wrong in the seconds before."""
        return [one for one in self.troubles if one.began < end < one.ended + 5 * LEASE]
