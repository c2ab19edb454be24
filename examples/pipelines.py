"""A pipeline: fetch -> count -> sum, where each step's jobs start the next as they end.

    gearman-worker pipelines:app --threads 4 &
    python pipelines.py *.py

The arguments are files, whose words are counted.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import geartrain

app = geartrain.App("pipelines")


@app.function
def read(path: str) -> str:
    return Path(path).read_text(errors="replace")


@app.function
def count_words(text: str) -> dict[str, int]:
    job = geartrain.current_job()
    counts: Counter[str] = Counter()
    for line in job.track(text.splitlines()):
        counts.update(word for word in line.split() if word.isidentifier())
    return dict(counts)


@app.function(priority="high")
def merge(parts: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total.most_common(10))


def main(paths: list[str]) -> None:
    # Lazily: a text is counted while further ones are read.
    texts = read.map((str(Path(path).absolute()) for path in paths), window=8, ordered=False)
    counted = [count_words.submit(text) for text in texts]
    top = merge.do([task.result() for task in counted])
    for word, count in top.items():
        print(f"{count:6} {word}")


if __name__ == "__main__":
    main(sys.argv[1:] or [__file__])
