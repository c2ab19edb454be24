"""What waits for a ``Client``: sockets, deadlines, threads.

*Leader and follower.* There is no thread of our own. The thread that waits first
leads: it reads for all, and wakes those whose answer has come. When it has what it
wanted it resigns, and one of the others leads. So one thread alone pays for no
hand-over at all, and no thread is lost in a fork.

Rules: ``lock`` guards the connections and the tasks and is never held while
waiting. Sending never waits, so it may be done under the lock. Callbacks run in
the leading thread, without the lock; a callback that waits leads on by itself.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from geartrain._native import mypyc_attr, take_signals
from geartrain.client.channel import Channel, Question
from geartrain.client.connection import ClientConnection
from geartrain.client.events import Event, Lost, Numbered
from geartrain.client.routing import Routing
from geartrain.client.seldom import chance, log, why
from geartrain.client.task import AGAIN, GO_ON, MOVE, OVER, BaseTask
from geartrain.errors import ConnectTimeout, GearmanError, ProtocolError, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.servers import ServerBook
from geartrain.transport.sync import NAP_SECONDS, TlsStream, connect

if TYPE_CHECKING:
    import ssl

#: A connection that was quiet for so long is looked at before it is used again: the
#: server may have closed it, and a job sent into it would be in doubt.
QUIET_SECONDS: Final = 0.5

#: What a batch has gathered leaves when there is so much of it: a few system calls
#: for a thousand jobs, and the server begins before the last of them is made.
BATCH_BYTES: Final = 16 * 1024


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine:
    """Connections to all servers, and the threads that wait for them.

    Args:
        servers: where.
        routing: which of them for which job.
        connect_timeout: seconds, or None.
        tls: for every server; or None.
        exceptions: ask servers to pass WORK_EXCEPTION on.
    """

    def __init__(
        self,
        servers: tuple[Address, ...],
        routing: Routing,
        connect_timeout: float | None,
        tls: ssl.SSLContext | None,
        exceptions: bool,
    ) -> None:
        self.servers = servers
        self.book = ServerBook()
        self.closed = False
        self._routing = routing
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._exceptions = exceptions
        self._channels: dict[Address, Channel] = {}
        self._calls: deque[tuple[BaseTask[Any], Event | None, bool]] = deque()
        self._other_calls: deque[tuple[Callable[[Any], object], BaseTask[Any]]] = deque()
        self._again: list[tuple[float, int, BaseTask[Any]]] = []
        self._again_count = 0
        self._lone = len(servers) == 1
        # The only channel there can be, or None: an address as a key has its price.
        self._only: Channel | None = None
        self._new_threading()

    def _new_threading(self) -> None:
        # Threads that are in a batch, and how deep; is something held back for one?
        self._batches: dict[int, int] = {}
        self._held = False
        self.lock = threading.Lock()
        self._connecting = threading.RLock()
        # The thread that waits for all others, by its ``get_ident()``; 0: none.
        self._leader = 0
        self._followers: list[tuple[Callable[[], object], Any]] = []
        self._waker: tuple[socket.socket, socket.socket] | None = None

    # ── asking ───────────────────────────────────────────────────────────────

    def submit(self, task: BaseTask[Any]) -> None:
        """Hand a job in at the best server that takes it.

        Raises:
            ServerUnavailable: none does (and the task has no attempt left).
        """
        if not self._hand_in(task) and task.done() and task.error is not None:
            raise task.error

    def ask(self, address: Address, question: Callable[[ClientConnection], int]) -> Question:
        """Ask one server something that is no job; ``wait`` for it to be ``done``.

        Raises:
            ServerUnavailable, ConnectTimeout: it cannot be reached.
        """
        who = Question()
        while not self._ask(self.channel(address), question, who):
            pass
        return who

    def channel(self, address: Address) -> Channel:
        """The conversation with a server, begun if there is none.

        Raises:
            ServerUnavailable, ConnectTimeout: it cannot be reached.
        """
        channel = self._found(address)
        if channel is not None:
            self._look_at(channel)
            channel = self._found(address)
            if channel is not None:
                return channel
        if self.closed:
            raise ServerUnavailable("the client is closed")
        with self._connecting:
            channel = self._channels.get(address)
            if channel is not None:
                return channel
            try:
                stream = connect(address, self._connect_timeout, self._tls)
            except (ServerUnavailable, ConnectTimeout):
                self.book.failed(address, time.monotonic(), chance())
                raise
            self.book.succeeded(address)
            channel = Channel(address, ClientConnection(self._exceptions), stream)
            channel.used_at = time.monotonic()
            with self.lock:
                self._channels[address] = channel
                self._only = channel if self._lone else None
            self._wake_leader()
            return channel

    def _found(self, address: Address) -> Channel | None:
        only = self._only
        if only is not None and only.address is address:
            return only
        return self._channels.get(address)

    def _look_at(self, channel: Channel) -> None:
        """Notice that the server has closed a quiet connection before a job is sent into it."""
        now = time.monotonic()
        quiet = now - channel.used_at > QUIET_SECONDS
        channel.used_at = now
        if quiet and not self._leader and not channel.requests:
            try:
                data = channel.stream.receive_now()
            except OSError as error:
                self._lost(channel, why(error))
                return
            if data is not None:
                self._heard(channel, data)

    def _ask(
        self, channel: Channel, question: Callable[[ClientConnection], int], who: Question
    ) -> bool:
        """Ask something on a channel; False: it has just gone, and nothing was said."""
        with self.lock:
            if channel.connection.closed:
                return False
            channel.requests[question(channel.connection)] = who
            error = self._flush(channel)
        self._sent(channel, error)
        return True

    def _send(self, channel: Channel, task: BaseTask[Any]) -> bool:
        """Hand a job in on a channel; False: it has just gone, and nothing was said."""
        connection = channel.connection
        with self.lock:
            if connection.closed:
                return False
            number = connection.submit(
                task.wire_function,
                task.unique,
                task.workload,
                task.priority,
                task.background,
                task.when,
                task.reducer,
            )
            channel.requests[number] = task
            task.server = channel.address
            held = bool(self._batches) and threading.get_ident() in self._batches
            if held:
                self._held = True
                error = None
            else:
                error = self._flush(channel)
        if not held:
            self._sent(channel, error)
        elif connection.unsent_bytes >= BATCH_BYTES:
            self._let_go()
        return True

    def _flush(self, channel: Channel) -> str | None:
        try:
            channel.stream.send(channel.connection.data_to_send())
        except OSError as error:
            return why(error)
        return None

    def _sent(self, channel: Channel, error: str | None) -> None:
        if error is not None:
            self._lost(channel, error)
        elif channel.stream.backlog:
            self._push(channel)

    # ── in a batch ───────────────────────────────────────────────────────────

    def begin_batch(self) -> None:
        """From now on, gather what this thread hands in."""
        me = threading.get_ident()
        with self.lock:
            self._batches[me] = self._batches.get(me, 0) + 1

    def end_batch(self) -> None:
        """Gather no longer, and send what was gathered."""
        me = threading.get_ident()
        with self.lock:
            depth = self._batches.get(me, 0) - 1
            if depth > 0:
                self._batches[me] = depth
            else:
                self._batches.pop(me, None)
        self._let_go()

    def _let_go(self) -> None:
        """Send what batches hold back."""
        self._held = False
        for channel in list(self._channels.values()):
            # What has come meanwhile makes room at the server; and if it has hung up,
            # what was not sent yet can safely go elsewhere.
            self._hear_now(channel)
            error = None
            with self.lock:
                if not channel.connection.closed and channel.connection.unsent_bytes:
                    error = self._flush(channel)
            self._sent(channel, error)

    def _push(self, channel: Channel) -> None:
        """Wait until the network has taken everything; reading meanwhile, or both sides stand still."""
        stream = channel.stream
        while stream.backlog and not stream.closed:
            if self._leader in (0, threading.get_ident()):
                self.wait(lambda: stream.closed or not stream.backlog, None)
                continue
            try:
                if stream.wait(0.05, True):
                    with self.lock:
                        stream.flush()
            except OSError as error:
                self._lost(channel, why(error))

    # ── handing in, moving on, again ─────────────────────────────────────────

    def _hand_in(self, task: BaseTask[Any]) -> bool:
        for address in self._order(task):
            if task.was_tried_at(address):
                continue
            try:
                while not self._send(self.channel(address), task):
                    pass
            except (ServerUnavailable, ConnectTimeout) as failure:
                causes = getattr(failure, "causes", None) or {str(address): str(failure)}
                task.causes[str(address)] = "; ".join(causes.values())
                continue
            return True
        error = ServerUnavailable(f"no server took {task.function}", task.causes)
        self._carry_out(task, task.fail(error), None)
        return False

    def _order(self, task: BaseTask[Any]) -> Iterable[Address]:
        if self._lone:
            return self.servers
        key = task.unique if task.unique_given else b""
        order = self._routing.order(task.wire_function, key)
        return self.book.in_order(order, time.monotonic())

    def _carry_out(self, task: BaseTask[Any], verdict: int, event: Event | None) -> None:
        """Do what a task asks for after an event. Not under the lock."""
        if verdict == MOVE:
            if self.closed:
                task.retry = None
                verdict = task.fail(ServerUnavailable("the client was closed"))
            else:
                task.restart()
                self._hand_in(task)
                return
        if verdict == AGAIN and self.closed:
            task.retry = None
            verdict = task.fail(ServerUnavailable("the client was closed"))
        if verdict == AGAIN:
            assert task.retry is not None
            pause = task.retry.pause(task.failures, chance())
            task.restart()
            self._again_count += 1
            heappush(self._again, (time.monotonic() + pause, self._again_count, task))
            return
        if task.watchers is not None:
            for watcher in task.watchers:
                watcher.append(task)
        if task.callbacks is not None:
            self._calls.append((task, event, True))

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._again and self._again[0][0] <= now:
            self._hand_in(heappop(self._again)[2])

    # ── waiting ──────────────────────────────────────────────────────────────

    def wait(self, done: Callable[[], object], deadline: float | None) -> bool:
        """Wait until ``done()``, which must be cheap and take no locks.

        Args:
            deadline: of ``time.monotonic()``; None: for ever.

        Returns:
            False: the deadline came first.
        """
        me = threading.get_ident()
        while not done():
            if self._held:
                self._let_go()
            follower = None
            before = -1
            # From the very moment that we lead we must be sure to resign: a signal
            # handler may raise between any two steps.
            try:
                with self.lock:
                    before = self._leader
                    if before in (0, me):
                        self._leader = me
                    elif done():
                        return True
                    else:
                        gate = threading.Lock()
                        gate.acquire()
                        follower = (done, gate)
                        self._followers.append(follower)
                if follower is None:
                    while not done():
                        if not self._step(deadline):
                            return bool(done())
                    return True
            finally:
                if before == 0 and self._leader == me:
                    self._resign()
            if not self._follow(follower, deadline):
                return bool(done())
        return True

    def _follow(self, follower: tuple[Callable[[], object], Any], deadline: float | None) -> bool:
        """Wait to be woken; False: the deadline came first."""
        end = deadline
        if self._again and (end is None or self._again[0][0] < end):
            end = self._again[0][0]
        timeout = -1.0 if end is None else max(0.0, end - time.monotonic())
        if follower[1].acquire(timeout=timeout):
            return True
        with self.lock:
            # Woken in this very moment? Then we may be the one who is to lead.
            if follower in self._followers:
                self._followers.remove(follower)
            elif not self._leader:
                return True
        self._run_due()
        return deadline is None or time.monotonic() < deadline

    def _resign(self) -> None:
        with self.lock:
            self._leader = 0
            if self._followers:
                self._followers.pop(0)[1].release()

    def _step(self, deadline: float | None) -> bool:
        """Wait once for anything, and deal with it; False: the deadline came first."""
        take_signals()
        self._run_calls()
        end = deadline
        if self._again:
            self._run_due()
            if self._again and (end is None or self._again[0][0] < end):
                end = self._again[0][0]
        only = self._only
        if only is not None:
            try:
                data = only.stream.hear(end)
            except (OSError, ValueError) as error:
                self._lost(only, why(error))
            else:
                if data is None:
                    return deadline is None or time.monotonic() < deadline
                self._heard(only, data)
        else:
            # First the waker, then the look: who connects meanwhile sees the one, or is
            # seen by the other.
            self._open_waker()
            channels = list(self._channels.values())
            if not channels and end is None:
                # Nothing can arrive: whatever is waited for has been dealt with just
                # now by another thread, or never will be.
                return self._nothing_left()
            if not self._wait_for_some(channels, end):
                return deadline is None or time.monotonic() < deadline
        self._run_calls()
        return True

    def _nothing_left(self) -> bool:
        if self.closed:
            raise ServerUnavailable("the client is closed")
        time.sleep(0.001)
        return True

    def _wait_for_some(self, channels: Iterable[Channel], end: float | None) -> bool:
        ready: dict[int, Channel] = {}
        heard = False
        poll = select.poll()
        for channel in channels:
            stream = channel.stream
            if isinstance(stream, TlsStream):
                heard = self._read(channel) or heard
            number = stream.fileno()
            if number >= 0:
                poll.register(
                    number, select.POLLIN | select.POLLOUT if stream.backlog else select.POLLIN
                )
                ready[number] = channel
        if heard:
            return True
        waker = self._open_waker()
        poll.register(waker, select.POLLIN)
        seconds = NAP_SECONDS if end is None else min(NAP_SECONDS, end - time.monotonic())
        found = poll.poll(max(0.0, seconds) * 1000)
        for number, what in found:
            if number == waker.fileno():
                waker.recv(1024)
                continue
            channel = ready[number]
            if what & select.POLLOUT:
                try:
                    with self.lock:
                        channel.stream.flush()
                except OSError as error:
                    self._lost(channel, why(error))
                    continue
            if what & ~select.POLLOUT:
                self._read(channel)
        return bool(found)

    def _hear_now(self, channel: Channel) -> None:
        """Take what has arrived, unless another thread sees to that."""
        me = threading.get_ident()
        before = -1
        try:
            with self.lock:
                before = self._leader
                if before == 0:
                    self._leader = me
            if before in (0, me):
                self._read(channel)
        finally:
            if before == 0 and self._leader == me:
                self._resign()

    def _read(self, channel: Channel) -> bool:
        try:
            data = channel.stream.receive_now()
        except (OSError, ValueError) as error:
            self._lost(channel, why(error))
            return True
        if data is None:
            return False
        self._heard(channel, data)
        return True

    # ── who is told ──────────────────────────────────────────────────────────

    def watch(self, task: BaseTask[Any], news: Any) -> None:
        """Have the task appended to ``news`` whenever something happens to it; now, if it is over."""
        with self.lock:
            if not task.done():
                if task.watchers is None:
                    task.watchers = []
                task.watchers.append(news)
                return
        news.append(task)

    def unwatch(self, task: BaseTask[Any], news: Any) -> None:
        """No longer."""
        with self.lock:
            if task.watchers is not None:
                task.watchers = [one for one in task.watchers if one is not news] or None

    # ── hearing ──────────────────────────────────────────────────────────────

    def _heard(self, channel: Channel, data: bytes) -> None:
        if not data:
            self._lost(channel, "the server closed the connection")
            return
        with self.lock:
            try:
                events = channel.connection.receive_data(data)
                broken = None
            except ProtocolError as error:
                events = []
                broken = error
            later = self._apply(channel, events)
            self._wake_the_served()
        self._carry_out_all(later)
        if broken is not None:
            self._lost(channel, str(broken))

    def _lost(self, channel: Channel, cause: str) -> None:
        """A connection has gone: close it, and tell everybody who waits on it."""
        with self.lock:
            if channel.connection.closed:
                return
            if self._channels.get(channel.address) is channel:
                del self._channels[channel.address]
                self._only = None
            events = channel.connection.receive_eof(cause)
            waiting = bool(events)
            channel.stream.close()
            later = self._apply(channel, events)
            self._wake_the_served()
        if waiting and not self.closed:
            log().info("connection to %s lost: %s", channel.address, cause)
        for task, verdict, _ in later:
            if verdict == MOVE:
                # Once more at the same server is fair: it may only have
                # restarted. Twice is not.
                name = str(channel.address)
                mark = f"{name} (first)"
                task.causes[name if mark in task.causes else mark] = cause
        self._carry_out_all(later)

    def _carry_out_all(self, later: list[tuple[BaseTask[Any], int, Event]]) -> None:
        if later:
            for task, verdict, event in later:
                self._carry_out(task, verdict, event)
            with self.lock:
                self._wake_the_served()

    def _apply(
        self, channel: Channel, events: list[Event]
    ) -> list[tuple[BaseTask[Any], int, Event]]:
        """Give events to whom they are for; return what is to be done without the lock."""
        requests = channel.requests
        later: list[tuple[BaseTask[Any], int, Event]] = []
        for event in events:
            if not isinstance(event, Numbered):  # a complaint about nothing of ours
                continue
            number = event.request
            who = requests.get(number)
            if who is None:
                continue
            if isinstance(who, Question):
                who.answer = event
                del requests[number]
                continue
            verdict = who.apply(event)
            if verdict <= OVER:
                if who.watchers is not None:
                    for watcher in who.watchers:
                        watcher.append(who)
                if who.callbacks is not None:
                    self._calls.append((who, event, verdict == OVER))
            else:
                later.append((who, verdict, event))
            if verdict != GO_ON:
                del requests[number]
        return later

    def _wake_the_served(self) -> None:
        if self._followers:
            waiting = []
            for follower in self._followers:
                if follower[0]():
                    follower[1].release()
                else:
                    waiting.append(follower)
            self._followers = waiting

    def _run_calls(self) -> None:
        while self._calls:
            task, event, over = self._calls.popleft()
            try:
                task.tell(event, over)
            except Exception:
                # It may be another thread's task: raising here would hit the
                # wrong one.
                log().exception("a callback of %r failed", task)

        while self._other_calls:
            fn, task = self._other_calls.popleft()
            try:
                fn(task)
            except Exception:
                log().exception("a callback of %r failed", task)

    def call_later(self, fn: Callable[[Any], object], task: BaseTask[Any]) -> None:
        """Have the leading thread call ``fn(task)``, without the lock."""
        self._other_calls.append((fn, task))

    # ── from thread to thread, from process to process ───────────────────────

    def _open_waker(self) -> socket.socket:
        if self._waker is None:
            self._waker = socket.socketpair()
            for end in self._waker:
                end.setblocking(False)
        return self._waker[0]

    def _wake_leader(self) -> None:
        if self._waker is not None and self._leader:
            try:
                self._waker[1].send(b"w")
            except BlockingIOError:
                return  # it is full of wakings

    def close(self) -> None:
        """Hang up everywhere. Queued foreground jobs are dropped by their servers."""
        if self._held:
            self._let_go()
        self.closed = True
        for channel in list(self._channels.values()):
            self._lost(channel, "the client was closed")
        while self._again:
            task = heappop(self._again)[2]
            task.retry = None
            self._carry_out(task, task.fail(ServerUnavailable("the client was closed")), None)
        with self.lock:
            self._wake_the_served()
        self._wake_leader()
        self._run_calls()
        if self._waker is not None and not self._leader:
            for end in self._waker:
                end.close()
            self._waker = None

    def after_fork(self) -> None:
        """In the child: leave the sockets to the parent, and begin anew on first use."""
        if self._waker is not None:
            for end in self._waker:
                end.close()
        self._new_threading()
        self._calls.clear()
        self._again.clear()
        channels = list(self._channels.values())
        self._channels.clear()
        self._only = None
        for channel in channels:
            channel.stream.abandon()
            for event in channel.connection.receive_eof("this process is a fork"):
                assert isinstance(event, Lost)
                who = channel.requests.get(event.request)
                if isinstance(who, Question):
                    who.answer = event
                elif who is not None:
                    who.retry = None
                    who.fail(_not_ours(who))


def _not_ours(task: BaseTask[Any]) -> GearmanError:
    return ServerUnavailable(
        f"{task.function} was submitted by the process that we were forked from"
    )
