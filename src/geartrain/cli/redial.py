"""Dialling again, in a thread, until a server answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from geartrain.errors import GearmanError
from geartrain.transport.address import Address
from geartrain.transport.sync import Stream, connect

if TYPE_CHECKING:
    import ssl

#: Seconds between two rounds over the servers, at first and at most.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 3.0


class Redial:
    """Tries the servers in turn; ``fileno`` becomes readable when one has answered.

    Args:
        addresses: the servers, in order.
        timeout: seconds for each.
        tls: speak TLS.
        until: instant at which the caller gives up; this goes on regardless.
        quiet: success is nothing to talk about.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        timeout: float,
        tls: ssl.SSLContext | None,
        until: float | None,
        quiet: bool = False,
    ) -> None:
        self.until = until
        self.quiet = quiet
        self.last_fault = "no server has answered"
        self._addresses = addresses
        self._timeout = timeout
        self._tls = tls
        self._answered: tuple[Stream, str] | None = None
        self._reading, self._writing = os.pipe()
        threading.Thread(target=self._dial, name="redial", daemon=True).start()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._reading

    def result(self) -> tuple[Stream, str]:
        """The connection and the server's name; call it once, when ``fileno`` is readable."""
        os.close(self._reading)
        assert self._answered is not None
        return self._answered

    def _dial(self) -> None:
        never = threading.Event()
        pause = FIRST_PAUSE
        while self._answered is None:
            for where in self._addresses:
                try:
                    self._answered = connect(where, self._timeout, self._tls), str(where)
                    break
                except GearmanError as error:
                    self.last_fault = str(error)
            else:
                never.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        os.close(self._writing)
