"""The protocol's pages have every packet and every ERROR that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from geartrain.protocol.commands import CLIENT, COMMANDS, SERVER, WORKER


def test_every_packet_is_in_the_table_as_the_code_has_it(root: Path) -> None:
    page = (root / "docs/protocol/index.md").read_text()
    rows = {
        int(row[0]): row[1:]
        for row in re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \| ([^|]+) \|", page, re.MULTILINE)
    }
    letters = (("C", CLIENT), ("W", WORKER), ("S", SERVER))

    assert rows == {
        number: (
            row.name,
            "".join(letter for letter, bit in letters if row.sender & bit),
            " · ".join(row.arguments) or "–",
        )
        for number, row in COMMANDS.items()
    }


def test_every_code_of_an_error_is_on_its_page(root: Path) -> None:
    page = (root / "docs/protocol/errors.md").read_text()
    source = "".join(
        path.read_text()
        for folder in ("broker", "frontends")
        for path in sorted((root / "src/geartrain" / folder).glob("*.py"))
    )
    codes = set(
        re.findall(r'(?:error|_refuse)\(\s*(?:state,\s*peer,\s*(?:\w+,\s*)?)?b"([A-Z_]+)"', source)
    )

    assert {"QUEUE_ERROR", "INVALID_COMMAND", "JOB_NOT_FOUND"} <= codes
    assert [code for code in sorted(codes) if f"| `{code}` |" not in page] == []


def test_the_sentences_of_errors_are_on_their_page(root: Path) -> None:
    page = (root / "docs/protocol/errors.md").read_text()
    source = "".join(
        (root / "src/geartrain" / name).read_text()
        for name in ("broker/intake.py", "frontends/gear.py")
    )
    sentences = re.findall(r'b"[A-Z_]{5,}",\s*b"([^"]+)"', source)

    assert len(sentences) > 8
    assert [text for text in sentences if text.partition("; ")[0][:40] not in page] == []


def test_every_deviation_has_its_reason(root: Path) -> None:
    page = (root / "docs/protocol/deviations.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]

    assert len(rows) > 60
    assert [row for row in rows if not row.split("|")[-2].strip()] == []
