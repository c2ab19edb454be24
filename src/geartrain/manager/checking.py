"""``gearman-worker --check``: load the targets once, and say what would be offered."""

from __future__ import annotations

from geartrain.errors import ConfigurationError
from geartrain.manager import targets
from geartrain.manager.manager import groups_of
from geartrain.manager.plan import COMMON
from geartrain.manager.settings import Settings


def check(settings: Settings) -> str:
    """One line for each function: where it is from, and how many processes offer it.

    Raises:
        ConfigurationError: something is wrong.
    """
    groups = groups_of(settings)
    key = targets.read_key(settings.key_file)
    try:
        found = targets.load(settings.targets, settings.dir, key)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"a target could not be imported: {type(error).__name__}: {error}"
        ) from error
    names = [name for target in found for name in target.names]
    mentioned = [*settings.only, *settings.exclude, *settings.functions]
    offers: dict[str, int] = {}
    for group in groups:
        for seat in range(1, group.processes + 1):
            only = [group.only] if group.only else settings.only
            held = {*settings.exclude, *group.withheld(seat)}
            for name in targets.choose(names, only, held, mentioned):
                offers[name] = offers.get(name, 0) + 1
    lines = []
    for target in found:
        for name in target.names:
            count = offers.get(name, 0)
            dedicated = any(group.only == name for group in groups if group.name != COMMON)
            kind = " dedicated" if dedicated else ""
            lines.append(
                f"{name}\t{count}{kind} process{'' if count == 1 else 'es'}\t{target.source}"
            )
    return "".join(f"{line}\n" for line in lines)
