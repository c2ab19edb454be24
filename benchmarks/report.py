"""The results as a table for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measures import MISS, Bar, Found, Result
from benchmarks.servers import TITLES


def number(value: float, unit: str = "") -> str:
    """A value with as many digits as it deserves."""
    size = abs(value)
    if unit == "B" and size >= 2**20:
        return f"{value / 2**20:,.1f} MiB"
    if size >= 1000:
        text = f"{value:,.0f}"
    elif size >= 100:
        text = f"{value:.0f}"
    elif size >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}" if unit else text


def spread(values: Sequence[float], unit: str) -> str:
    """Lowest and highest, in brackets; the unit is beside the median already."""
    if len(values) < 2:
        return ""
    scale = 2**20 if unit == "B" and min(values) >= 2**20 else 1
    return f"[{number(min(values) / scale)}..{number(max(values) / scale)}]"


def title(contender: str) -> str:
    """A column's head."""
    return TITLES.get(contender, contender)


def bar_text(bar: Bar, unit: str) -> str:
    """A bar in words: ``<= 1.15 x C -t 0``."""
    if bar.against:
        return f"{bar.relation} {bar.value:g} x {title(bar.against)}"
    return f"{bar.relation} {number(bar.value, unit)}"


def table(results: Sequence[Result], *, quick: bool) -> str:
    """All results, one block for each case."""
    return "\n\n".join(block(result, quick=quick) for result in results)


def block(result: Result, *, quick: bool) -> str:
    """One case: a row for each measure, one more for each further bar."""
    if not result.found:
        return "\n  ".join([f"{result.bench}: {result.case.title}", *result.notes])
    head = ["", *(title(one) for one in result.contenders), "ratio", "bar", ""]
    rows = [head]
    for found in result.found:
        rows += _rows(found, result.contenders, quick=quick)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    first, last = 1, len(head) - 3
    lines = [f"{result.bench}: {result.case.title}"]
    for row in rows:
        cells = [
            text.rjust(width) if first <= column <= last else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    rounds = max((len(v) for f in result.found for v in f.values.values()), default=0)
    lines.append(
        f"  {rounds} round{'s' if rounds != 1 else ''}; others used {result.others:.0%} of the machine,"
        f" the hypervisor {result.stolen:.0%}"
    )
    lines += [f"  {note}" for note in result.notes]
    return "\n".join(lines)


def _rows(found: Found, contenders: Sequence[str], *, quick: bool) -> list[list[str]]:
    unit = found.measure.unit
    values = []
    for contender in contenders:
        median = found.median(contender)
        text = "-" if median is None else number(median, unit)
        few = spread(found.values.get(contender, ()), unit)
        values.append(f"{text} {few}".rstrip())
    judged = []
    for bar in found.measure.bars:
        value = found.judged(bar)
        ratio = f"{value:.2f}" if bar.against and value is not None else ""
        judged.append([ratio, bar_text(bar, unit), found.verdict(bar, quick=quick)])
    first, *more = judged or [["", "", ""]]
    rows = [[found.measure.title, *values, *first]]
    rows += [["", *([""] * len(values)), *one] for one in more]
    return rows


def missed(results: Sequence[Result], *, quick: bool) -> list[str]:
    """The bars that were missed, one line each."""
    lines = []
    for result in results:
        for found in result.found:
            for bar in found.measure.bars:
                value = found.judged(bar)
                if value is not None and found.verdict(bar, quick=quick) == MISS:
                    lines.append(
                        f"{result.case.title}: {found.measure.title} {number(value)}"
                        f", bar {bar_text(bar, found.measure.unit)}"
                    )
    return lines


def as_json(machine: dict[str, str], results: Sequence[Result], *, quick: bool) -> dict[str, Any]:
    """Everything, every round included."""
    return {
        "machine": machine,
        "quick": quick,
        "cases": [
            {
                "bench": result.bench,
                "case": result.case.title,
                "others": result.others,
                "stolen": result.stolen,
                "notes": result.notes,
                "measures": [
                    {
                        "key": found.measure.key,
                        "title": found.measure.title,
                        "unit": found.measure.unit,
                        "values": found.values,
                        "bars": [
                            {
                                "relation": bar.relation,
                                "value": bar.value,
                                "against": bar.against,
                                "found": found.judged(bar),
                                "ratios": found.ratios(bar.against) if bar.against else [],
                                "verdict": found.verdict(bar, quick=quick),
                            }
                            for bar in found.measure.bars
                        ],
                    }
                    for found in result.found
                ],
            }
            for result in results
        ],
    }
