"""An asyncio stream that hands its bytes to a listener, with back-pressure for senders.

A ``Protocol`` and no ``StreamReader``: the connections of ours take bytes as they
come, and a reader in between would copy them and wake a task for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from geartrain.errors import ConnectTimeout, ServerUnavailable
from geartrain.transport.address import Address
from geartrain.transport.sync import tune

if TYPE_CHECKING:
    import ssl

#: Senders wait while more than this is still to go out.
HIGH_WATER_BYTES = 1024 * 1024


class AsyncStream(asyncio.Protocol):
    """A connected transport.

    Args:
        on_data: called with each piece that arrives.
        on_lost: called once, when the connection has gone; with the cause, or
            None where the other side closed.
    """

    def __init__(
        self, on_data: Callable[[bytes], None], on_lost: Callable[[BaseException | None], None]
    ) -> None:
        self._on_data = on_data
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._gone: asyncio.Event = asyncio.Event()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            tune(sock)

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._room.set()
        self._gone.set()
        self._on_lost(exc)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send, without waiting; see ``drain``."""
        transport = self._transport
        if transport is None or self.closed:
            return
        if len(pieces) == 1:
            transport.write(pieces[0])
        else:
            transport.writelines(pieces)

    @property
    def full(self) -> bool:
        """More is waiting to go out than is good: ``drain`` before sending on."""
        return not self._room.is_set()

    async def drain(self) -> None:
        """Wait until there is room again, or the connection has gone."""
        await self._room.wait()

    def close(self) -> None:
        """Send what is waiting, then hang up."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection has gone."""
        await self._gone.wait()


async def connect(
    address: Address,
    on_data: Callable[[bytes], None],
    on_lost: Callable[[BaseException | None], None],
    timeout: float | None = 4.0,  # noqa: ASYNC109
    tls: ssl.SSLContext | None = None,
) -> AsyncStream:
    """Open a stream to a server; arguments and errors as in ``transport.sync.connect``."""
    loop = asyncio.get_running_loop()
    if tls is None and address.tls:
        from geartrain.transport.tls import client_context

        tls = client_context(True)
    server_hostname = address.host if tls is not None else None
    try:
        async with asyncio.timeout(timeout):
            if address.path:
                _, stream = await loop.create_unix_connection(
                    lambda: AsyncStream(on_data, on_lost),
                    address.path,
                    ssl=tls,
                    server_hostname=server_hostname,
                )
            else:
                _, stream = await loop.create_connection(
                    lambda: AsyncStream(on_data, on_lost),
                    address.host,
                    address.port,
                    ssl=tls,
                    server_hostname=server_hostname,
                )
    except TimeoutError as error:
        raise ConnectTimeout(f"{address} did not answer within {timeout} seconds") from error
    except OSError as error:
        from geartrain.transport.tls import no_handshake

        why = no_handshake(error)
        raise ServerUnavailable("cannot connect", {str(address): why}) from error
    return stream
