"""Jobs as people and pipes see them: rows of a list, moments, workloads.

On a terminal a list is a table that fits it; in a pipe it has a job a line, tabs between
the columns; with ``--json`` an object a line.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Final

from geartrain.cli import terminal
from geartrain.cli.asking import Found
from geartrain.cli.table import GAP, fit, pad

#: Columns of a list: in a pipe all of them, on a terminal those with a width; 0: what there is.
DEAD: Final = (
    ("handle", 0), ("function", 16), ("unique", None), ("priority", None), ("size", None),
    ("attempts", 8), ("died", 9), ("worker", None), ("reason", 0),
)  # fmt: skip
JOBS: Final = (
    ("handle", 0), ("function", 16), ("unique", None), ("priority", None), ("size", None),
    ("state", 9), ("attempts", 8), ("submitted", 9), ("until", None), ("where", None),
    ("worker", 0),
)  # fmt: skip
Columns = Sequence[tuple[str, int | None]]
#: On a narrow terminal these go, the first one first, rather than that all say nothing.
_LEAVE: Final = ("attempts", "submitted", "died", "worker", "state", "reason")
#: These are cut where there is no room for the whole, down to what still says something.
_SUPPLE: Final = {"server": 16, "function": 12, "worker": 12, "reason": 16}


class Lines:
    """Rows, written as they come.

    On a terminal the widths are set before the rows are known; what is longer is cut.
    """

    def __init__(self, columns: Columns, as_json: bool, live: bool) -> None:
        self._columns = columns
        self._json = as_json
        self._live = live
        self._shown: list[tuple[str, int]] = []
        self._pending: list[str] = []
        self._size = 0

    def write(self, found: Found) -> None:
        """One row more."""
        if self._json:
            text = json.dumps(found)
        elif self._live:
            if not self._shown:
                self._head(found)
            text = self._row({key: for_people(key, found.get(key, "")) for key, _ in self._shown})
        else:
            text = "\t".join(for_pipe(found.get(key, "")) for key, _ in self._columns)
        self._pending.append(text)
        self._size += len(text)
        if self._live or self._size > 65536:
            self.close()

    def close(self) -> None:
        """Write what was gathered."""
        for text in self._pending:
            put(text)
        self._pending = []
        self._size = 0

    def _head(self, first: Found) -> None:
        # A handle's length is the server's: all are as long as the first.
        self._shown = layout(self._columns, len(str(first.get("handle", ""))), terminal.width(1))
        text = self._row({key: key for key, _ in self._shown})
        put(f"\x1b[1m{text}\x1b[0m" if terminal.likes_colour(1) else text)

    def _row(self, said: Found) -> str:
        shown = [pad(said[key], width, key in ("size", "attempts")) for key, width in self._shown]
        return (" " * GAP).join(shown).rstrip()


def layout(columns: Columns, handle: int, room: int) -> list[tuple[str, int]]:
    """Which columns a terminal shows, and how wide.

    Args:
        columns: those there are; the last one takes what is left.
        handle: length of a handle, which is never cut: it is there to be copied.
        room: columns of the terminal.
    """
    wishes = {key: width for key, width in columns if width is not None}
    wishes["handle"] = handle
    if wishes["function"] < room // 5:
        wishes["function"] = room // 5
    last = columns[-1][0]
    wishes[last] = _SUPPLE[last]
    least = {key: min(width, _SUPPLE.get(key, width)) for key, width in wishes.items()}
    for key in _LEAVE:
        if sum(least.values()) + GAP * (len(least) - 1) <= room:
            break
        if key in least:
            del wishes[key], least[key]
    if last in wishes:
        used = sum(wishes.values()) + GAP * (len(wishes) - 1)
        wishes[last] += max(0, room - used)
    widths = fit(list(wishes.values()), list(least.values()), room)
    return list(zip(wishes, widths, strict=True))


def put(text: str) -> None:
    """A line on standard output."""
    terminal.write_all(1, (text + "\n").encode("utf-8", "surrogateescape"))


def for_pipe(value: object) -> str:
    """A value in a column: tabs and control bytes as ``%XX``."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if value is None:
        return ""
    return "".join(f"%{ord(ch):02X}" if ch < " " or ch == "\x7f" else ch for ch in str(value))


def for_people(key: str, value: object) -> str:
    """A value for a terminal: moments as so long ago, yes and no."""
    if isinstance(value, float) and key in ("died", "submitted", "started", "until"):
        return when(value) if key == "until" else ago(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return for_pipe(value)


def ago(seconds: float) -> str:
    """How long ago that was, to two digits or so."""
    return f"{_span(max(0.0, time.time() - seconds))} ago"


def when(seconds: float) -> str:
    """When that will be."""
    left = seconds - time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    return f"{stamp} (in {_span(left)})" if left > 0 else f"{stamp} (now)"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def body_of(found: Found) -> bytes | None:
    """The workload in an object, if it is there."""
    if "body_base64" in found:
        return base64.b64decode(found["body_base64"])
    if "body" in found:
        text: str = found["body"]
        return text.encode("utf-8")
    return None


def print_body(body: bytes | None) -> None:
    """A body for people: text as it is, other bytes in hexadecimal, not too many."""
    if body is None:
        return
    text = body.decode("utf-8", "replace")
    if "\ufffd" not in text and all(ch.isprintable() or ch in "\n\t\r" for ch in text):
        put(f"\n{text}" if text else "\n(the workload is empty)")
        return
    lines = [
        f"{at:08x}  {body[at : at + 16].hex(' '):<47}  "
        + "".join(chr(b) if 32 <= b < 127 else "." for b in body[at : at + 16])
        for at in range(0, min(len(body), 512), 16)
    ]
    if len(body) > 512:
        lines.append(f"... {len(body)} bytes in all; --body-only writes them as they are")
    put("\n" + "\n".join(lines))
