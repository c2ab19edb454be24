"""``python -m fuzz``: noise into every reader, for as long as it is given."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz import targets
from fuzz.play import Found, fault, play, play_with_atheris, report
from fuzz.target import TARGETS, Target

_EXAMPLES = """
examples:
  python -m fuzz                       all targets, 10 seconds in all
  python -m fuzz --seconds 600         all targets, ten minutes
  python -m fuzz gear admin            these two
  python -m fuzz gear --seed 7         the same noise as everybody with seed 7
  python -m fuzz gear --input FILE     one input again, as a find tells
  python -m fuzz gear --atheris        with atheris (pip install atheris): finds more

A find is kept in build/fuzz/ as small as it could be made. Leave a test behind:
the story it tells, with a sentence for a name, beside the tests of that reader.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    listing = "\n".join(f"  {one.name:18} {one.about}" for one in TARGETS.values())
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description="Feed readers with noise: each must read it, or refuse it in its own words.",
        epilog=f"targets:\n{listing}\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="which readers (default: all)")
    parser.add_argument(
        "--seconds", type=float, metavar="N",
        default=float(os.environ.get("GEARTRAIN_SECONDS") or 10),
        help="time for all of them (default: GEARTRAIN_SECONDS, or 10)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, metavar="N", help="where chance begins (default: by the clock)"
    )
    parser.add_argument("--input", metavar="FILE", help="read this one input instead of noise")
    parser.add_argument("--atheris", action="store_true", help="let atheris choose the inputs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 1 if something was found."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    for name in arguments.targets:
        if name not in TARGETS:
            parser.error(f"no target {name!r}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in arguments.targets or TARGETS]
    try:
        if arguments.input is not None:
            return _once(chosen, Path(arguments.input).read_bytes())
        if arguments.atheris:
            if importlib.util.find_spec("atheris") is None:
                parser.error(
                    "atheris is not installed: pip install atheris, or leave --atheris out"
                )
            if len(chosen) != 1:
                parser.error("atheris takes one target at a time; name one")
            play_with_atheris(chosen[0], arguments.seconds, [])
        return _all(chosen, arguments.seconds, arguments.seed)
    except Found as found:
        print(found, file=sys.stderr)
        return 1
    except OSError as error:
        parser.error(f"{arguments.input}: {error.strerror}")


def _once(chosen: list[Target], data: bytes) -> int:
    for one in chosen:
        error = fault(one, data)
        if error is not None:
            raise report(one, data, error)
        print(f"{one.name}: reads it, or refuses it as it should")
    return 0


def _all(chosen: list[Target], seconds: float, seed: int | None) -> int:
    if seed is None:
        seed = int(time.time())
    for one in chosen:
        count = play(one, seconds / len(chosen), seed)
        print(f"{one.name:18} {count:8} inputs, seed {seed}: nothing found", flush=True)
    return 0


assert targets.__name__ == "fuzz.targets"

if __name__ == "__main__":
    sys.exit(main())
