"""Find a plug-in by kind and name.

Plug-ins are entry points of installed packages, in the group
``geartrain.<kind>``; ours are among them.
"""

from __future__ import annotations

from typing import Any

from geartrain.errors import ConfigurationError


def names(kind: str) -> list[str]:
    """Names of the installed plug-ins of a kind, sorted."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=f"geartrain.{kind}")})


def load(kind: str, name: str) -> Any:
    """The object that a plug-in offers.

    Raises:
        ConfigurationError: there is none of that name, or what it needs is not installed.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=f"geartrain.{kind}", name=name):
        try:
            return point.load()
        except ImportError as error:
            raise ConfigurationError(
                f"the {kind} plug-in {name!r} needs a package that is not installed: {error}"
            ) from error
    installed = ", ".join(names(kind)) or "none"
    raise ConfigurationError(f"no {kind} plug-in named {name!r}; installed: {installed}")
