"""A question that is put to servers one after another: what each said, and what to say if none did.

Pure: who asks, and how it is waited for, is the client's. A server that cannot be reached is
passed over; only if no server has answered at all is anything raised, and then the last
refusal goes before a list of who could not be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from geartrain.client.events import Event, Lost, Refused
from geartrain.client.task import server_error
from geartrain.errors import ConnectTimeout, GearmanError, GearmanTimeout, ServerUnavailable
from geartrain.transport.address import Address

T = TypeVar("T")


class Survey(Generic[T]):
    """What has come of one question so far.

    Args:
        kind: of answer.
        limit: so many are enough; 0: all.
    """

    def __init__(self, kind: type[T], limit: int) -> None:
        self._kind = kind
        self._limit = limit
        self._answers = 0
        self._causes: dict[str, str] = {}
        self._refusal: GearmanError | None = None

    @property
    def complete(self) -> bool:
        """Enough have answered."""
        return self._answers == self._limit

    def failed(self, address: Address, error: GearmanError) -> None:
        """This server cannot be reached, or says nothing."""
        self._causes[str(address)] = str(error)
        if isinstance(error, GearmanTimeout) and not isinstance(error, ConnectTimeout):
            self._refusal = error

    def heard(self, address: Address, answer: Event | None) -> T | None:
        """What this server said; None if it is no answer."""
        if isinstance(answer, self._kind):
            self._answers += 1
            return answer
        if isinstance(answer, Refused):
            self._refusal = server_error(answer.code, answer.text)
        else:
            cause = answer.cause if isinstance(answer, Lost) else ""
            self._causes[str(address)] = cause or "no answer"
        return None

    def check(self) -> None:
        """All were asked.

        Raises:
            ServerError, SubmitTimeout: what the last one said that was no answer.
            ServerUnavailable: none could be asked.
        """
        if not self._answers:
            raise self._refusal or ServerUnavailable("no server could be asked", self._causes)


def has_worker(lines: Sequence[str], name: str) -> bool:
    """Whether these lines of ``status`` tell of a worker for this function."""
    for line in lines:
        fields = line.rsplit("\t", 3)
        if fields[0] == name and fields[-1].isdigit() and int(fields[-1]):
            return True
    return False
