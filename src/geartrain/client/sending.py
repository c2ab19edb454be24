"""What leaves: requests, at once or gathered in a batch, and the rest that the network did not take.

A request is written down in the pure connection and sent under one hold of the lock, so that
the requests of several threads leave in the order in which their answers come. Between
``begin_batch`` and ``end_batch`` what a thread hands in is gathered, and leaves when there is
enough of it, or before anybody waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from geartrain._native import mypyc_attr
from geartrain.client.channel import Channel, Question
from geartrain.client.connection import ClientConnection
from geartrain.client.hearing import Hearing
from geartrain.client.seldom import why
from geartrain.client.task import BaseTask
from geartrain.transport.address import Address

#: What a batch has gathered leaves when there is so much of it: a few system calls
#: for a thousand jobs, and the server begins before the last of them is made.
BATCH_BYTES: Final = 16 * 1024


@mypyc_attr(allow_interpreted_subclasses=True)
class Sending(Hearing):
    """Says things to servers."""

    def _new_threading(self) -> None:
        super()._new_threading()
        # Threads that are in a batch, and how deep.
        self._batches: dict[int, int] = {}

    def ask(self, address: Address, question: Callable[[ClientConnection], int]) -> Question:
        """Ask one server something that is no job; ``wait`` for it to be ``done``.

        Raises:
            ServerUnavailable, ConnectTimeout: it cannot be reached.
        """
        who = Question()
        while not self._ask(self.channel(address), question, who):
            pass
        return who

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
