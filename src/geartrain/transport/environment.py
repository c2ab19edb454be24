"""The process's environment, for what users leave out."""

from __future__ import annotations

import os

from geartrain.transport.address import Address, Servers, parse_servers


def find_servers(servers: Servers = None, default_port: int | None = None) -> tuple[Address, ...]:
    """``parse_servers`` with this process's environment.

    Raises:
        ConfigurationError: an address cannot be read, or there is none.
    """
    return parse_servers(servers, os.environ, default_port)
