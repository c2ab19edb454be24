"""Questions from server to server: what only the holder of a job knows, or may do.

Where several servers share a store, a job that one of them holds is a row to the
others. How far it is, why it waits, who waits for it, is in the memory of its holder;
and only there can it be cancelled. So the question goes there, through the store, and
the answer comes back; or nothing does, if the holder is away, and then the row is all
that can be told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from geartrain.stores.ids import id_of
from geartrain.stores.port import JobId, QueueStore, StoreDown

#: What may be asked of a job.
STATUS: Final = b"status"
CANCEL: Final = b"cancel"
WHY: Final = b"why"


class HeldElsewhere(StoreDown):
    """Only the server that holds this job can do that."""


class Letters:
    """Asks, and has answered what others ask.

    Args:
        store: open, when the first question comes.
    """

    def __init__(self, store: QueueStore) -> None:
        self._store = store
        self._verbs: dict[bytes, Callable[[JobId], Awaitable[bytes]]] = {}
        store.on_asked(self._answer)

    def learn(self, verbs: Mapping[bytes, Callable[[JobId], Awaitable[bytes]]]) -> None:
        """Somebody answers these."""
        self._verbs.update(verbs)

    async def ask(self, verb: bytes, id: JobId) -> bytes:
        """What the holder of this job says; empty if it says nothing."""
        return await self._store.ask(id, b"%b %016x" % (verb, id)) or b""

    async def _answer(self, question: bytes) -> bytes:
        verb, _, number = question.partition(b" ")
        id = id_of(b":" + number)
        if id is None or verb not in self._verbs:
            return b""  # a newer server asks more than this one knows
        return await self._verbs[verb](id)
