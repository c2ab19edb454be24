"""Leader and follower: how the threads of a program wait for one set of connections.

There is no thread of our own. The thread that waits first leads: it reads for all, and wakes
those whose answer has come. When it has what it wanted it resigns, and one of the others
leads. So one thread alone pays for no hand-over at all, and no thread is lost in a fork.

Rules: ``lock`` guards the connections and the tasks and is never held while waiting. Sending
never waits, so it may be done under the lock. Callbacks run in the leading thread, without
the lock; a callback that waits leads on by itself.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from geartrain._native import mypyc_attr
from geartrain.client.due_calls import DueCalls
from geartrain.client.task import BaseTask


@mypyc_attr(allow_interpreted_subclasses=True)
class Leading:
    """The threads that wait. What they wait for is up to who derives from this."""

    def __init__(self) -> None:
        self._calls = DueCalls()
        # What is to be handed in once more, and when: (time, count, task).
        self._again: list[tuple[float, int, BaseTask[Any]]] = []
        self._new_threading()

    def _new_threading(self) -> None:
        """As in a process without threads: at the start, and in a fork."""
        # Something is held back that has to leave before anybody waits.
        self._held = False
        self.lock = threading.Lock()
        # The thread that waits for all others, by its ``get_ident()``; 0: none.
        self._leader = 0
        self._followers: list[tuple[Callable[[], object], Any]] = []
        self._waker: tuple[socket.socket, socket.socket] | None = None

    # ── what the leader does ─────────────────────────────────────────────────

    def _step(self, deadline: float | None) -> bool:
        """Wait once for anything, and deal with it; False: the deadline came first."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Send what is held back."""
        raise NotImplementedError

    def _run_due(self) -> None:
        """Hand in what is to be handed in again by now."""
        raise NotImplementedError

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

    def _wake_the_served(self) -> None:
        if self._followers:
            waiting = []
            for follower in self._followers:
                if follower[0]():
                    follower[1].release()
                else:
                    waiting.append(follower)
            self._followers = waiting

    # ── waking the leader ────────────────────────────────────────────────────

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

    def _close_waker(self) -> None:
        if self._waker is not None:
            for end in self._waker:
                end.close()
            self._waker = None
