"""GearmanExecutor: the client half.

Futures need somebody who completes them while nobody waits, so there is one I/O
thread: it lives while calls are out, and ends a moment after the last. It is no
daemon, so a program that ends waits for its calls, as with the standard executors.

What is beyond ``max_pending`` waits here, and can be cancelled for nothing. What is at
the server is cancelled there, if no worker has it yet.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from logging import getLogger
from typing import Any, Final, Literal, ParamSpec, TypeVar

from geartrain.client.options import (
    BY_WORKLOAD,
    PriorityLike,
    SubmitOptions,
    flag_of,
    priority_of,
)
from geartrain.client.sync import Client
from geartrain.client.waiting import Task
from geartrain.errors import ConfigurationError, GearmanError, JobException
from geartrain.executor.answering import FUNCTION
from geartrain.executor.sealed import Seal
from geartrain.retry import Retry
from geartrain.transport.address import Servers
from geartrain.transport.tls import TLSLike

P = ParamSpec("P")
T = TypeVar("T")

log = getLogger("geartrain.executor")

#: Seconds that the I/O thread waits for further calls before it ends.
LINGER_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 1.0


class GearmanFuture(Future[T]):
    """A call that a worker is to make.

    Attributes:
        task: the job, for its handle, progress or status; None while it waits here.
    """

    def __init__(self, executor: GearmanExecutor, call: bytes) -> None:
        super().__init__()
        self._executor = executor
        self._call = call
        self.task: Task[bytes] | None = None

    def cancel(self) -> bool:
        """Cancel it, if no worker has it yet; asks the server, where it is there.

        A call of a ``pure`` executor may be others' too: it is left to run, unheard.
        """
        if self.cancelled():
            return True
        if self.done() or not self._executor._take_back(self):
            return False
        if super().cancel():
            self.set_running_or_notify_cancel()
        return self.cancelled()


class GearmanExecutor(Executor):
    """Runs calls in workers, wherever they are.

    Args:
        servers: as for ``Client``.
        key: the secret that calls and answers are signed with; 16 bytes or more. Who
            has it can run any code in your workers.
        function: name on the wire, as the workers say.
        serializer: ``pickle``: functions by reference, in modules that workers can
            import. ``cloudpickle``: lambdas, closures and ``__main__`` too.
        pure: equal calls give equal results, so those that are out at the same time
            are made once: the job's key is a digest of the call.
        priority: ``high``, ``normal`` or ``low``.
        max_pending: calls at the server at once; further ones wait here. None: all.
        retry: submit again what was lost with its connection; it may then run twice.
        namespace: put before the function's name.
        tls: as for ``Client``.

    Raises:
        ConfigurationError: a setting cannot be.
    """

    def __init__(
        self,
        servers: Servers = None,
        *,
        key: bytes,
        function: str = FUNCTION,
        serializer: Literal["pickle", "cloudpickle"] = "pickle",
        pure: bool = False,
        priority: PriorityLike = "normal",
        max_pending: int | None = None,
        retry: Retry | int = 0,
        namespace: str = "",
        tls: TLSLike = None,
    ) -> None:
        if max_pending is not None and (type(max_pending) is not int or max_pending < 1):
            raise ConfigurationError(f"max_pending = {max_pending!r}: want 1 or more, or None")
        priority_of(priority)
        self._seal = Seal(key, serializer)
        self._client = Client(servers, namespace=namespace, tls=tls, retry=retry)
        self._function = function
        self._options: SubmitOptions = {"priority": priority}
        self._pure = flag_of(pure, "pure")
        if pure:
            self._options["unique"] = BY_WORKLOAD
        self._max_pending = max_pending
        self._lock = threading.Lock()
        self._waiting: deque[GearmanFuture[Any]] = deque()
        #: At the server, and not over.
        self._out: set[GearmanFuture[Any]] = set()
        self._thread: threading.Thread | None = None
        self._is_shut = False

    # ── the interface of Executor ────────────────────────────────────────────

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call ``fn(*args, **kwargs)``.

        Returns:
            A ``GearmanFuture``, whose ``task`` is the job. It raises what the call has
            raised, with the remote traceback as a note; ``JobException`` where that
            cannot be unpickled here; ``JobLost``, ``ServerUnavailable`` and the like as
            a ``Client`` does.

        Raises:
            RuntimeError: after ``shutdown``.
            EncodeError: the call cannot be pickled.
        """
        future: GearmanFuture[T] = GearmanFuture(self, self._seal.call(fn, args, kwargs))
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._waiting.append(future)
        self._send_what_may_go()
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As ``Executor.map`` of Python 3.14: results in the order of the arguments.

        Args:
            timeout: seconds from now for each ``next``.
            chunksize: calls in one job; more pay off where calls are short.
            buffersize: chunks that are out at once; arguments are then read lazily.
                None: all arguments are read now.

        Raises:
            TimeoutError: a result is not there in time.
            ValueError: ``chunksize`` or ``buffersize`` is less than 1.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize = {chunksize}: want 1 or more")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize = {buffersize}: want 1 or more, or None")
        deadline = None if timeout is None else time.monotonic() + timeout
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        first = chunks if buffersize is None else itertools.islice(chunks, buffersize)
        futures = deque(self.submit(_call_each, fn, chunk) for chunk in first)
        return self._results(fn, chunks, futures, deadline)

    def _results(
        self,
        fn: Callable[..., T],
        chunks: Iterator[list[Any]],
        futures: deque[Future[list[T]]],
        deadline: float | None,
    ) -> Iterator[T]:
        try:
            while futures:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                results = futures[0].result(left)
                futures.popleft()
                for chunk in itertools.islice(chunks, 1):
                    futures.append(self.submit(_call_each, fn, chunk))
                yield from results
        finally:
            for future in futures:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Args:
            wait: return when all calls are over, and the connections closed.
            cancel_futures: cancel those that no worker has yet.
        """
        with self._lock:
            self._is_shut = True
            thread = self._thread
            waiting, out = ([*self._waiting], [*self._out]) if cancel_futures else ([], [])
            if cancel_futures:
                self._waiting.clear()
        for future in waiting:
            if Future.cancel(future):
                future.set_running_or_notify_cancel()
        for future in out:
            future.cancel()
        if thread is None:
            self._client.close()
        elif wait:
            thread.join()

    # ── out and back ─────────────────────────────────────────────────────────

    def _send_what_may_go(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or (
                    self._max_pending is not None and len(self._out) >= self._max_pending
                ):
                    return
                future = self._waiting.popleft()
                self._out.add(future)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="geartrain-executor")
                    self._thread.start()
            options: SubmitOptions = {
                **self._options,
                "context": future,
                "on_complete": self._ended,
                "on_fail": self._failed,
            }
            try:
                future.task = self._client.submit(self._function, future._call, **options)
            except GearmanError as error:
                self._over(future, error=error)
            except Exception as error:
                log.exception("a call could not be submitted")
                self._over(future, error=error)

    def _serve(self) -> None:
        """The I/O thread."""
        is_shut = False
        while True:
            try:
                # Now and then it looks by itself: a call that was cancelled, or could
                # not be sent, ends without a packet that would wake us.
                self._client.wait_until(lambda: not self._out, timeout=LOOK_SECONDS)
                if not self._is_shut:
                    self._client.wait_until(
                        lambda: self._out or self._is_shut, timeout=LINGER_SECONDS
                    )
            except Exception as error:
                log.exception("the I/O thread failed")
                for future in list(self._out):
                    self._over(future, error=error)
            with self._lock:
                if not self._out and not self._waiting:
                    self._thread = None
                    is_shut = self._is_shut
                    break
        if is_shut:
            self._client.close()

    def _ended(self, task: Task[bytes]) -> None:
        future: GearmanFuture[Any] = task.context
        try:
            self._over(future, self._seal.open_answer(future._call, task.outcome()))
        except Exception as error:
            self._over(future, error=error)

    def _failed(self, task: Task[bytes], error: GearmanError) -> None:
        future: GearmanFuture[Any] = task.context
        if not isinstance(error, JobException):
            self._over(future, error=error)
            return
        text, cause = self._seal.open_fault(future._call, error.data)
        message, _, trace = text.decode("utf-8", "backslashreplace").partition("\n\n")
        if cause is not None:
            cause.add_note(f"In the worker:\n{trace.rstrip()}")
            self._over(future, error=cause)
            return
        self._over(
            future,
            error=JobException(
                message,
                data=text,
                type_name=message.partition(":")[0] if trace else "",
                remote_traceback=trace,
                function=error.function,
                handle=error.handle,
                unique=error.unique,
                task=task,
            ),
        )

    def _over(
        self, future: GearmanFuture[Any], result: Any = None, error: BaseException | None = None
    ) -> None:
        with self._lock:
            if future not in self._out:
                return
        try:
            if not future.cancelled() and future.set_running_or_notify_cancel():
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(result)
        finally:
            # Last, so that shutdown() returns after the results are there.
            with self._lock:
                self._out.discard(future)
            self._send_what_may_go()

    def _take_back(self, future: GearmanFuture[Any]) -> bool:
        """Take a call from the queue, here or at the server; False: a worker has it."""
        with self._lock:
            if future in self._waiting:
                self._waiting.remove(future)
                return True
        task = future.task
        if task is None:
            return False  # just being submitted
        try:
            handle = task.wait_created(5.0)
            if self._client.status(handle).running:
                return False
        except GearmanError:
            return False
        with self._lock:
            if future not in self._out:
                return False  # it has ended meanwhile
            # From here on nobody completes it: the server says WORK_FAIL of what
            # is cancelled.
            self._out.discard(future)
        if not self._pure:
            try:
                self._client.cancel(handle)
            except GearmanError:
                pass  # the connection has gone, and the queued job with it
        self._send_what_may_go()
        return True


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _call_each(fn: Callable[..., T], calls: list[tuple[Any, ...]]) -> list[T]:
    """One chunk of ``map``, in the worker."""
    return [fn(*args) for args in calls]
