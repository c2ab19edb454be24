"""The same function over many values, with a bar while it goes.

    gearman-worker parallel_map:app --processes 4 &
    python parallel_map.py 200

The argument is how many numbers.
"""

from __future__ import annotations

import math
import sys

import geartrain
from geartrain.progress import track

app = geartrain.App("numbers")


@app.function(unique=lambda n: f"divisors-{n}")  # the same number twice at once: one job
def divisors(n: int) -> list[int]:
    found: set[int] = set()
    for k in geartrain.current_job().track(range(1, math.isqrt(n) + 1)):
        if n % k == 0:
            found |= {k, n // k}
    return sorted(found)


def main(count: int) -> None:
    numbers = range(10**6, 10**6 + count)

    # Results in order, no more than 64 jobs at once, constant memory.
    most = max(
        zip(divisors.map(numbers, window=64), numbers, strict=False), key=lambda p: len(p[0])
    )
    print(f"{most[1]} has {len(most[0])} divisors")

    # As they come, with a bar.
    for task in track((divisors.submit(n) for n in numbers), "divisors"):
        if len(task.result()) == 2:
            print(f"{task.result()[1]} is prime")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100)
