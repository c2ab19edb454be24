"""Tables that fit a terminal: columns give way, and what is cut says so with an ellipsis.

Numbers and handles are never cut, for half of one is none. Other columns shrink, the
widest first, down to what still says something. Only terminals get tables: in a pipe
everything is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: Between two columns.
GAP: Final = 2
#: A column is not made narrower than this.
LEAST: Final = 8


def cells(text: str) -> int:
    """Columns of the terminal that a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


def cut(text: str, width: int) -> str:
    """The text, or what of it fits with an ellipsis behind it."""
    if cells(text) <= width:
        return text
    kept = text[: max(0, width - 1)]
    while kept and cells(kept) >= width:
        kept = kept[:-1]
    return kept + "…"


def pad(text: str, width: int, right: bool = False) -> str:
    """The text in a column so wide, cut if it has to be."""
    text = cut(text, width)
    space = " " * (width - cells(text))
    return space + text if right else text + space


def fit(wishes: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns in ``room``: what they wish for, or less, the widest first.

    Args:
        wishes: what each would take.
        least: what each must have; a column that must not be cut wishes for no more.
        room: columns of the terminal.
    """
    widths = [max(low, min(wish, room)) for wish, low in zip(wishes, least, strict=True)]
    over = sum(widths) + GAP * (len(widths) - 1) - room
    while over > 0:
        supple = [at for at, width in enumerate(widths) if width > least[at]]
        if not supple:
            break
        widths[max(supple, key=widths.__getitem__)] -= 1
        over -= 1
    return widths
