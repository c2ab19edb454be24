"""Runs cases in interleaved rounds, so that what disturbs one contender disturbs all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from benchmarks.measures import Bench, Case, Found, Result, Scale, Unmeasured
from benchmarks.process import Disturbance
from benchmarks.report import title
from benchmarks.servers import C_ABSENT, C_OPTIONS, is_present


class Progress:
    """One line that is written over on a terminal; one line for each case in a pipe."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._width = 0

    def say(self, text: str) -> None:
        """What is going on; only a terminal hears it."""
        if self._live:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + text.ljust(self._width))
            self._stream.flush()
            self._width = len(text)

    def begin(self, text: str) -> None:
        """A case begins."""
        if self._live:
            self.say(text)
        else:
            print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Leave no line behind."""
        if self._live:
            self.say("")
            self._stream.write("\r")
            self._stream.flush()


def run_bench(
    bench: Bench,
    scale: Scale,
    progress: Progress,
    *,
    rounds: int | None = None,
    against: Sequence[str] | None = None,
) -> Iterator[Result]:
    """All cases of a bench; each result as it is there."""
    try:
        cases = bench.cases(scale)
    except Unmeasured as why:
        yield Result(bench.name, _nothing(bench.about), notes=[f"skipped: {why}"])
        return
    for case in cases:
        yield run_case(bench, case, progress, rounds or case.rounds, against)


def _nothing(title: str) -> Case:
    return Case(title, (), (), lambda contender: {})


def run_case(
    bench: Bench, case: Case, progress: Progress, rounds: int, against: Sequence[str] | None
) -> Result:
    """One case, its rounds interleaved; a contender that fails is out, with a note."""
    result = Result(bench.name, case)
    wanted = [
        one
        for place, one in enumerate(case.contenders)
        if place == 0 or against is None or one in against or one not in C_OPTIONS
    ]
    contenders = [one for one in wanted if is_present(one)]
    if len(contenders) < len(wanted):
        result.notes.append(C_ABSENT)
    found = {measure.key: Found(measure) for measure in case.measures}
    disturbance = Disturbance()
    progress.begin(f"{bench.name}: {case.title}")
    for number in range(rounds):
        turn = number % max(1, len(contenders))
        for contender in [*contenders[turn:], *contenders[:turn]]:
            if number and contender in case.once:
                continue
            progress.say(
                f"{bench.name}: {case.title} · round {number + 1} of {rounds} · {title(contender)}"
            )
            try:
                values = case.run(contender)
            except Unmeasured as why:
                result.notes.append(f"{title(contender)}: {why}")
                contenders = [one for one in contenders if one != contender]
                continue
            for key, value in values.items():
                found[key].add(contender, value)
    progress.clear()
    result.others, result.stolen = disturbance.shares()
    result.contenders = tuple(one for one in case.contenders if one in wanted and is_present(one))
    result.found = list(found.values())
    return result
