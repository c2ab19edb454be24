"""Checks that every link in the documents leads somewhere.

    python tools/links.py [FILE...]

Relative links must name a file, and a heading in it if they have a fragment.
Links to the outside are not followed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment under which the usual renderers offer a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text())
    return {anchor(heading) for heading in HEADING.findall(text)} | set(
        re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text)
    )


def faults(path: Path) -> list[str]:
    """What is wrong with the links of one document."""
    found = []
    text = CODE.sub("", FENCE.sub("", path.read_text()))
    for link in LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        target, _, fragment = unquote(link).partition("#")
        there = (path.parent / target).resolve() if target else path
        if not there.exists():
            found.append(f"{path.relative_to(ROOT)}: {link}: there is no such file")
        elif fragment and there.suffix == ".md" and fragment not in anchors(there):
            found.append(f"{path.relative_to(ROOT)}: {link}: there is no such heading")
    return found


def documents() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).exists()]


def main(arguments: list[str]) -> int:
    paths = [Path(name).resolve() for name in arguments] or documents()
    wrong = [fault for path in paths for fault in faults(path)]
    print(*wrong, f"{len(paths)} documents, {len(wrong)} broken links", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
