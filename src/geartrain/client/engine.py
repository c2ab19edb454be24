"""What a ``Client`` hands its tasks to: servers are chosen, answers find their task, failures another try.

The layers: ``leading`` (which thread waits), ``hearing`` (connections, and reading from
them), ``sending``. Here is what they are for: a task goes to the best server that takes it;
each event goes to the task that asked, whose verdict says whether it is over, goes on, moves
to another server, or comes again after a pause. Verdicts are given under the lock and carried
out without it, for carrying out may connect, and call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from geartrain._native import mypyc_attr
from geartrain.client.channel import Channel, Question
from geartrain.client.events import Event, Lost, Numbered
from geartrain.client.routing import Routing
from geartrain.client.seldom import chance, log
from geartrain.client.sending import Sending
from geartrain.client.task import AGAIN, GO_ON, MOVE, OVER, BaseTask
from geartrain.errors import ConnectTimeout, GearmanError, ProtocolError, ServerUnavailable
from geartrain.transport.address import Address

if TYPE_CHECKING:
    import ssl


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine(Sending):
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
        super().__init__(servers, connect_timeout, tls, exceptions)
        self._routing = routing
        self._again_count = 0

    # ── handing in, moving on, again ─────────────────────────────────────────

    def submit(self, task: BaseTask[Any]) -> None:
        """Hand a job in at the best server that takes it.

        Raises:
            ServerUnavailable: none does (and the task has no attempt left).
        """
        if not self._hand_in(task) and task.done() and task.error is not None:
            raise task.error

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
            self._calls.tell(task, event, True)

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._again and self._again[0][0] <= now:
            self._hand_in(heappop(self._again)[2])

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

    def call_later(self, fn: Callable[[Any], object], task: BaseTask[Any]) -> None:
        """Have the leading thread call ``fn(task)``, without the lock."""
        self._calls.call(fn, task)

    # ── what has come ────────────────────────────────────────────────────────

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
                    self._calls.tell(who, event, verdict == OVER)
            else:
                later.append((who, verdict, event))
            if verdict != GO_ON:
                del requests[number]
        return later

    # ── the end, and from process to process ─────────────────────────────────

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
        self._calls.run()
        if not self._leader:
            self._close_waker()

    def after_fork(self) -> None:
        """In the child: leave the sockets to the parent, and begin anew on first use."""
        self._close_waker()
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
