"""Questions to servers whose answers are JSON, an object a line; read as they come, however many."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote_from_bytes

from geartrain.cli.gearman_options import server_names
from geartrain.cli.options import Parsed, seconds
from geartrain.errors import GearmanError
from geartrain.transport.address import Address, parse_servers
from geartrain.transport.sync import connect
from geartrain.transport.tls import client_context

#: Longest line a server reads.
LINE_BYTES: Final = 8000

Found = dict[str, Any]


class Refused(GearmanError):
    """The server has understood and says no; the text is its own."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class Asker:
    """Asks the servers that a command line names."""

    def __init__(self, parsed: Parsed, silence: float) -> None:
        """
        Args:
            silence: seconds without a word after which a server is given up, unless the
                command line says how many.

        Raises:
            ConfigurationError: a server's name makes no sense.
        """
        given = "host" in parsed or "port" in parsed
        names = server_names(parsed, {} if given else os.environ)
        self.addresses = parse_servers(names, environ={})
        self._timeout = seconds(parsed, "timeout", silence) or None
        self._ssl = "ssl" in parsed

    def every(self, address: Address, *words: str) -> Iterator[Found]:
        """The objects of a list, as they come.

        Raises:
            GearmanError: the server says no, or is not to be had.
        """
        for line in self._lines(address, words):
            if line == b".":
                return
            found = _read(line)
            if "error" in found and len(found) == 1:
                raise Refused(found["error"])
            yield found

    def one(self, address: Address, *words: str) -> Found:
        """The one object that is the answer.

        Raises:
            GearmanError: the server says no, or is not to be had.
        """
        for line in self._lines(address, words):
            return _read(line)
        raise Refused("no answer")

    def plain(self, address: Address, *words: str) -> None:
        """Have something done that is answered with OK.

        Raises:
            GearmanError: the server says no, or is not to be had.
        """
        for line in self._lines(address, words):
            if line != b"OK":
                raise Refused(f"the server's answer makes no sense: {line[:80]!r}")
            return

    def _lines(self, address: Address, words: Sequence[str]) -> Iterator[bytes]:
        """Lines of the server's answer, without their ends, until nobody wants more."""
        stream = connect(address, self._timeout, client_context(self._ssl, os.environ))
        try:
            said = " ".join(words).encode("utf-8", "surrogateescape")
            stream.send([said + b"\n"])
            # What has come of a line that is not whole yet: a line may be very long.
            parts: list[bytes] = []
            while True:
                deadline = None if self._timeout is None else time.monotonic() + self._timeout
                data = stream.receive(deadline)
                if not data:
                    raise Refused(f"{address} closed the connection")
                *whole, rest = data.split(b"\n")
                for line in whole:
                    parts.append(line)
                    text = b"".join(parts).removesuffix(b"\r")
                    parts.clear()
                    if text.startswith(b"ERR "):
                        raise _refusal(text[4:].decode("utf-8", "replace"), words[0])
                    yield text
                parts.append(rest)
        except TimeoutError:
            raise Refused(f"{address} did not answer within {self._timeout:g} s") from None
        except OSError as error:
            raise Refused(f"{address}: {error.strerror or error}") from error
        finally:
            stream.close()


def _read(line: bytes) -> Found:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(f"the server's answer makes no sense: {line[:80]!r}")
    return found


def _refusal(text: str, command: str) -> Refused:
    if text.startswith("UNKNOWN_COMMAND"):
        return Refused(f"UNKNOWN_COMMAND the server has no {command!r}: it is not geartrain's")
    return Refused(text)


def word(text: str) -> str:
    """A text as a word of the protocol: what a word cannot hold becomes ``%XX``."""
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="/:;,.@!$&()*+=~")


def in_lines(start: str, words: Sequence[str]) -> Iterator[list[str]]:
    """Many words as lines that are not too long, each beginning with ``start``."""
    line: list[str] = []
    size = len(start)
    for each in words:
        if line and size + len(each) + 1 > LINE_BYTES:
            yield line
            line, size = [], len(start)
        line.append(each)
        size += len(each) + 1
    if line:
        yield line
