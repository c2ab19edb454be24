"""What a target is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: how it is called on the command line.
        about: what is read.
        read: reads an input; checks what must hold.
        allowed: errors that are the reader's way to say no.
        seeds: good inputs to begin with.
        words: pieces that mean something to this reader.
    """

    name: str
    about: str
    read: Callable[[bytes], object]
    allowed: tuple[type[BaseException], ...]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}


def target(
    about: str,
    *,
    allowed: tuple[type[BaseException], ...] = (),
    seeds: tuple[bytes, ...] = (b"",),
    words: tuple[bytes, ...] = (),
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Put a function into the table, under its own name."""

    def enter(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
        name = read.__name__.replace("_", "-")
        TARGETS[name] = Target(name, about, read, allowed, seeds, words)
        return read

    return enter
