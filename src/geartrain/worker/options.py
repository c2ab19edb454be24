"""What a ``Worker`` may be told, for those who pass it on: one place for editors and type checkers."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

from geartrain.client.options import Seconds
from geartrain.transport.address import Servers
from geartrain.transport.tls import TLSLike

PoolName: TypeAlias = Literal["inline", "thread", "process"]


class WorkerOptions(TypedDict, total=False):
    """The arguments of ``Worker``; see there."""

    servers: Servers
    worker_id: str | None
    namespace: str
    concurrency: int
    pool: PoolName | None
    grace: Seconds
    tls: TLSLike
    connect_timeout: Seconds | None
    prefetch: int
