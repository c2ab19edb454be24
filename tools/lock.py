"""Writes requirements-dev.lock: the exact version of all that developers install.

    .venv/bin/python tools/lock.py

Resolves the ``dev`` group of pyproject.toml from scratch; nothing is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-dev.lock"

HEAD = """\
# All that `make setup` installs, by exact version. Written by `make lock` from
# the "dev" group in pyproject.toml; do not edit.
"""


def main() -> int:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted: list[str] = settings["dependency-groups"]["dev"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    report = json.loads(
        subprocess.run([*pip, "--report", "-", *wanted], check=True, stdout=subprocess.PIPE).stdout
    )
    # A requirement that we wrote with a marker keeps it: the lock is for every
    # platform, though it was resolved on one.
    markers = {
        re.split(r"[<>=!~;\[ ]", line)[0].lower(): line.split(";", 1)[1].strip()
        for line in wanted
        if ";" in line
    }
    pins = []
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        pin = f"{name}=={item['metadata']['version']}"
        pins.append(f"{pin}; {markers[name]}" if name in markers else pin)
    LOCK.write_text(HEAD + "\n".join(sorted(pins)) + "\n")
    print(f"{LOCK.name}: {len(pins)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
