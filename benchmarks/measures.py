"""What is measured, what bar it must pass, and what one case of a benchmark is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

#: The column that is judged; all others are what it is judged against.
OURS: Final = "ours"

#: What a bar says of a measure.
PASS: Final = "pass"
MISS: Final = "MISS"
UNJUDGED: Final = "-"


class Unmeasured(Exception):
    """This cannot be measured here; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Bar:
    """``ours <= value`` or, with ``against``, ``ours / theirs <= value`` (or ``>=``)."""

    relation: str
    value: float
    against: str = ""

    def holds(self, value: float) -> bool:
        """Whether a value, or a ratio, passes."""
        return value <= self.value if self.relation == "<=" else value >= self.value


def at_most(value: float, against: str = "") -> Bar:
    """A bar from above."""
    return Bar("<=", value, against)


def at_least(value: float, against: str = "") -> Bar:
    """A bar from below."""
    return Bar(">=", value, against)


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table.

    Attributes:
        key: its name in what ``Case.run`` returns, and in the JSON.
        sized: a smaller run says nothing of it, so ``--quick`` does not judge it.
    """

    key: str
    title: str
    unit: str
    bars: tuple[Bar, ...] = ()
    sized: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to do with each contender in turn, and what to measure of it.

    Attributes:
        contenders: columns, ours first. Those that are absent are left out.
        run: does it once with one contender; returns a value for each measure.
        once: contenders that take so long that the first round must do.
    """

    title: str
    contenders: tuple[str, ...]
    measures: tuple[Measure, ...]
    run: Callable[[str], Mapping[str, float]]
    rounds: int = 5
    once: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the runs are."""

    quick: bool = False
    full: bool = False

    def size(self, normal: int, quick: int) -> int:
        """``normal``, or ``quick`` when asked to hurry."""
        return quick if self.quick else normal


@dataclass(frozen=True, slots=True)
class Bench:
    """A named group of cases; one file each."""

    name: str
    about: str
    cases: Callable[[Scale], Sequence[Case]]


@dataclass(slots=True)
class Found:
    """The values of one measure, by contender, in the order of the rounds."""

    measure: Measure
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, value: float) -> None:
        """Keep one more value."""
        self.values.setdefault(contender, []).append(value)

    def median(self, contender: str) -> float | None:
        """The middle of a contender's values."""
        found = self.values.get(contender)
        return statistics.median(found) if found else None

    def ratios(self, against: str) -> list[float]:
        """Ours by theirs, round by round: what disturbs the machine disturbs both."""
        pairs = zip(self.values.get(OURS, ()), self.values.get(against, ()), strict=False)
        return [ours / theirs for ours, theirs in pairs if theirs]

    def judged(self, bar: Bar) -> float | None:
        """The number that ``bar`` judges."""
        if not bar.against:
            return self.median(OURS)
        found = self.ratios(bar.against)
        return statistics.median(found) if found else None

    def verdict(self, bar: Bar, *, quick: bool) -> str:
        """Whether the bar is passed."""
        value = self.judged(bar)
        if value is None or (quick and self.measure.sized):
            return UNJUDGED
        return PASS if bar.holds(value) else MISS


@dataclass(slots=True)
class Result:
    """What came out of one case."""

    bench: str
    case: Case
    contenders: tuple[str, ...] = ()
    found: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Share of the machine's time that other programs took meanwhile, or the
    #: hypervisor (steal); 0.25 is a quarter.
    others: float = 0.0
    stolen: float = 0.0
