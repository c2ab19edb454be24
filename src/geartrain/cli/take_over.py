"""``gearadmin import``: the queue of a C gearmand into ours, with a bar for people to watch."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from typing import Final

from geartrain.cli import terminal
from geartrain.cli.gearadmin_options import Call
from geartrain.errors import GearmanError
from geartrain.stores import registry
from geartrain.stores.ids import JobIds
from geartrain.stores.importer import Imported, import_queue, survey
from geartrain.stores.old_tables import count_of, name_of
from geartrain.stores.port import Ambiguous, QueueStore, StoreDown, StoreRefused
from geartrain.stores.url import StoreUrl

#: Seconds between two drawings of the bar.
DRAW_SECONDS: Final = 0.1
#: Seconds that a shared queue waits for us before it gives our lease away.
LEASE_SECONDS: Final = 30.0
#: Faults that are printed; they are all counted.
MOST_FAULTS: Final = 100


def run(call: Call) -> int:
    """Do it; return the exit status: 1 also when rows were left out."""
    source, target = call.operands
    dry = "dry-run" in call.parsed
    try:
        total = asyncio.run(count_of(source))
        bar = Bar(total, terminal.can_move(2))
        try:
            if dry:
                report = asyncio.run(survey(source, watch=bar.show))
            else:
                report = asyncio.run(_import(source, target, "again" in call.parsed, bar))
        finally:
            bar.close()
    except GearmanError as error:
        hint = ""
        if isinstance(error, StoreDown | Ambiguous):
            hint = "; say it again, and it goes on where it stopped"
        terminal.say("gearadmin", f"import: {error}{hint}")
        return 1
    if "json" in call.parsed:
        text = _json(report, dry)
    else:
        text = _text(report, name_of(source), StoreUrl.parse(target).text, dry)
        for fault in report.faults[:MOST_FAULTS]:
            terminal.say("gearadmin", f"import: left out: {fault}")
        if len(report.faults) > MOST_FAULTS:
            more = len(report.faults) - MOST_FAULTS
            terminal.say("gearadmin", f"import: left out: {more} rows more")
    terminal.write_all(1, text.encode("utf-8", "surrogateescape"))
    return 1 if report.faults else 0


async def _import(source: str, target: str, again: bool, bar: Bar) -> Imported:
    store = registry.from_url(target)
    if store.traits.durable == "none":
        raise StoreRefused(
            f"{target} would be gone at the end of this command; name the queue that gearmand "
            "is to have, such as sqlite:///var/lib/geartrain/jobs.db"
        )
    lease = await store.open(f"import-{socket.gethostname()}-{os.getpid()}", LEASE_SECONDS)
    heart = asyncio.create_task(_keep_alive(store))
    try:
        return await import_queue(
            source, store, JobIds(lease, time.time), again=again, watch=bar.show
        )
    finally:
        heart.cancel()
        await asyncio.gather(heart, return_exceptions=True)
        await store.close()


async def _keep_alive(store: QueueStore) -> None:
    """A long import keeps its lease; if it is lost, the next commit says so."""
    while True:
        if await store.heartbeat() == float("inf"):
            return
        await asyncio.sleep(LEASE_SECONDS / 3)


class Bar:
    """How far the reading is, on a terminal; nothing in a log.

    Args:
        total: rows to be read.
        live: somebody looks at it.
    """

    def __init__(self, total: int, live: bool) -> None:
        self._total = total
        self._live = live
        self._began = time.monotonic()
        self._due = 0.0
        self._drawn = False

    def show(self, report: Imported) -> None:
        """Draw it, if it is time."""
        if not self._live:
            return
        now = time.monotonic()
        if now < self._due and report.read < self._total:
            return
        self._due = now + DRAW_SECONDS
        self._drawn = True
        share = min(1.0, report.read / self._total) if self._total else 1.0
        width = max(10, min(40, terminal.width(2) - 50))
        full = int(share * width)
        rate = report.read / max(now - self._began, 0.001)
        text = (
            f"\r\x1b[K[{'#' * full}{'-' * (width - full)}] {share:4.0%}"
            f"  {report.read:,} of {self._total:,} rows, {rate:,.0f}/s"
        )
        terminal.write_all(2, text.encode())

    def close(self) -> None:
        """Leave the line."""
        if self._drawn:
            terminal.write_all(2, b"\n")


def _text(report: Imported, source: str, target: str, dry: bool) -> str:
    lines = [
        f"{count}\t{name.decode('utf-8', 'surrogateescape')}"
        for name, count in sorted(report.functions.items())
    ]
    if dry:
        left = len(report.faults)
        lines.append(f"{source}: {report.read} rows, {left} of them would be left out")
    elif report.before and report.before == report.read:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.last))
        lines.append(
            f"nothing to do: all {report.read} rows of {source} were taken over by {when}"
            " (--again takes them over once more)"
        )
    else:
        lines.append(f"{report}, from {source} to {target}")
    return "".join(f"{line}\n" for line in lines)


def _json(report: Imported, dry: bool) -> str:
    found = {
        "dry_run": dry,
        "read": report.read,
        "before": report.before,
        "stored": report.stored,
        "merged": report.merged,
        "faults": report.faults,
        "functions": {
            name.decode("utf-8", "backslashreplace"): count
            for name, count in sorted(report.functions.items())
        },
    }
    return json.dumps(found, ensure_ascii=False) + "\n"
