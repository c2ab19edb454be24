"""Which server for this job. Pure.

Jobs with a key must reach the same server from every client, or they do not
coalesce. Rendezvous hashing gives each key its own order of servers: when one
leaves, only its keys move, each to its second choice (api: 0 % of the others;
``crc32 % N`` moved half of them).

Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from geartrain.errors import ConfigurationError
from geartrain.transport.address import Address

RoutingName: TypeAlias = Literal["hash", "ordered", "round-robin"]


class Routing:
    """Orders the servers for each submission, best first.

    Args:
        servers: as configured; their order matters for ``ordered``.
        rule: ``hash``: by key where there is one, else in turn. ``ordered``: as
            listed, the next only when one is down (libgearman). ``round-robin``:
            in turn, whatever the key.

    Raises:
        ConfigurationError: an unknown rule.
    """

    def __init__(self, servers: tuple[Address, ...], rule: str = "hash") -> None:
        if rule not in ("hash", "ordered", "round-robin"):
            raise ConfigurationError(f"routing = {rule!r}: want hash, ordered or round-robin")
        self._servers = servers
        self._rule = rule
        self._turn = 0
        self._salted: list[tuple[Any, Address]] = []

    def order(self, function: bytes, unique: bytes) -> list[Address]:
        """The servers for a job, best first.

        Args:
            unique: the key as its user gave it; empty where there is none.
        """
        if len(self._servers) == 1 or self._rule == "ordered":
            return list(self._servers)
        if unique and self._rule == "hash":
            return [address for _, address in sorted(self._scores(function, unique), reverse=True)]
        turn = self._turn
        self._turn = (turn + 1) % len(self._servers)
        return [*self._servers[turn:], *self._servers[:turn]]

    def _scores(self, function: bytes, unique: bytes) -> list[tuple[bytes, Address]]:
        if not self._salted:
            # Few have several servers: the others start without OpenSSL.
            from hashlib import blake2b

            self._salted = [(blake2b(str(a).encode(), digest_size=8), a) for a in self._servers]
        scores = []
        for salted, address in self._salted:
            digest = salted.copy()
            digest.update(b"\0" + function + b"\0" + unique)
            scores.append((digest.digest(), address))
        return scores
