"""Worker: does jobs, in this thread, in several, or in several processes.

A worker has one slot for each job at a time (``slot.py``). With ``pool="inline"``
there is one, in the thread that calls ``work``; with ``"thread"`` each slot is a
thread, with ``"process"`` a process (``pool.py``).

Graceful stop: no more GRAB_JOB, finish what runs, hang up. So no job runs twice.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from geartrain.client.options import Seconds, count_of, flag_of, limit_of, seconds_of, text_of
from geartrain.codecs import CodecLike, codec_of
from geartrain.errors import ConfigurationError, StopWorker
from geartrain.transport.address import Servers
from geartrain.transport.environment import find_servers
from geartrain.transport.tls import TLSLike, client_context
from geartrain.worker.events import JobAssigned
from geartrain.worker.functions import Ability, Decorator, Functions, Handler, do_job
from geartrain.worker.job import Job, log
from geartrain.worker.options import PoolName
from geartrain.worker.slot import ServerLink, Slot

if TYPE_CHECKING:
    from typing import Self

    from geartrain.client.sync import Client

H = TypeVar("H", bound=Callable[..., Any])


class Worker:
    """Does jobs for job servers.

    Args:
        servers: ``"a,b:4731"``, a list, or None: ``$GEARMAN_SERVERS``, else
            localhost. Jobs are taken from all of them.
        worker_id: name that ``gearadmin --workers`` shows; white space becomes ``_``.
        namespace: put before every function name on the wire.
        concurrency: jobs at once.
        pool: where handlers run; None: ``inline`` for a concurrency of 1, else
            ``thread``.
        grace: seconds that running jobs have to end after ``stop``.
        tls: ``TLS(...)``, an ``ssl.SSLContext``, or True: files from the environment.
        connect_timeout: seconds for one connection.
        prefetch: ask for so many jobs more than can be done at once, so that the next
            are here when one ends. It saves a round trip for each: right for jobs of
            less than a millisecond. Longer ones would wait here while another worker
            is idle. Not done while a function has a ``timeout``: a server counts it from
            the moment that it gives a job away.

    Attributes:
        context: yours; every ``Job.context`` is this.

    Raises:
        ConfigurationError: a setting cannot be.
    """

    def __init__(
        self,
        servers: Servers = None,
        *,
        worker_id: str | None = None,
        namespace: str = "",
        concurrency: int = 1,
        pool: PoolName | None = None,
        grace: Seconds = 30.0,
        tls: TLSLike = None,
        connect_timeout: Seconds | None = 4.0,
        prefetch: int = 0,
    ) -> None:
        if type(prefetch) is not int or prefetch < 0:
            raise ConfigurationError(f"prefetch = {prefetch!r}: want 0 or more")
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(f"concurrency = {concurrency!r}: want 1 or more")
        if pool not in (None, "inline", "thread", "process"):
            raise ConfigurationError(f"pool = {pool!r}: want inline, thread or process")
        if pool == "inline" and concurrency > 1:
            raise ConfigurationError(
                f"pool = 'inline' does one job at a time; concurrency = {concurrency} needs "
                f"'thread' or 'process'"
            )
        self.servers = find_servers(servers)
        self.namespace = text_of(namespace, "namespace")
        self.concurrency = concurrency
        self.pool: PoolName = pool or ("inline" if concurrency == 1 else "thread")
        self.context: Any = None
        self.functions = Functions(self.namespace)
        self._worker_id = "_".join(text_of(worker_id or "", "worker_id").split())
        self._grace = seconds_of(grace, "grace") or 0.0
        self._connect_timeout = limit_of(connect_timeout, "connect_timeout")
        self._prefetch = prefetch
        self._tls_like = tls
        self._tls = client_context(tls)
        self._slots: list[Slot] = []
        self._own: Slot | None = None
        self._stopping = False
        self._now = False
        self._client: Client | None = None
        self._done = 0
        self._tickets: int | None = None
        self._lock = threading.Lock()

    # ── what it can do ───────────────────────────────────────────────────────

    @overload
    def function(self, fn: H, /) -> H: ...
    @overload
    def function(
        self,
        name: str | None = None,
        /,
        *,
        timeout: Seconds | None = None,
        codec: CodecLike = "bytes",
    ) -> Decorator: ...
    def function(
        self, name: Any = None, /, *, timeout: Seconds | None = None, codec: CodecLike = "bytes"
    ) -> Any:
        """Decorator that offers a function to the servers.

        ::

            @worker.function
            def reverse(job):
                return job.workload[::-1]


            @worker.function("wc", timeout=30)
            def count(job):
                for line in job.track(job.text().splitlines()):
                    yield line  # WORK_DATA

        Args:
            name: on the wire; None: the function's own.
            timeout: seconds after which a server gives the job to another worker.
            codec: decodes the workload into ``job.args``, encodes what is returned.
        """
        return self.functions.decorate(name, timeout, codec)

    def add_function(
        self,
        name: str,
        fn: Handler,
        /,
        *,
        timeout: Seconds | None = None,
        codec: CodecLike = "bytes",
    ) -> None:
        """Offer a function, also while working; again to replace it."""
        self.functions.add(name, fn, timeout, codec)
        self._wake()

    def remove_function(self, name: str, /) -> None:
        """Offer it no more; a job of it that runs is finished."""
        self.functions.remove(name)
        self._wake()

    # ── doing it ─────────────────────────────────────────────────────────────

    def work(
        self,
        *,
        max_jobs: int | None = None,
        max_time: Seconds | None = None,
        burst: bool = False,
        signals: bool = True,
    ) -> int:
        """Do jobs until ``stop``, SIGTERM or SIGINT.

        In the main thread it handles those two signals: the first lets running
        jobs end (``grace`` seconds), the second does not wait.

        Args:
            max_jobs: stop after so many.
            max_time: seconds; the job that runs then is finished.
            burst: stop when the servers have nothing to do.
            signals: False leaves SIGTERM and SIGINT to the program, which calls ``stop``.

        Returns:
            How many jobs were done.
        """
        if not len(self.functions):
            raise ConfigurationError("a worker without functions: add one before work()")
        count_of(max_jobs, "max_jobs")
        flag_of(burst, "burst")
        flag_of(signals, "signals")
        seconds = seconds_of(max_time, "max_time")
        deadline = None if seconds is None else time.monotonic() + seconds
        if self.pool == "process":
            from geartrain.worker.pool import ProcessPool

            with self._signals(signals):
                return ProcessPool(self).run(max_jobs, seconds, burst)
        self._done = 0
        self._tickets = max_jobs
        if self._prefetch and self.functions.have_timeouts:
            log.warning(
                "prefetch = %d, but nothing is fetched ahead: a function has a timeout",
                self._prefetch,
            )
        self._slots = [self._new_slot(self._prefetch) for _ in range(self.concurrency)]
        if self._stopping:
            self._stop_slots()
        try:
            with self._signals(signals):
                if self.pool == "inline":
                    self._work_slot(self._slots[0], deadline, burst)
                else:
                    self._work_threads(deadline, burst)
        finally:
            for slot in self._slots:
                slot.close()
            self._slots = []
            self._close_client()
            self._stopping = self._now = False
        return self._done

    def work_one(self, timeout: Seconds | None = None) -> bool:
        """Do one job; False: none came in time."""
        job = self.grab(timeout)
        if job is None:
            return False
        self._do(job, self._own)
        return True

    def grab(self, timeout: Seconds | None = None) -> Job | None:
        """Get one job to do by hand; None: none came in time.

        ::

            while job := worker.grab():
                with job:  # ends it, also if something is raised
                    job.send_complete(...)

        Not for several threads at once: give each a worker of its own.
        """
        if self._own is None:
            self._own = self._new_slot()
        seconds = seconds_of(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        job = self._own.next_job(deadline) or self._own.done_asking()
        if job is not None:
            self._own.ask_no_more_after_this()
        return job

    def stop(self, *, now: bool = False) -> None:
        """Let ``work`` end. From any thread, and from signal handlers.

        Args:
            now: do not wait for running jobs; servers give them to other workers.
        """
        self._stopping = True
        self._now = self._now or now
        self._stop_slots()

    def close(self) -> None:
        """Hang up what ``grab`` and ``work_one`` have opened."""
        if self._own is not None:
            self._own.close()
            self._own = None
        self._close_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ── for the pool of processes ────────────────────────────────────────────

    @property
    def grace(self) -> float:
        """Seconds that running jobs have to end after ``stop``."""
        return self._grace

    @property
    def is_stopping(self) -> bool:
        """``stop`` was called, and ``work`` has not returned yet."""
        return self._stopping

    @property
    def is_stopping_now(self) -> bool:
        """``stop(now=True)`` was called."""
        return self._now

    def in_child(self) -> Worker:
        """The same worker for one forked process: one job at a time, inline."""
        worker = Worker(
            self.servers,
            worker_id=self._worker_id or None,
            namespace=self.namespace,
            grace=self._grace,
            tls=self._tls_like,
            connect_timeout=self._connect_timeout,
            prefetch=self._prefetch,
        )
        worker.functions = self.functions
        worker.context = self.context
        return worker

    # ── inside ───────────────────────────────────────────────────────────────

    def _new_slot(self, prefetch: int = 0) -> Slot:
        return Slot(
            self.servers,
            self.functions,
            self._make_job,
            self._worker_id,
            self._tls,
            self._connect_timeout,
            prefetch,
        )

    def _make_job(self, link: ServerLink, event: JobAssigned) -> Job:
        reducer = None
        if event.reducer is not None:
            reducer = event.reducer.decode().removeprefix(self.namespace)
        name = self.functions.name_of(event.function)
        return Job(link, event, name, reducer, self.context, self._shared_client)

    def _shared_client(self) -> Client:
        with self._lock:
            if self._client is None:
                from geartrain.client.sync import Client

                self._client = Client(self.servers, namespace=self.namespace, tls=self._tls_like)
            return self._client

    def _close_client(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ability(self, job: Job) -> Ability:
        ability = self.functions.find(job.wire_function)
        if ability is None:  # removed while the job was on its way
            return Ability(job.function, _requeue, 0, codec_of("bytes"))
        return ability

    def _fill_up(self, tickets: int) -> int:
        """So many jobs may a slot ask for that has still so many tickets: one for each.

        No slot asks for a job that might be one too many, and none takes more than
        its share of the last.
        """
        most = 1 + self._prefetch
        if self._tickets is None:
            return most
        with self._lock:
            share = max(1, self._tickets // self.concurrency)
            more = min(most - tickets, share, self._tickets)
            self._tickets -= more
        return tickets + more

    def _work_slot(self, slot: Slot, deadline: float | None, burst: bool) -> None:
        tickets = self._fill_up(0)
        while tickets and not slot.stopping:
            slot.ask_for(tickets)
            job = slot.next_job(deadline, burst) or slot.done_asking()
            if job is None:
                break
            tickets = self._fill_up(tickets - 1)
            if deadline is not None and time.monotonic() >= deadline:
                slot.ask_no_more_after_this()
            else:
                slot.ask_for(tickets)
            self._do(job, slot)
        with self._lock:
            if self._tickets is not None:
                self._tickets += tickets
        # Stopped between a GRAB and its answer: what comes is ours to do.
        while (job := slot.done_asking()) is not None:
            self._do(job, slot)

    def _do(self, job: Job, slot: Slot | None) -> None:
        if slot is not None:
            slot.job = job
        try:
            what = do_job(self._ability(job), job)
        finally:
            if slot is not None:
                slot.job = None
        with self._lock:
            self._done += 1
        if isinstance(what, StopWorker):
            self.stop()
        elif what is not None:
            raise what

    def _work_threads(self, deadline: float | None, burst: bool) -> None:
        threads = [
            threading.Thread(
                target=self._work_slot,
                args=(slot, deadline, burst),
                name=f"gearman-{n}",
                daemon=True,
            )
            for n, slot in enumerate(self._slots, 1)
        ]
        for thread in threads:
            thread.start()
        while not self._stopping and any(thread.is_alive() for thread in threads):
            # A join without end would keep signal handlers from running.
            for thread in threads:
                thread.join(0.2 / len(threads))
        end = time.monotonic() + (0.0 if self._now else self._grace)
        for thread in threads:
            while thread.is_alive() and not self._now and time.monotonic() < end:
                thread.join(0.05)
        left = sum(thread.is_alive() for thread in threads)
        if left:
            log.warning("%d jobs had not ended in time; servers give them to others", left)

    def _stop_slots(self) -> None:
        for slot in self._slots:
            slot.stop()
        if self._own is not None:
            self._own.wake()

    def _wake(self) -> None:
        for slot in self._slots:
            slot.wake()

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        """Let the first SIGTERM or SIGINT stop gracefully, and the second at once."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            again = self._stopping
            self.stop(now=again)
            if again and self.pool == "inline":
                raise KeyboardInterrupt

        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        except KeyboardInterrupt:
            if not self._now:
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _requeue(job: Job) -> None:
    job.requeue()
