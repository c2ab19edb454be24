"""For our tests and our users': a server to test against, the contract that stores must pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geartrain.testing.clock import TurnableClock
    from geartrain.testing.server import EmbeddedServer

__all__ = ["EmbeddedServer", "TurnableClock"]


def __getattr__(name: str) -> object:
    # On first use, so that a store's author who wants the contract alone needs no server.
    if name == "EmbeddedServer":
        from geartrain.testing.server import EmbeddedServer

        return EmbeddedServer
    if name == "TurnableClock":
        from geartrain.testing.clock import TurnableClock

        return TurnableClock
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
