"""Finds a store by the scheme of its URL.

Ours are in the table; other people's are entry points in the group
``geartrain.stores``, whose name is the scheme and whose value is a function
that takes a ``StoreUrl`` and returns a store that is not open yet::

    [project.entry-points."geartrain.stores"]
    mysql = "geartrain_mysql:from_url"
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from geartrain.stores.port import QueueStore, StoreRefused
from geartrain.stores.url import StoreUrl

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP: Final = "geartrain.stores"

Factory = Callable[[StoreUrl], QueueStore]


class _Ours(NamedTuple):
    module: str
    function: str = "from_url"
    #: What it needs, and the extra of ours that brings it.
    needs: str = ""
    extra: str = ""


_OURS: Final = {
    "memory": _Ours("geartrain.stores.sqlite", "spill_from_url"),
    "ram": _Ours("geartrain.stores.memory"),
    "sqlite": _Ours("geartrain.stores.sqlite"),
    "postgresql": _Ours("geartrain.stores.postgres", needs="psycopg", extra="postgres"),
    "postgres": _Ours("geartrain.stores.postgres", needs="psycopg", extra="postgres"),
}


def schemes() -> list[str]:
    """The schemes that can be named here, ours and installed ones."""
    return sorted({*_OURS, *(point.name for point in _theirs())})


def from_url(text: str) -> QueueStore:
    """The store that this URL names; it is not open yet.

    Raises:
        StoreRefused: no such scheme, a package that is missing, or a wrong option.
    """
    url = StoreUrl.parse(text)
    return _factory(url.scheme)(url)


def _factory(scheme: str) -> Factory:
    ours = _OURS.get(scheme)
    if ours is not None:
        try:
            return cast("Factory", getattr(import_module(ours.module), ours.function))
        except ImportError as error:
            # Only what it is known to need: another name missing is a fault of ours.
            if ours.needs and (error.name or "").partition(".")[0] == ours.needs:
                raise StoreRefused(
                    f"{scheme}:// needs {ours.needs}: pip install 'geartrain[{ours.extra}]'"
                ) from error
            raise
    for point in _theirs().select(name=scheme):
        try:
            return cast("Factory", point.load())
        except ImportError as error:
            raise StoreRefused(
                f"{scheme}:// is offered by {point.value}, which cannot be imported: {error}"
            ) from error
    raise StoreRefused(
        f"no store for {scheme}://; there are {', '.join(schemes())}. Others are packages "
        f"with an entry point in {GROUP!r}"
    )


def _theirs() -> EntryPoints:
    # A server with a store of ours starts without what finds the others.
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)
