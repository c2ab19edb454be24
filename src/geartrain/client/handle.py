"""Handle: a job's name, and the server that gave it.

A handle means nothing away from its server (protocol reference, 10), so ours
remembers. It is the plain text all the same: print it, compare it, store it.
"""

from __future__ import annotations

from geartrain.transport.address import Address, parse_address


class Handle(str):
    """The server's name for a job, such as ``H:host:1``.

    Attributes:
        server: where the job is; None: unknown, so every server is asked.
    """

    __slots__ = ("server",)
    server: Address | None

    def __new__(cls, handle: str, server: Address | None = None) -> Handle:
        self = super().__new__(cls, handle)
        self.server = server
        return self

    @property
    def uri(self) -> str:
        """Handle and server in one text, to be stored; ``from_uri`` reads it."""
        return f"{self.server}#{self}" if self.server is not None else str(self)

    @classmethod
    def from_uri(cls, uri: str) -> Handle:
        """Read what ``uri`` gave; a plain handle is one without a server.

        Raises:
            ConfigurationError: the server's address cannot be read.
        """
        server, mark, handle = uri.partition("#")
        return cls(handle, parse_address(server)) if mark else cls(uri)

    def __getnewargs__(self) -> tuple[str, Address | None]:  # type: ignore[override]
        return str(self), self.server
