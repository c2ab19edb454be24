"""Constants, and how servers were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from geartrain.client.options import PriorityLike
from geartrain.terms import DEFAULT_PORT
from geartrain.transport.address import Address

DEFAULT_GEARMAN_PORT: Final = DEFAULT_PORT

PRIORITY_NONE: Final = None
PRIORITY_LOW: Final = "LOW"
PRIORITY_HIGH: Final = "HIGH"

#: Not submitted, or lost with its connection.
JOB_UNKNOWN: Final = "UNKNOWN"
#: Submitted; the server has not answered.
JOB_PENDING: Final = "PENDING"
#: The server has it.
JOB_CREATED: Final = "CREATED"
#: Over, badly.
JOB_FAILED: Final = "FAILED"
#: Over, well.
JOB_COMPLETE: Final = "COMPLETE"


def priority_of(value: str | None) -> PriorityLike:
    """``PRIORITY_*`` as we call it.

    Raises:
        ValueError: it is none of them.
    """
    if value is None:
        return "normal"
    if value == PRIORITY_HIGH:
        return "high"
    if value == PRIORITY_LOW:
        return "low"
    raise ValueError(f"priority = {value!r}: want PRIORITY_HIGH, PRIORITY_LOW or PRIORITY_NONE")


def servers_of(host_list: Iterable[Any] | None) -> list[Any] | None:
    """``["host:port", ("host", port), {"host": ..., "port": ...}]`` as we take it."""
    if host_list is None:
        return None
    servers: list[Any] = []
    for host in host_list:
        if isinstance(host, Mapping):
            use_tls = any(host.get(name) for name in ("keyfile", "certfile", "ca_certs"))
            port = int(host.get("port") or DEFAULT_PORT)
            servers.append(Address(str(host.get("host") or "localhost"), port, tls=use_tls))
        else:
            servers.append(tuple(host) if isinstance(host, list) else host)
    return servers
