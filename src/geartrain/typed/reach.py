"""Reach: how the functions of an app are reached from here, through servers or inline.

Clients are made on first use: one for all threads, and one for each event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geartrain.client.options import Seconds, seconds_of
from geartrain.client.sync import Client
from geartrain.transport.address import Servers
from geartrain.transport.tls import TLSLike

if TYPE_CHECKING:
    from geartrain.client.aio import AsyncClient
    from geartrain.typed.aio import AsyncClients


class Reach:
    """The clients of one app.

    Args:
        servers, namespace, timeout, tls: as for ``Client``.
    """

    def __init__(
        self, servers: Servers, namespace: str, timeout: Seconds | None, tls: TLSLike
    ) -> None:
        self.servers = servers
        self.tls = tls
        self._settings: dict[str, Any] = {
            "namespace": namespace,
            "timeout": seconds_of(timeout),
            "tls": tls,
        }
        self._client: Client | None = None
        self._aio: AsyncClients | None = None
        self._inline_aio: AsyncClient | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Client:
        """For all threads."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = Client(self.servers, **self._settings)
        return client

    @property
    def aio_client(self) -> AsyncClient:
        """Of the running event loop."""
        if self._inline_aio is not None:
            return self._inline_aio
        if self._aio is None:
            from geartrain.typed.aio import AsyncClients

            self._aio = AsyncClients()
        return self._aio.get(self.servers, **self._settings)

    @contextmanager
    def instead(self, client: Client, aio_client: AsyncClient) -> Iterator[None]:
        """In this block, ask these."""
        before = self._client, self._inline_aio
        self._client, self._inline_aio = client, aio_client
        try:
            yield
        finally:
            self._client, self._inline_aio = before

    def close(self) -> None:
        """Hang up; a later call connects anew."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Hang up what the running event loop has opened."""
        if self._aio is not None:
            await self._aio.close()
