"""The job server's body: sockets, turns, signals, settings."""

from __future__ import annotations

from geartrain.server.jobserver import JobServer
from geartrain.server.settings import Settings

__all__ = ["JobServer", "Settings"]
