"""Answers that come in pieces: lists that are written as they are read, and questions to the house.

A list of any length never lies in memory: its next piece is made when the last one has
gone out. Until it is over, nothing else is read from this connection.
"""

from __future__ import annotations

from typing import Any

from geartrain.frontends import admin
from geartrain.frontends.port import House, Question
from geartrain.frontends.voice import Voice


class Pages(Voice):
    """A peer whose longer answers are under way.

    Args:
        number, touched: as for ``Outbox``.
        house: the server around it.

    Attributes:
        held_back: packets wait in the reader until ``resume``.
    """

    def __init__(self, number: int, house: House, touched: list[Any]) -> None:
        super().__init__(number, touched, house.bounds.pause_output_bytes)
        self.house = house
        self.held_back = False
        self._listing: admin.Listing | None = None
        #: A paged question whose answer is not over, and whether its next piece is wanted.
        self._asked: Question | None = None
        self._wants_more = False

    def forget_all(self) -> None:
        """Nobody is there to hear it."""
        super().forget_all()
        self._listing = None
        self._asked = None

    def go_on(self) -> bool:
        """Write on at what is under way; False when the rest has to wait."""
        if self._listing is not None and not self.go_on_listing():
            return False
        return self._asked is None or self.go_on_asking()

    def list_out(self, listing: admin.Listing) -> None:
        """Begin a list."""
        self._listing = listing
        self.go_on_listing()

    def inquire(self, question: Question) -> None:
        """Leave room for an answer that the house brings, now or later."""
        question.peer = self
        if question.paged:
            self._asked = question
            self._wants_more = True
            return
        question.ticket = self.promise()
        self.house.ask(question)

    def answered(self, ticket: int, data: bytes, more: bool) -> None:
        """The answer of the house, or a piece of it."""
        asked = self._asked
        if asked is not None and asked.ticket == ticket:
            self._wants_more = more
            if not more:
                self._asked = None
        self.fill(ticket, data)

    def go_on_asking(self) -> bool:
        """Ask for the next piece of an answer; False when all else has to wait for it."""
        while True:
            asked = self._asked
            if asked is None:
                return True
            if not self._wants_more or self.out_bytes > self._pause_at:
                self.held_back = True
                return False
            self._wants_more = False
            asked.ticket = self.promise()
            self.house.ask(asked)

    def go_on_listing(self) -> bool:
        """Write on at a list; False when the rest has to wait for the peer to read."""
        listing = self._listing
        assert listing is not None
        while not listing.done:
            if self.out_bytes > self._pause_at:
                self.held_back = True
                return False
            piece = listing.piece()
            if piece:
                self.say(piece)
        self._listing = None
        return True
