"""Thumbnails: typed functions, done by workers, called from anywhere. Needs Pillow.

    gearman-worker images:app --processes 4 --reload &
    python images.py photo.jpg      # makes photo-81.jpg ... photo-405.jpg, with a bar

PHP can call it too; the workload is {"src": "a.jpg", "dest": "b.jpg", "width": 200}.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import geartrain

app = geartrain.App("images")


@app.function("shrink_image", timeout=60, retry=geartrain.Retry(2, on=OSError))
def shrink_image(src: str, dest: str, width: int, height: int | None = None) -> str:
    if width < 1:
        raise geartrain.Fail(f"bad width {width}")
    with Image.open(src) as image:
        image.thumbnail((width, height or width))
        image.save(dest)
    geartrain.current_job().send_status(1, 1)
    return dest


def main(src: Path) -> None:
    tasks = (
        shrink_image.submit(str(src), str(src.with_stem(f"{src.stem}-{width}")), width=width)
        for width in range(81, 406, 81)
    )
    for task in geartrain.progress.track(tasks, "thumbnails"):
        print(task.handle, task.result())


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
