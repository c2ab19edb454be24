"""GearmanAdminClient: asks one server about itself."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from geartrain.client.admin import AdminClient
from geartrain.compat.names import servers_of
from geartrain.transport.environment import find_servers

if TYPE_CHECKING:
    from typing import Self

DEFAULT_ADMIN_CLIENT_TIMEOUT = 10.0


class GearmanAdminClient:
    """The admin text protocol.

    Args:
        host_list: one server.
        poll_timeout: seconds for each answer.
    """

    def __init__(
        self,
        host_list: Iterable[Any] | None = None,
        poll_timeout: float = DEFAULT_ADMIN_CLIENT_TIMEOUT,
    ) -> None:
        self._admin = AdminClient(find_servers(servers_of(host_list))[0], timeout=poll_timeout)

    def ping_server(self) -> float:
        """Seconds until the server gives the same bytes back."""
        return self._admin.ping(b"ping? pong!")

    def get_status(self) -> tuple[dict[str, Any], ...]:
        """``{"task", "queued", "running", "workers"}`` of each function."""
        return tuple(
            {
                "task": row.function,
                "queued": row.total,
                "running": row.running,
                "workers": row.workers,
            }
            for row in self._admin.status()
        )

    def get_workers(self) -> tuple[dict[str, Any], ...]:
        """``{"file_descriptor", "ip", "client_id", "tasks"}`` of each connection."""
        return tuple(
            {
                "file_descriptor": str(row.fd),
                "ip": row.address,
                "client_id": row.client_id,
                "tasks": row.functions,
            }
            for row in self._admin.workers()
        )

    def get_version(self) -> str:
        """The server's version."""
        return self._admin.version()

    def send_maxqueue(self, task: str, max_size: int) -> str:
        """Limit a function's queue."""
        self._admin.max_queue(task, max_size)
        return "OK"

    def send_shutdown(self, graceful: bool = True) -> str:
        """Have the server end, where it allows that."""
        self._admin.shutdown(graceful=graceful)
        return "OK"

    def shutdown(self) -> None:
        """Hang up."""
        self._admin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()
