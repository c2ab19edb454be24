"""What servers tell each other, over LISTEN and NOTIFY: which pools got rows, and letters.

A NOTIFY takes, when it commits, a lock that the whole cluster shares. So it is
never part of a commit of jobs, and comes at most every 20 ms, for all that is to be
said. News are hints: what is lost is found by asking. A letter is a question to the
holder of a job, or the answer to one; one that is lost is not answered in time.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

import psycopg

from geartrain.stores import postgres_sql as sql
from geartrain.stores.port import StoreError
from geartrain.stores.postgres_columns import texts
from geartrain.stores.postgres_link import Link

log = logging.getLogger("geartrain.stores.postgres")

#: Seconds between two NOTIFYs.
PAUSE: Final = 0.02
#: Seconds until a lost connection is tried again.
RETRY: Final = 1.0
#: Bytes of a question or an answer: a NOTIFY says 8,000 at most.
MAX_LETTER: Final = 5000

_NEWS: Final = "gt_news"
_LETTERS: Final = "gt_letters"

#: A queue as the tables name it: (function's number, priority).
Place = tuple[int, int]


class News:
    """Tells the others, and hears from them."""

    def __init__(
        self,
        side: Link,
        ear: Link,
        me: Callable[[], int],
        hear: Callable[[Place], Awaitable[None]],
        asked: Callable[[bytes], Awaitable[bytes | None]],
    ) -> None:
        """
        Args:
            side: a connection that commits no jobs.
            ear: one of its own.
            me: my lease; I do not hear myself.
            hear: called for each queue that another server names.
            asked: answers a question, or does not.
        """
        self._side = side
        self._ear = ear
        self._me = me
        self._hear = hear
        self._asked = asked
        self._untold: set[Place] = set()
        self._unsent: list[str] = []
        #: Questions that wait for an answer, by their number.
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._asks = 0
        self._answering: set[asyncio.Task[None]] = set()
        self._herald: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Begin to hear."""
        self._listener = asyncio.create_task(self._listen(), name="geartrain-store-news")

    # ── saying ───────────────────────────────────────────────────────────────

    def tell(self, places: Iterable[Place]) -> None:
        """Let the others know by and by."""
        self._untold.update(places)
        self._send()

    async def ask(self, holder: int, question: bytes, within: float) -> bytes | None:
        """Ask the server that has this lease; None if it does not answer in time."""
        self._asks += 1
        number = self._asks
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        self._unsent.append(_letter("ask", holder, self._me(), number, question))
        self._send()
        try:
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._open[number]

    def _send(self) -> None:
        if (self._untold or self._unsent) and (self._herald is None or self._herald.done()):
            self._herald = asyncio.create_task(self._announce(), name="geartrain-store-herald")

    async def _announce(self) -> None:
        while self._untold or self._unsent:
            await self.flush()
            await asyncio.sleep(PAUSE)

    async def flush(self) -> None:
        """Let them know now."""
        untold, self._untold = self._untold, set()
        said, self._unsent = self._unsent, []
        channels = [_LETTERS] * len(said) + [_NEWS] * len(untold)
        said += [f"{self._me()} {number} {priority}" for number, priority in untold]
        if said:
            values = {"channels": texts(channels), "said": texts(said)}
            with suppress(StoreError):
                await self._side.run(sql.NOTIFY, values, writes=False)

    # ── hearing ──────────────────────────────────────────────────────────────

    async def _listen(self) -> None:
        while True:
            with suppress(StoreError, psycopg.Error):
                db = await self._ear.connect()
                for channel in (_NEWS, _LETTERS):
                    await db.execute(f"LISTEN {channel}".encode())
                async for notice in db.notifies():
                    try:
                        await self._heard(notice)
                    except ValueError:
                        log.warning("not a notice of ours on %s: %r", *notice[:2])
            await self._ear.drop()
            await asyncio.sleep(RETRY)

    async def _heard(self, notice: psycopg.Notify) -> None:
        if notice.channel == _LETTERS:
            self._receive(notice.payload)
            return
        lease, number, priority = map(int, notice.payload.split())
        if lease != self._me():
            await self._hear((number, priority))

    def _receive(self, letter: str) -> None:
        kind, to, sender, number, text = letter.split(" ")
        if int(to) != self._me():
            return
        data = b64decode(text)
        if kind == "ask":
            task = asyncio.create_task(self._answer(int(sender), int(number), data))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (answer := self._open.get(int(number))) is not None and not answer.done():
            answer.set_result(data)

    async def _answer(self, asker: int, number: int, question: bytes) -> None:
        try:
            answer = await self._asked(question)
        except Exception:
            log.exception("a question of another server could not be answered")
            return
        if answer is not None and len(answer) <= MAX_LETTER:
            self._unsent.append(_letter("answer", asker, self._me(), number, answer))
            self._send()

    async def close(self) -> None:
        """Say and hear no more."""
        for task in (self._listener, *self._answering, self._herald):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._ear.close()


def _letter(kind: str, to: int, sender: int, number: int, data: bytes) -> str:
    return f"{kind} {to} {sender} {number} {b64encode(data).decode()}"
