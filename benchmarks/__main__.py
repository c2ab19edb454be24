"""``python -m benchmarks``: run the benchmarks, print the table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import (
    bench_background,
    bench_backlog,
    bench_depth,
    bench_durable,
    bench_foreground,
    bench_functions,
    bench_instructions,
    bench_libraries,
    bench_lines,
    bench_sleepers,
    bench_workload,
    machine,
    peers,
    report,
    servers,
)
from benchmarks.measures import Bench, Result, Scale
from benchmarks.rounds import Progress, run_bench

BENCHES: tuple[Bench, ...] = (
    bench_foreground.BENCH,
    bench_background.BENCH,
    bench_sleepers.BENCH,
    bench_functions.BENCH,
    bench_workload.BENCH,
    bench_depth.BENCH,
    bench_lines.BENCH,
    bench_libraries.BENCH,
    bench_durable.BENCH,
    bench_backlog.BENCH,
    bench_instructions.BENCH,
)

#: These run only when they are named.
ASKED_FOR = ("instructions",)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = "\n".join(f"  {one.name:12} {one.about}" for one in BENCHES)
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure geartrain beside what it wants to replace.",
        epilog=f"benchmarks:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    made.add_argument("--rounds", type=int, metavar="N", help="rounds of each case")
    made.add_argument("--quick", action="store_true", help="smaller runs, to try a change")
    made.add_argument("--full", action="store_true", help="the largest runs too")
    made.add_argument("--json", type=Path, metavar="FILE", help="all values, as JSON")
    made.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    made.add_argument(
        "--against",
        metavar="C,C",
        help=f"which C servers: {', '.join(servers.C_OPTIONS)} (default: all)",
    )
    made.add_argument(
        "--install", action="store_true", help="bring Celery, Dramatiq, Huey, Redis, php-gearman"
    )
    made.add_argument("--server", metavar="PATH", help="measure this gearmand as ours")
    made.add_argument(
        "--instructions", action="store_true", help="count instructions per job instead (callgrind)"
    )
    made.add_argument("--pure", action="store_true", help="measure the plain files of src/")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    asking = parser()
    asked = asking.parse_args(argv)
    known = {one.name: one for one in BENCHES}
    for name in asked.names:
        if name not in known:
            asking.error(f"no benchmark {name!r}; there are {', '.join(known)}")
    names = asked.names or [name for name in known if name not in ASKED_FOR]
    if asked.instructions:
        names = ["instructions"]
    against = asked.against.split(",") if asked.against is not None else None
    for one in filter(None, against or ()):
        if one not in servers.C_OPTIONS:
            asking.error(f"--against: no server {one!r}; there are {', '.join(servers.C_OPTIONS)}")
    if asked.pure:
        servers.use_pure()
    elif asked.server:
        servers.use_server(asked.server)

    if asked.install:
        peers.install()

    where = machine.describe()
    for name, text in where.items():
        print(f"{name + ':':12} {text}")
    scale = Scale(quick=asked.quick, full=asked.full)
    progress = Progress()
    results: list[Result] = []
    try:
        for name in names:
            for result in run_bench(
                known[name], scale, progress, rounds=asked.rounds, against=against
            ):
                results.append(result)
                print("\n" + report.block(result, quick=asked.quick), flush=True)
    except KeyboardInterrupt:
        progress.clear()
        print("\ninterrupted; what was measured is above", file=sys.stderr)
        return 130
    finally:
        if asked.json:
            said = report.as_json(where, results, quick=asked.quick)
            asked.json.write_text(json.dumps(said, indent=1) + "\n")
    missed = report.missed(results, quick=asked.quick)
    print()
    for line in missed:
        print(f"missed: {line}")
    print(f"{len(missed)} bars missed" if missed else "no bar missed")
    return 1 if missed and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
